"""CLIPScore, HPSv2 and the picture-tower FID on small weights, against open_clip called by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics._weights import fingerprint
from t2imetrics.errors import ImageError, InputError, OptionError, WeightsError
from t2imetrics.fid import fid

from tests.metrics import small_weights as small

#: Scores of the seeded weights in cosine x 100; they change only if the mathematics does.
GOLDEN = {"clipscore": [-32.1757, -17.7961, -13.4937, -19.7821], "hpsv2": [-19.534, -15.8226, 3.8761, -20.7933]}


def by_hand(folder: Path, images: list[Image.Image], texts: list[str], transform: Any) -> np.ndarray:
    import open_clip
    import torch
    from safetensors.torch import load_file

    model = open_clip.model.CLIP(**small.CLIP_CONFIG).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe.txt.gz"))
    with torch.no_grad():
        seen = [model.encode_image(transform(image)[None], normalize=True)[0] for image in images]
        read = [model.encode_text(tokenizer([text]), normalize=True)[0] for text in texts]
    return np.array([float(a @ b) for a, b in zip(seen, read, strict=True)])


def crop(image: Image.Image) -> Any:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    steps = [Resize(32, InterpolationMode.BICUBIC), CenterCrop(32), ToTensor(), Normalize([0.5] * 3, [0.25] * 3)]
    return Compose(steps)(image)


def pad(image: Image.Image) -> Any:
    from torchvision.transforms import InterpolationMode, Normalize, ToTensor
    from torchvision.transforms import functional as tv

    scale = 32 / max(image.size)
    h, w = (round(side * scale) for side in reversed(image.size))
    pixels = tv.resize(ToTensor()(image), [h, w], InterpolationMode.BICUBIC, antialias=True)
    down, across = 32 - h, 32 - w
    pixels = tv.pad(pixels, [across // 2, down // 2, across - across // 2, down - down // 2])
    return Normalize([0.5] * 3, [0.25] * 3)(pixels)


def test_clipscore_is_open_clip_by_hand(scorers, pictures, texts) -> None:
    cosine = by_hand(scorers / "clip", pictures, texts, crop)
    load = lambda c: t2imetrics.load("clipscore", weights=scorers, device="cpu", convention=c)  # noqa: E731
    np.testing.assert_allclose(load("cosine").score(pictures, texts), cosine, atol=1e-6)
    np.testing.assert_allclose(load("cosine100").score(pictures, texts), 100 * cosine, atol=1e-4)
    hessel = load("hessel100").score(pictures, texts)
    np.testing.assert_allclose(hessel, 250 * cosine.clip(min=0), atol=3e-4)
    assert hessel.dtype == np.float64


def test_hpsv2_is_open_clip_by_hand_with_padding(scorers, pictures, texts) -> None:
    scorer = t2imetrics.load("hpsv2", weights=scorers, device="cpu")
    np.testing.assert_allclose(
        scorer.score(pictures, texts), 100 * by_hand(scorers / "hps", pictures, texts, pad), atol=1e-4
    )


def test_hpsv2_antialias_is_an_option_that_matters_and_is_recorded(scorers, pictures, texts) -> None:
    plain = t2imetrics.load("hpsv2", weights=scorers, device="cpu", antialias=False)
    smooth = t2imetrics.load("hpsv2", weights=scorers, device="cpu")
    assert "without antialias" in plain.card.note
    assert np.abs(plain.score(pictures, texts) - smooth.score(pictures, texts)).max() > 1e-3


@pytest.mark.parametrize("name", ["clipscore", "hpsv2"])
def test_batch_size_and_row_order_do_not_matter(scorers, pictures, texts, name) -> None:
    one = t2imetrics.load(name, weights=scorers, device="cpu", batch_size=1).score(pictures, texts)
    many = t2imetrics.load(name, weights=scorers, device="cpu", batch_size=5)
    np.testing.assert_allclose(many.score(pictures, texts), one, atol=1e-4)
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    shuffled = many.score([pictures[i] for i in order], [texts[i] for i in order])
    np.testing.assert_allclose(shuffled, one[order], atol=1e-4)


@pytest.mark.parametrize("name", ["clipscore", "hpsv2"])
def test_golden_numbers(scorers, pictures, texts, name) -> None:
    options = {"convention": "cosine100"} if name == "clipscore" else {}
    values = t2imetrics.load(name, weights=scorers, device="cpu", **options).score(pictures[:4], texts[:4])
    np.testing.assert_allclose(values, GOLDEN[name], atol=2e-3)


def test_tokens_count_what_truncation_loses(scorers, texts) -> None:
    scorer = t2imetrics.load("clipscore", weights=scorers, device="cpu")
    counts = scorer.tokens(texts)
    assert counts[2] == 2, "an empty text is start and end"
    assert (counts > scorer.card.text_limit).tolist() == [i == 4 for i in range(8)]
    prefixed = t2imetrics.load("clipscore", weights=scorers, device="cpu", prefix="A photo depicts ")
    assert (prefixed.tokens(texts) > counts).all()


def test_a_long_text_keeps_its_end_token(scorers, pictures) -> None:
    scorer = t2imetrics.load("clipscore", weights=scorers, device="cpu", convention="cosine")
    first = "glossy toy " * 60
    values = scorer.score(pictures[:1] * 2, [first, first + "and more words that are never seen"])
    assert values[0] == values[1]


def test_each_different_text_is_encoded_once(scorers, pictures, monkeypatch) -> None:
    scorer = t2imetrics.load("clipscore", weights=scorers, device="cpu")
    seen: list[int] = []
    encode = scorer.towers.model.encode_text
    monkeypatch.setattr(scorer.towers.model, "encode_text", lambda ids: (seen.append(len(ids)), encode(ids))[1])
    scorer.score(pictures, ["the same"] * 7 + ["another"])
    assert sum(seen) == 2


def test_a_broken_picture_names_its_row(scorers, pictures) -> None:
    scorer = t2imetrics.load("clipscore", weights=scorers, device="cpu", batch_size=2)
    with pytest.raises(ImageError, match="row 3: "):
        scorer.score([*pictures[:3], b"broken"], ["a"] * 4)
    with pytest.raises(InputError, match="4 and 3 rows"):
        scorer.score(pictures[:4], ["a"] * 3)
    assert scorer.score([], []).shape == (0,)


def test_fid_of_the_picture_tower(scorers, pictures) -> None:
    scorer = t2imetrics.load("fid", weights=scorers, device="cpu", batch_size=3)
    features = scorer.features(pictures)
    assert features.shape == (8, 16)
    assert features.dtype == np.float64
    assert "not Inception" in scorer.card.note
    assert scorer.score(pictures[:5], pictures[5:]) == pytest.approx([fid(features[:5], features[5:])], rel=1e-4)
    assert scorer.failed_features().shape == (1, 16)
    assert scorer.features([]).shape == (0, 16)


def test_options_are_checked(scorers) -> None:
    with pytest.raises(OptionError, match="convention 'hesse' is not known: choose from hessel100"):
        t2imetrics.load("clipscore", weights=scorers, convention="hesse")
    with pytest.raises(OptionError, match="no option 'convntion': did you mean 'convention'"):
        t2imetrics.load("clipscore", weights=scorers, convntion="cosine")
    with pytest.raises(OptionError, match="version '3' is not known"):
        t2imetrics.load("hpsv2", weights=scorers, version="3")
    with pytest.raises(OptionError, match="device 'toaster' cannot be used"):
        t2imetrics.load("clipscore", weights=scorers, device="toaster")
    with pytest.raises(OptionError, match="batch_size"):
        t2imetrics.load("clipscore", weights=scorers, batch_size=0)


def test_weights_are_held_to_their_digests(tmp_path) -> None:
    small.write_clip(tmp_path / "clip", "mine")
    card = t2imetrics.load("clipscore", weights=tmp_path, device="cpu").card
    about = json.loads((tmp_path / "clip" / "weights.json").read_text())
    assert card.weights == t2imetrics.Weights(
        "mine", None, about["sha256"]["model.safetensors"], "test: from seeded numbers", fingerprint(about["sha256"])
    )
    config = tmp_path / "clip" / "open_clip_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(WeightsError, match=r"config\.json is not the file weights.json describes"):
        t2imetrics.load("clipscore", weights=tmp_path)


def test_weights_that_do_not_fit_the_configuration_are_an_error(tmp_path) -> None:
    small.write_clip(tmp_path / "clip", "mine")
    config = tmp_path / "clip" / "open_clip_config.json"
    config.write_text(config.read_text().replace('"layers": 2', '"layers": 3'))
    small.seal(tmp_path / "clip", "mine")
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        t2imetrics.load("clipscore", weights=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_text_is_the_same_to_the_bit_whatever_was_scored_before(pictures) -> None:
    texts = [f"a picture of thing {i} " + "and more " * i for i in range(8)]
    rows = pictures[:4]
    fresh = t2imetrics.load("clipscore", weights="miniature", device="cpu").score(rows, texts[4:])
    for before in (texts[4:5], texts[5:7], texts[:3], texts):
        used = t2imetrics.load("clipscore", weights="miniature", device="cpu")
        used.score(pictures[: len(before)], before)
        assert used.score(rows, texts[4:]).tolist() == fresh.tolist()


@pytest.mark.parametrize(
    ("about", "told"),
    [
        (None, "preprocess_cfg must be an object, got None"),
        ({"mean": "half"}, "mean must be three numbers, got 'half'"),
        ({"std": [1, 1, 0]}, "std must be three numbers"),
        ({"interpolation": "bilinear"}, 'asks for interpolation "bilinear", this metric does bicubic'),
        ({"resize_mode": "squash"}, 'asks for resize_mode "squash", this metric does shortest'),
        ({"size": 64}, "asks for size 64, this metric does 32"),
    ],
)
def test_a_preparation_that_is_not_done_is_refused(tmp_path, about: object, told: str) -> None:
    small.write_clip(tmp_path / "clip", "mine")
    path = tmp_path / "clip" / "open_clip_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "preprocess_cfg": about}))
    small.seal(tmp_path / "clip", "mine")
    with pytest.raises(WeightsError, match=re.escape(told)):
        t2imetrics.load("clipscore", weights=tmp_path, device="cpu")


def test_the_folder_of_one_network_is_not_taken_for_another(tmp_path) -> None:
    small.write_clip(tmp_path / "clip", "mine")
    with pytest.raises(WeightsError, match="holds no hps"):
        t2imetrics.load("hpsv2", weights=tmp_path / "clip", device="cpu")
    assert t2imetrics.load("clipscore", weights=tmp_path / "clip", device="cpu").card.weights.name == "mine"
    moved = (tmp_path / "clip").rename(tmp_path / "tuned")
    with pytest.raises(WeightsError, match='nor does its own state "kind": "clip"'):
        t2imetrics.load("clipscore", weights=moved, device="cpu")
    about = json.loads((moved / "weights.json").read_text())
    (moved / "weights.json").write_text(json.dumps({**about, "kind": "clip"}))
    assert t2imetrics.load("clipscore", weights=moved, device="cpu").card.weights.name == "mine"


def test_every_file_that_is_read_has_a_digest_and_counts(tmp_path) -> None:
    small.write_clip(tmp_path / "clip", "mine")
    card = t2imetrics.load("fid", weights=tmp_path, device="cpu").card
    path, sealed = tmp_path / "clip" / "open_clip_config.json", tmp_path / "clip" / "weights.json"
    path.write_text(path.read_text().replace("0.25", "0.5"))
    small.seal(tmp_path / "clip", "mine")
    other = t2imetrics.load("fid", weights=tmp_path, device="cpu").card
    assert other.weights.sha256 == card.weights.sha256
    assert other.weights.files != card.weights.files
    about = json.loads(sealed.read_text())
    for name in ("open_clip_config.json", "bpe.txt.gz"):
        left = {key: value for key, value in about["sha256"].items() if key != name}
        sealed.write_text(json.dumps({**about, "sha256": left}))
        with pytest.raises(WeightsError, match=f"states no sha256 of {re.escape(name)}"):
            t2imetrics.load("fid", weights=tmp_path, device="cpu")
