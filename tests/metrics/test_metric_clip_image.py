"""CLIP image similarity on small weights, against open_clip called by hand one picture at a time."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from t2imetrics._images import open_rgb
from t2imetrics._weights import fingerprint, sha256_of
from t2imetrics.errors import ImageError, InputError, OptionError, WeightsError

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    torch.set_num_threads(1)
    return [path for path, _ in real_pairs(tmp_path_factory.mktemp("pairs"))]


@pytest.fixture(scope="module")
def scorer(scorers) -> Any:
    return t2imetrics.load("clip_image", weights=scorers, device="cpu")


def their_features(folder: Path, paths: list[Path]) -> np.ndarray:
    """Unit vectors (n, dim) of open_clip behind torchvision's preprocessing."""
    import open_clip
    from safetensors.torch import load_file
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    model = open_clip.model.CLIP(**small.CLIP_CONFIG).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    normal = Normalize([0.5] * 3, [0.25] * 3)
    prepare = Compose([Resize(32, InterpolationMode.BICUBIC), CenterCrop(32), ToTensor(), normal])
    with torch.inference_mode():
        seen = [model.encode_image(prepare(open_rgb(path))[None], normalize=True)[0] for path in paths]
    return torch.stack(seen).double().numpy()


def test_values_are_open_clip_by_hand_one_picture_at_a_time(paths, scorers, scorer) -> None:
    features = their_features(scorers / "clip", paths)
    expected = 100 * (features * np.roll(features, -1, 0)).sum(1)
    np.testing.assert_allclose(scorer.score(paths, paths[1:] + paths[:1]), expected, rtol=0, atol=1e-4)
    assert expected.std() > 1, "the pairs must differ"


def test_the_same_picture_scores_100_and_sides_can_be_exchanged(paths, scorer) -> None:
    some, others = paths[:20], paths[20:40]
    same = scorer.score(some, some)
    np.testing.assert_allclose(same, 100, rtol=0, atol=1e-9)
    assert same.max() <= scorer.card.upper
    np.testing.assert_allclose(scorer.score(some, others), scorer.score(others, some), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_and_order_do_not_matter(paths, scorers, scorer, batch_size) -> None:
    gold = paths[1:] + paths[:1]
    order = np.random.default_rng(1).permutation(len(paths))
    other = t2imetrics.load("clip_image", weights=scorers, device="cpu", batch_size=batch_size, workers=0)
    found = other.score([paths[i] for i in order], [gold[i] for i in order])
    np.testing.assert_allclose(found, scorer.score(paths, gold)[order], rtol=0, atol=1e-5)


def test_the_miniature_has_weights_for_it(paths) -> None:
    values = t2imetrics.load("clip_image", weights="miniature", device="cpu").score(paths[:3], [paths[0]] * 3)
    assert values[0] == pytest.approx(100, abs=1e-4)
    assert values[1:].max() < 100


def test_missing_changed_and_damaged_folders_are_told(scorers, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(WeightsError, match="a folder that is there"):
        t2imetrics.load("clip_image", weights=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"holds no clip/weights\.json"):
        t2imetrics.load("clip_image", weights=tmp_path)
    with pytest.raises(OptionError, match="backbone 'ViT-H/14' is not known"):
        t2imetrics.load("clip_image", weights=scorers, backbone="ViT-H/14")
    shutil.copytree(scorers / "clip", tmp_path / "clip")
    path = tmp_path / "clip" / "model.safetensors"
    state = load_file(path)
    state["visual.proj"][0, 0] = math.nan
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"safetensors is not the file weights\.json describes"):
        t2imetrics.load("clip_image", weights=tmp_path)
    small.seal(tmp_path / "clip", "tiny clip")
    with pytest.raises(WeightsError, match=r"'visual\.proj' holds values that are not numbers"):
        t2imetrics.load("clip_image", weights=tmp_path, device="cpu")


def test_a_broken_picture_on_either_side_names_its_row(scorer, pictures, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ImageError, match=r"row 2: .*broken\.png"):
        scorer.score([*pictures[:2], tmp_path / "broken.png"], pictures[:3])
    with pytest.raises(ImageError, match=r"row 1: .*broken\.png"):
        scorer.score(pictures[:3], [pictures[0], tmp_path / "broken.png", pictures[2]])
    with pytest.raises(InputError, match="3 and 2 rows"):
        scorer.score(pictures[:3], pictures[:2])
    with pytest.raises(InputError, match=r"reads images\+images: give both lists"):
        scorer.score(pictures)


@pytest.mark.parametrize(("backbone", "architecture"), [("ViT-L/14", "ViT-L-14"), ("ViT-B/32", "ViT-B-32")])
def test_the_published_tower_is_fetched_recorded_and_loaded(
    tmp_path, monkeypatch, scorers, paths, backbone, architecture
) -> None:
    import open_clip
    from safetensors.torch import load_file

    path = tmp_path / "open_clip_model.pt"
    torch.save({k: v.float() for k, v in load_file(scorers / "clip" / "model.safetensors").items()}, path)
    asked: list[str] = []

    def create(name: str, **_: Any) -> Any:
        asked.append(name)
        return open_clip.model.CLIP(**small.CLIP_CONFIG)

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", lambda _: str(path))
    monkeypatch.setattr(open_clip, "create_model", create)
    scorer = t2imetrics.load("clip_image", device="cpu", backbone=backbone)
    assert asked == [f"{architecture}-quickgelu"]
    label = f"open_clip {architecture}-quickgelu openai"
    assert scorer.card.weights == t2imetrics.Weights(
        label, None, sha256_of(path), files=fingerprint({label: sha256_of(path)})
    )
    lock = next((tmp_path / "t2imetrics-home").rglob("*.json"))
    assert json.loads(lock.read_text())["sha256"] == sha256_of(path)
    assert scorer.score(paths[:1], paths[:1]) == pytest.approx([100], abs=1e-4)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WeightsError, match="expected"):
        t2imetrics.load("clip_image", device="cpu", backbone=backbone)
