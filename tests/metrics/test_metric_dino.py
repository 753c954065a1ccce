"""DINO on small weights of the real architecture, against transformers called by hand one picture at a time."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics._images import open_rgb
from t2imetrics._weights import fingerprint, sha256_of
from t2imetrics.dino import ImageNetCrop
from t2imetrics.errors import ImageError, InputError, WeightsError

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

torch = pytest.importorskip("torch")

CONFIG = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16,
    "image_size": 224,
}  # fmt: skip
#: Parameter names of transformers 5 -> those of the published file.
OLD = (
    (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    torch.set_num_threads(1)
    return [path for path, _ in real_pairs(tmp_path_factory.mktemp("pairs"))]


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import ViTConfig, ViTModel

    return small.fill(ViTModel(ViTConfig(**CONFIG), add_pooling_layer=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model) -> Path:
    root = tmp_path_factory.mktemp("weights")
    model.save_pretrained(root / "dino")
    small.seal(root / "dino", "tiny dino")
    return root


@pytest.fixture(scope="module")
def scorer(folder) -> Any:
    return t2imetrics.load("dino", weights=folder, device="cpu")


def their_pixels(image: Image.Image) -> Any:
    """eval_knn.py of facebookresearch/dino."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    normal = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor(), normal])(image)


def by_hand(model: Any, first: Image.Image, second: Image.Image) -> float:
    with torch.inference_mode():
        a, b = (model(pixel_values=their_pixels(image)[None]).last_hidden_state[0, 0] for image in (first, second))
        return float(100 * torch.cosine_similarity(a, b, dim=0))


def test_pixels_are_those_of_torchvision_bit_for_bit(paths) -> None:
    sides = np.random.default_rng(0).integers(20, 420, (100, 2))
    images = [small.picture(i % 9, (int(w), int(h))) for i, (w, h) in enumerate(sides)]
    for image in [*images, small.picture(1, (256, 300)), *(open_rgb(path) for path in paths)]:
        assert torch.equal(ImageNetCrop(224)(image), their_pixels(image)), image.size


def test_values_are_transformers_by_hand_one_picture_at_a_time(paths, scorer, model) -> None:
    gold = paths[1:] + paths[:1]
    expected = [by_hand(model, open_rgb(a), open_rgb(b)) for a, b in zip(paths, gold, strict=True)]
    np.testing.assert_allclose(scorer.score(paths, gold), expected, rtol=0, atol=1e-4)
    assert np.std(expected) > 1, "the pairs must differ"
    assert scorer.card.note == "not the published network; crop of 224"


