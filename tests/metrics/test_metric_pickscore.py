"""PickScore on small weights of the real architecture, against its authors' example run one picture at a time."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics._images import open_rgb
from t2imetrics._weights import sha256_of
from t2imetrics.errors import ImageError, WeightsError
from t2imetrics.pickscore import HfCrop

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

torch = pytest.importorskip("torch")

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
ENDS = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
CONFIG = {
    "projection_dim": 24,
    "text_config": {**TOWER, **ENDS, "vocab_size": 49408, "hidden_act": "gelu", "projection_dim": 24},
    "vision_config": {**TOWER, "patch_size": 32, "image_size": 224, "hidden_act": "gelu", "projection_dim": 24},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[tuple[Path, str]]:
    torch.set_num_threads(1)
    return real_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """transformers' tokenizer on the real vocabulary, which open_clip ships under other names of start and end."""
    import open_clip
    from transformers import CLIPTokenizer

    own = open_clip.SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {rename.get(token, token): place for token, place in own.encoder.items()}
    return CLIPTokenizer(vocab=vocab, merges=sorted(own.bpe_ranks, key=own.bpe_ranks.get), model_max_length=77)


@pytest.fixture(scope="module")
def model() -> Any:
    """transformers' CLIPModel, small, with PickScore's scale of about 100."""
    from transformers import CLIPConfig, CLIPModel

    made = small.fill(CLIPModel(CLIPConfig(**CONFIG)))
    made.logit_scale.data.fill_(math.log(100))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, tokenizer) -> Path:
    """`pick/` with vocab.json and merges.txt."""
    root = tmp_path_factory.mktemp("weights")
    model.save_pretrained(root / "pick")
    write_words(root / "pick", tokenizer)
    small.seal(root / "pick", "tiny pick")
    return root


def write_words(folder: Path, tokenizer: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()), "utf-8")
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), "utf-8")


@pytest.fixture(scope="module")
def scorer(folder) -> Any:
    return t2imetrics.load("pickscore", weights=folder, device="cpu")


def their_pixels(image: Image.Image) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil()(image, return_tensors="pt")["pixel_values"]


