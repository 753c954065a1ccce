"""The aesthetic predictor on small weights, against open_clip and the released layers called by hand."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from t2imetrics import aesthetic
from t2imetrics._images import open_rgb
from t2imetrics._weights import UrlFile, sha256_of
from t2imetrics.errors import ImageError, WeightsError

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

torch = pytest.importorskip("torch")

FILE = "sac+logos+ava1-l14-linearMSE.pth"
#: Names of the released file -> (width of the input, of the output); 768 is the width of ViT-L/14's embedding.
LAYERS = {0: ("wide", 1024), 2: (1024, 128), 4: (128, 64), 6: (64, 16), 7: (16, 1)}


def head_state(wide: int) -> dict[str, Any]:
    """Random layers under the released names, scaled so that the map is about as long as the released one."""
    torch.manual_seed(0)
    state = {}
    for place, (read, width) in LAYERS.items():
        narrow = wide if read == "wide" else read
        state[f"layers.{place}.weight"] = 1.8 * torch.randn(width, narrow) / math.sqrt(narrow)
        state[f"layers.{place}.bias"] = 0.1 * torch.randn(width)
    return state


def write_head(folder: Path, wide: int = small.CLIP_CONFIG["embed_dim"]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(head_state(wide), folder / "model.safetensors")
    small.seal(folder, "tiny aesthetic")


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    torch.set_num_threads(1)
    return [path for path, _ in real_pairs(tmp_path_factory.mktemp("pairs"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    small.write_clip(root / "clip", "tiny clip")
    write_head(root / "aesthetic")
    return root


@pytest.fixture(scope="module")
def scorer(folder) -> Any:
    return t2imetrics.load("aesthetic", weights=folder, device="cpu")


def by_hand(folder: Path, state: dict[str, Any], paths: list[Path]) -> np.ndarray:
    """The released script: open_clip's embedding, numpy's unit vector, the layers one after another."""
    import open_clip
    from safetensors.torch import load_file
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    model = open_clip.model.CLIP(**small.CLIP_CONFIG).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    normal = Normalize([0.5] * 3, [0.25] * 3)
    prepare = Compose([Resize(32, InterpolationMode.BICUBIC), CenterCrop(32), ToTensor(), normal])
    values = []
    for path in paths:
        with torch.inference_mode():
            x = model.encode_image(prepare(open_rgb(path))[None]).numpy()
        x = x / np.linalg.norm(x, 2, -1, keepdims=True)
        for place in LAYERS:
            x = x @ state[f"layers.{place}.weight"].numpy().T + state[f"layers.{place}.bias"].numpy()
        values.append(float(x[0, 0]))
    return np.array(values)


def test_values_are_the_released_script_one_picture_at_a_time(paths, folder, scorer) -> None:
    expected = by_hand(folder / "clip", head_state(16), paths)
    found = scorer.score(paths)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1, "the pictures must differ"
    assert found.dtype == np.float64


def test_the_range_on_the_card_is_that_of_the_affine_map(scorer, paths) -> None:
    values = scorer.score(paths)
    weight, bias = torch.eye(16, dtype=torch.float64), torch.zeros(1, 16, dtype=torch.float64)
    state = {name: tensor.double() for name, tensor in head_state(16).items()}
    for place in LAYERS:
        weight = weight @ state[f"layers.{place}.weight"].T
        bias = bias @ state[f"layers.{place}.weight"].T + state[f"layers.{place}.bias"]
    assert scorer.card.lower == pytest.approx(float(bias - weight.norm()), abs=1e-3)
    assert scorer.card.upper == pytest.approx(float(bias + weight.norm()), abs=1e-3)
    assert scorer.card.lower < values.min() < values.max() < scorer.card.upper


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_and_order_do_not_matter(paths, folder, scorer, batch_size) -> None:
    order = np.random.default_rng(1).permutation(len(paths))
    other = t2imetrics.load("aesthetic", weights=folder, device="cpu", batch_size=batch_size, workers=0)
    found = other.score([paths[i] for i in order])
    np.testing.assert_allclose(found, scorer.score(paths)[order], rtol=0, atol=1e-5)


def test_a_suite_shares_one_tower_and_looks_at_each_picture_once(folder, paths, monkeypatch) -> None:
    names = ("clipscore", "clip_image", "aesthetic")
    suite = t2imetrics.Suite(names, folder, "cpu", batch_size=4)
    towers = [suite.scorers[name].towers for name in names]
    assert towers[0] is towers[1] is towers[2]
    seen: list[int] = []
    encode = towers[0].model.encode_image
    monkeypatch.setattr(towers[0].model, "encode_image", lambda pixels: (seen.append(len(pixels)), encode(pixels))[1])
    drawn, gold, texts = paths[:10], paths[10:20], [f"picture {i}" for i in range(10)]
    together = suite.score(drawn, texts, gold)
    assert seen == [4, 4, 4, 4, 2, 2], "drawn and gold pictures, batch by batch"
    against = {"clipscore": (texts,), "clip_image": (gold,), "aesthetic": ()}
    for name in names:
        alone = t2imetrics.load(name, weights=folder, device="cpu").score(drawn, *against[name])
        np.testing.assert_allclose(together[name], alone, rtol=0, atol=1e-5)


# --- what can be wrong -----------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nan": (
        lambda f: edit(f / "aesthetic", lambda s: s["layers.6.bias"][:1].fill_(math.nan)),
        "tiny aesthetic: '.*bias' holds values that are not numbers",
    ),
    "nan in the tower": (
        lambda f: edit(f / "clip", lambda s: s["visual.proj"].view(-1)[:1].fill_(math.nan)),
        r"tiny clip: 'visual\.proj' holds values that are not numbers",
    ),
    "missing": (lambda f: edit(f / "aesthetic", lambda s: s.pop("layers.6.bias")), "cannot be loaded: .*Missing key"),
    "other layers": (
        lambda f: edit(f / "aesthetic", lambda s: s.update({"layers.9.bias": torch.zeros(1)})),
        "cannot be loaded: .*Unexpected key",
    ),
    "none of the layers": (lambda f: edit(f / "aesthetic", lambda s: s.pop("layers.0.weight")), r"no entry 'layers\.0"),
    "another tower": (
        lambda f: (shutil.rmtree(f / "aesthetic"), write_head(f / "aesthetic", 768)),
        "tiny aesthetic reads 768 numbers, the picture tower gives 16",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_weights_are_an_error_of_one_line(folder, tmp_path, fault) -> None:
    harm, message = FAULTS[fault]
    shutil.copytree(folder, tmp_path / "w")
    harm(tmp_path / "w")
    small.seal(tmp_path / "w" / "aesthetic", "tiny aesthetic")
    small.seal(tmp_path / "w" / "clip", "tiny clip")
    with pytest.raises(WeightsError, match=message) as caught:
        t2imetrics.load("aesthetic", weights=tmp_path / "w", device="cpu")
    assert "\n" not in str(caught.value)


def test_missing_and_changed_folders_are_told(folder, tmp_path) -> None:
    with pytest.raises(WeightsError, match="aesthetic has no miniature weights: use 'published' or a folder"):
        t2imetrics.load("aesthetic", weights="miniature")
    with pytest.raises(WeightsError, match="a folder that is there"):
        t2imetrics.load("aesthetic", weights=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"holds no aesthetic/weights\.json"):
        t2imetrics.load("aesthetic", weights=tmp_path)
    shutil.copytree(folder / "aesthetic", tmp_path / "aesthetic")
    with pytest.raises(WeightsError, match=r"holds no clip/weights\.json"):
        t2imetrics.load("aesthetic", weights=tmp_path)
    edit(tmp_path / "aesthetic", lambda s: s["layers.0.bias"].add_(1))
    with pytest.raises(WeightsError, match=r"safetensors is not the file weights\.json describes"):
        t2imetrics.load("aesthetic", weights=tmp_path)


def test_a_broken_picture_names_its_row(scorer, pictures, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ImageError, match=r"row 2: .*broken\.png"):
        scorer.score([*pictures[:2], tmp_path / "broken.png"])
    assert scorer.score([]).shape == (0,)


# --- published -------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path, monkeypatch, folder) -> Path:
    """Stand-ins where torch and open_clip keep what they download; the head is a torch file of the released names."""
    import open_clip
    from safetensors.torch import load_file

    head, tower = tmp_path / "checkpoints" / FILE, tmp_path / "tower.pt"
    head.parent.mkdir()
    torch.save(head_state(16), head)
    torch.save({k: v.float() for k, v in load_file(folder / "clip" / "model.safetensors").items()}, tower)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", lambda _: str(tower))
    fresh = lambda name, **_: open_clip.model.CLIP(**small.CLIP_CONFIG)  # noqa: E731
    monkeypatch.setattr(open_clip, "create_model", fresh)
    return head


def test_another_file_under_the_published_name_is_refused(published) -> None:
    with pytest.raises(WeightsError, match=rf"{FILE.replace('+', '.')} is damaged: .*, published 21dd590f"):
        t2imetrics.load("aesthetic", device="cpu")


def test_the_published_file_is_loaded_on_the_tower_of_clipscore(published, monkeypatch, scorer, paths) -> None:
    digest = sha256_of(published)
    monkeypatch.setattr(aesthetic, "HEAD", UrlFile(aesthetic.HEAD.url, digest))
    suite = t2imetrics.Suite(("clipscore", "aesthetic"), device="cpu")
    found = suite.scorers["aesthetic"]
    assert found.towers is suite.scorers["clipscore"].towers
    weights = found.card.weights
    assert (weights.name, weights.revision, weights.sha256) == (FILE, aesthetic.COMMIT, digest)
    assert len(weights.files) == 64
    assert "picture tower open_clip ViT-L-14-quickgelu openai, sha256 " in found.card.note
    assert found.score(paths[:8]).std() > 0.1