def test_the_same_picture_scores_100_and_sides_can_be_exchanged(paths, scorer) -> None:
    some, others = paths[:12], paths[12:24]
    same = scorer.score(some, some)
    np.testing.assert_allclose(same, 100, rtol=0, atol=1e-9)
    assert same.max() <= scorer.card.upper
    np.testing.assert_allclose(scorer.score(some, others), scorer.score(others, some), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_and_order_do_not_matter(paths, folder, scorer, batch_size) -> None:
    some, gold = paths[::3], paths[1::3]
    order = np.random.default_rng(1).permutation(len(some))
    other = t2imetrics.load("dino", weights=folder, device="cpu", batch_size=batch_size, workers=0)
    found = other.score([some[i] for i in order], [gold[i] for i in order])
    np.testing.assert_allclose(found, scorer.score(some, gold)[order], rtol=0, atol=1e-5)


def test_names_of_before_and_after_transformers_5_are_both_read(folder, scorer, model, paths, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    assert "encoder.layer.1.output.dense.bias" in load_file(folder / "dino" / "model.safetensors")
    assert "layers.1.mlp.fc2.bias" in model.state_dict()
    shutil.copytree(folder / "dino", tmp_path / "dino")
    save_file(model.state_dict(), tmp_path / "dino" / "model.safetensors")
    small.seal(tmp_path / "dino", "tiny dino")
    other = t2imetrics.load("dino", weights=tmp_path, device="cpu")
    np.testing.assert_array_equal(other.score(paths[:4], paths[4:8]), scorer.score(paths[:4], paths[4:8]))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nan": (lambda f: edit(f, lambda s: s["layernorm.bias"][:1].fill_(math.nan)), "tiny dino: 'layernorm.bias' holds"),
    "missing": (lambda f: edit(f, lambda s: s.pop("layernorm.bias")), r"lacks 'layernorm.bias' \(1 in all\)"),
    "too many": (lambda f: edit_config(f, num_hidden_layers=1), "has no place for .*layer"),
    "size": (lambda f: edit_config(f, patch_size=32), r"has another size of 'embeddings.*\(2 in all\)"),
    "not a network": (lambda f: (f / "model.safetensors").write_bytes(b"no"), "safetensors cannot be loaded"),
    "no config": (lambda f: (f / "config.json").unlink(), r"cannot read .*config\.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_weights_are_an_error_of_one_line(folder, tmp_path, fault) -> None:
    harm, message = FAULTS[fault]
    shutil.copytree(folder / "dino", tmp_path / "dino")
    harm(tmp_path / "dino")
    small.seal(tmp_path / "dino", "tiny dino")
    with pytest.raises(WeightsError, match=message) as caught:
        t2imetrics.load("dino", weights=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_missing_and_changed_folders_are_told(folder, tmp_path) -> None:
    with pytest.raises(WeightsError, match="dino has no miniature weights: use 'published' or a folder"):
        t2imetrics.load("dino", weights="miniature")
    with pytest.raises(WeightsError, match="a folder that is there"):
        t2imetrics.load("dino", weights=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"holds no dino/weights\.json"):
        t2imetrics.load("dino", weights=tmp_path)
    shutil.copytree(folder / "dino", tmp_path / "dino")
    edit_config(tmp_path / "dino", hidden_act="relu")
    with pytest.raises(WeightsError, match=r"config\.json is not the file weights\.json describes"):
        t2imetrics.load("dino", weights=tmp_path)


def test_a_broken_picture_on_either_side_names_its_row(scorer, pictures, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ImageError, match=r"row 2: .*broken\.png"):
        scorer.score([*pictures[:2], tmp_path / "broken.png"], pictures[:3])
    with pytest.raises(ImageError, match=r"row 1: .*broken\.png"):
        scorer.score(pictures[:3], [pictures[0], tmp_path / "broken.png", pictures[2]])
    with pytest.raises(InputError, match=r"reads images\+images: give both lists"):
        scorer.score(pictures)


@pytest.mark.parametrize("pooler", [False, True])
def test_the_published_file_of_old_names_is_fetched_recorded_and_loaded(
    tmp_path, monkeypatch, model, folder, scorer, paths, pooler
) -> None:
    """A torch file with the names of 2021; a pooling layer, which the metric does not use, may lie in it."""
    hub = tmp_path / "hub" / "snapshots" / "c0ffee"
    hub.mkdir(parents=True)
    shutil.copy(folder / "dino" / "config.json", hub)
    state = dict(model.state_dict())
    for pattern, name in OLD:
        state = {re.sub(pattern, name, key): tensor for key, tensor in state.items()}
    assert "encoder.layer.1.attention.attention.query.weight" in state
    state |= {"pooler.dense.weight": torch.zeros(32, 32), "pooler.dense.bias": torch.zeros(32)} if pooler else {}
    torch.save(state, hub / "pytorch_model.bin")
    asked: list[tuple[str, str, str | None]] = []

    def download(repo: str, name: str, revision: str | None = None) -> str:
        asked.append((repo, name, revision))
        return str(hub / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    published = t2imetrics.load("dino", device="cpu")
    repo = "facebook/dino-vits16"
    assert asked == [(repo, "config.json", None), (repo, "pytorch_model.bin", None)]
    digest = sha256_of(hub / "pytorch_model.bin")
    files = fingerprint({name: sha256_of(hub / name) for name in ("config.json", "pytorch_model.bin")})
    expected = t2imetrics.Weights(f"{repo}/pytorch_model.bin", "c0ffee", digest, files=files)
    assert published.card.weights == expected
    assert published.card.note == t2imetrics.card("dino").note
    np.testing.assert_array_equal(published.score(paths[:4], paths[4:8]), scorer.score(paths[:4], paths[4:8]))