def by_hand(model: Any, tokenizer: Any, image: Image.Image, text: str) -> float:
    """The authors' example, with the changes transformers 5 asks for."""
    words = tokenizer(text, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.inference_mode():
        seen = model.get_image_features(their_pixels(image)).pooler_output
        read = model.get_text_features(**words).pooler_output
        unit = [x / torch.norm(x, dim=-1, keepdim=True) for x in (seen, read)]
        return float(model.logit_scale.exp() * (unit[1] @ unit[0].T)[0, 0])


# --- numbers ---------------------------------------------------------------------------------------------------


def test_pixels_are_those_of_transformers_bit_for_bit(pairs) -> None:
    sides = np.random.default_rng(0).integers(20, 420, (100, 2))
    images = [small.picture(i % 9, (int(w), int(h))) for i, (w, h) in enumerate(sides)]
    odd = [image.size for image in images if int(224 * max(image.size) / min(image.size)) % 2]
    assert odd, "some crops must lie between two pixels"
    for image in [*images, *(open_rgb(path) for path, _ in pairs)]:
        assert torch.equal(HfCrop(224)(image)[None], their_pixels(image)), image.size


def test_scores_are_the_authors_example_one_picture_at_a_time(pairs, scorer, model, tokenizer) -> None:
    paths, texts = zip(*pairs, strict=True)
    expected = [by_hand(model, tokenizer, open_rgb(path), text) for path, text in pairs]
    np.testing.assert_allclose(scorer.score(paths, texts), expected, rtol=0, atol=1e-4)
    assert np.std(expected) > 1, "the pairs must differ"
    assert scorer.card.upper == pytest.approx(100)
    assert scorer.card.note == f"not a published version; scale {scorer.scale:.4f}"


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_and_order_do_not_matter(pairs, folder, scorer, batch_size) -> None:
    some = pairs[::3]
    order = np.random.default_rng(1).permutation(len(some))
    expected = scorer.score(*zip(*some, strict=True))
    other = t2imetrics.load("pickscore", weights=folder, device="cpu", batch_size=batch_size, workers=0)
    found = other.score(*zip(*(some[i] for i in order), strict=True))
    np.testing.assert_allclose(found, expected[order], rtol=0, atol=1e-5)


def test_a_long_text_keeps_its_end_and_is_counted_before_the_cut(scorer, tokenizer, pictures) -> None:
    start = "glossy toy " * 60
    values = scorer.score(pictures[:1] * 2, [start, start + "and words that are never seen"])
    assert values[0] == values[1]
    ids = scorer.towers.tokenizer([start])
    assert ids.shape == (1, 77)
    assert ids[0, -1] == tokenizer.eos_token_id
    assert scorer.tokens([start, "", "a cat"]).tolist() == [122, 2, 4]
    assert scorer.card.text_limit == 77


def test_each_different_text_is_encoded_once(scorer, pictures, monkeypatch) -> None:
    seen: list[int] = []
    encode = scorer.towers.model.encode_text
    monkeypatch.setattr(scorer.towers.model, "encode_text", lambda ids: (seen.append(len(ids)), encode(ids))[1])
    scorer.score(pictures, ["never read before"] * 7 + ["nor this one"])
    assert sum(seen) == 2


def test_tokenizer_json_says_the_same_as_vocabulary_and_merges(folder, scorer, tokenizer, pairs, tmp_path) -> None:
    shutil.copytree(folder / "pick", tmp_path / "pick")
    tokenizer.save_pretrained(tmp_path / "words")
    shutil.copy(tmp_path / "words" / "tokenizer.json", tmp_path / "pick")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "pick" / name).unlink()
    small.seal(tmp_path / "pick", "tiny pick")
    other = t2imetrics.load("pickscore", weights=tmp_path, device="cpu")
    texts = [text for _, text in pairs]
    assert torch.equal(other.towers.tokenizer(texts), scorer.towers.tokenizer(texts))
    expected = tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    assert torch.equal(other.towers.tokenizer(texts), expected["input_ids"])


# --- what can be wrong -----------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def edit_config(folder: Path, part: str, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config[part].update(changes)
    (folder / "config.json").write_text(json.dumps(config))


LAYER = "text_model.encoder.layers.1.mlp.fc1.bias"
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nan": (
        lambda f: edit(f, lambda s: s["visual_projection.weight"].view(-1)[:1].fill_(math.nan)),
        r"tiny pick: '.*visual_projection\.weight' holds values that are not numbers",
    ),
    "missing": (lambda f: edit(f, lambda s: s.pop(LAYER)), rf"does not fit .* lacks '{LAYER}' \(1 in all\)"),
    "too many": (lambda f: edit_config(f, "text_config", num_hidden_layers=1), "has no place for 'text_model"),
    "size": (lambda f: edit_config(f, "vision_config", patch_size=16), r"has another size of 'vision.*\(2 in all\)"),
    "not safetensors": (lambda f: (f / "model.safetensors").write_bytes(b"no"), "safetensors cannot be loaded"),
    "few words": (lambda f: (f / "vocab.json").write_text('{"a": 0}'), r"tokenizer|cannot be loaded"),
    "no words": (lambda f: (f / "vocab.json").unlink(), r"cannot read .*vocab\.json"),
    "no merges": (lambda f: (f / "merges.txt").unlink(), r"merges\.txt"),
    "end": (lambda f: edit_config(f, "text_config", eos_token_id=5), "end with token 49407, the model looks for 5"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_weights_are_an_error_of_one_line(folder, tmp_path, fault) -> None:
    harm, message = FAULTS[fault]
    shutil.copytree(folder / "pick", tmp_path / "pick")
    harm(tmp_path / "pick")
    small.seal(tmp_path / "pick", "tiny pick")
    with pytest.raises(WeightsError, match=message) as caught:
        t2imetrics.load("pickscore", weights=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_vocabulary_of_another_size_is_an_error(folder, tmp_path) -> None:
    """Without its files transformers makes a tokenizer of the two special tokens, and says nothing."""
    shutil.copytree(folder / "pick", tmp_path / "pick")
    (tmp_path / "pick" / "vocab.json").write_text('{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    (tmp_path / "pick" / "merges.txt").write_text("#version: 0.2\n")
    small.seal(tmp_path / "pick", "tiny pick")
    with pytest.raises(WeightsError, match="the tokenizer has 2 tokens, the model reads 49408"):
        t2imetrics.load("pickscore", weights=tmp_path, device="cpu")


def test_missing_and_changed_folders_are_told(folder, tmp_path) -> None:
    with pytest.raises(WeightsError, match="pickscore has no miniature weights: use 'published' or a folder"):
        t2imetrics.load("pickscore", weights="miniature")
    with pytest.raises(WeightsError, match="a folder that is there"):
        t2imetrics.load("pickscore", weights=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"holds no pick/weights\.json"):
        t2imetrics.load("pickscore", weights=tmp_path)
    shutil.copytree(folder / "pick", tmp_path / "pick")
    (tmp_path / "pick" / "merges.txt").write_text("other")
    with pytest.raises(WeightsError, match=r"merges\.txt is not the file weights\.json describes"):
        t2imetrics.load("pickscore", weights=tmp_path)


def test_a_broken_picture_names_its_row(scorer, pictures, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ImageError, match=r"row 2: .*broken\.png"):
        scorer.score([*pictures[:2], tmp_path / "broken.png"], ["a"] * 3)


# --- published -------------------------------------------------------------------------------------------------


def test_the_published_files_are_fetched_recorded_and_loaded(
    tmp_path, monkeypatch, folder, scorer, tokenizer, pairs
) -> None:
    """As on the hub: PickScore_v1 of 2023 (old end id, stored position ids), the vocabulary of another repository."""
    hub = tmp_path / "hub"
    place = {
        "yuvalkirstain/PickScore_v1": hub / "pick" / "snapshots" / "c0ffee",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": hub / "laion" / "snapshots" / "bead",
    }
    pick, words = place.values()
    shutil.copytree(folder / "pick", pick)
    (pick / "vocab.json").unlink()
    (pick / "merges.txt").unlink()
    write_words(words, tokenizer)
    edit_config(pick, "text_config", eos_token_id=2, bos_token_id=0, pad_token_id=1)
    steps = {"text_model": 77, "vision_model": 50}
    edit(pick, lambda s: s.update({f"{k}.embeddings.position_ids": torch.arange(n)[None] for k, n in steps.items()}))
    asked: list[tuple[str, str, str | None]] = []

    def download(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        return str(place[repo] / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    published = t2imetrics.load("pickscore", device="cpu")
    names = {(repo, name) for repo, name, _ in asked}
    repos = tuple(place)
    assert names == {
        (repos[0], "config.json"), (repos[0], "model.safetensors"), (repos[1], "vocab.json"), (repos[1], "merges.txt"),
    }  # fmt: skip
    expected = "yuvalkirstain/PickScore_v1/model.safetensors", "c0ffee", sha256_of(pick / "model.safetensors")
    weights = published.card.weights
    assert (weights.name, weights.revision, weights.sha256) == expected
    assert len(weights.files) == 64
    assert published.card.note.startswith("v1; transformers' CLIP preprocessing and tokenizer; no softmax; scale ")
    some = pairs[:6]
    np.testing.assert_array_equal(published.score(*zip(*some, strict=True)), scorer.score(*zip(*some, strict=True)))
    t2imetrics.load("pickscore", device="cpu")
    assert {revision for _, _, revision in asked[4:]} == {"c0ffee", "bead"}, "the recorded commits are asked for"
