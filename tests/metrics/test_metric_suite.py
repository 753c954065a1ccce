"""Many metrics in one pass: the same numbers as one by one, for less work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from safetensors.torch import load_file, save_file
from t2imetrics import _images
from t2imetrics.errors import ImageError, InputError, OptionError, WeightsError

from tests.metrics import small_weights as small

NAMES = ("clipscore", "hpsv2", "imagereward", "clip_image", "fid")


@pytest.fixture(scope="module")
def suite(scorers: Path) -> t2imetrics.Suite:
    return t2imetrics.Suite(NAMES, scorers, "cpu", batch_size=3)


@pytest.fixture(scope="session")
def gold() -> list[Image.Image]:
    return [small.picture(i + 40, (60, 50)) for i in range(8)]


def test_together_is_one_by_one(suite, scorers, pictures, texts, gold) -> None:
    together = suite.score(pictures, texts, gold)
    assert tuple(together) == NAMES
    for name in NAMES:
        alone = t2imetrics.load(name, weights=scorers, device="cpu")
        against = gold if name in ("clip_image", "fid") else texts
        np.testing.assert_allclose(together[name], alone.score(pictures, against), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (8, 1), (5, 4), (2, 2)])
def test_batch_size_and_workers_do_not_matter(scorers, suite, pictures, texts, gold, batch_size, workers) -> None:
    other = t2imetrics.Suite(NAMES, scorers, "cpu", batch_size=batch_size, workers=workers)
    expected, found = suite.score(pictures, texts, gold), other.score(pictures, texts, gold)
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, rtol=1e-6)


def test_order_does_not_matter(suite, pictures, texts, gold) -> None:
    order = [5, 2, 7, 0, 1, 3, 6, 4]
    expected = suite.score(pictures, texts, gold)
    found = suite.score(*([rows[i] for i in order] for rows in (pictures, texts, gold)))
    for name in NAMES:
        values = expected[name] if name == "fid" else expected[name][order]
        np.testing.assert_allclose(found[name], values, atol=1e-5, rtol=1e-6)


def test_pictures_are_decoded_once_and_towers_shared(scorers, pictures, texts, gold, monkeypatch) -> None:
    suite = t2imetrics.Suite(NAMES, scorers, "cpu", batch_size=4)
    assert suite.scorers["clipscore"].towers is suite.scorers["clip_image"].towers
    assert suite.scorers["clipscore"].towers is not suite.scorers["hpsv2"].towers
    opened: list[int] = []
    whole = _images.open_rgb
    monkeypatch.setattr("t2imetrics._batch.open_rgb", lambda picture, row: (opened.append(row), whole(picture, row))[1])
    model = suite.scorers["clipscore"].towers.model
    seen: list[int] = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda pixels: (seen.append(len(pixels)), encode(pixels))[1])
    suite.score(pictures, texts, gold)
    assert len(opened) == len(pictures) + len(gold)
    assert sum(seen) == len(pictures) + len(gold)


FLAT = """
import io, re, sys
from pathlib import Path
import t2imetrics
from tests.metrics import small_weights as small
buffer = io.BytesIO()
small.picture(3, (512, 512)).save(buffer, "PNG", compress_level=1)
suite = t2imetrics.Suite(("clipscore", "clip_image", "fid"), sys.argv[1], "cpu", batch_size=8)
peaks = []
for n in (40, 600):
    rows = [buffer.getvalue()] * n
    suite.score(rows, [f"picture {i}" for i in range(n)], rows)
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)))
print((peaks[1] - peaks[0]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads peak memory from /proc")
def test_memory_stays_flat(scorers) -> None:
    """600 pictures of 0.8 MB on each side would be 940 MB if they were kept."""
    done = subprocess.run([sys.executable, "-c", FLAT, str(scorers)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60, f"{done.stdout} MB more for 600 pictures than for 40"


def test_what_is_missing_or_no_picture_metric_is_told(scorers, suite, pictures, texts, gold, tmp_path) -> None:
    with pytest.raises(InputError, match="'clipscore' needs texts"):
        suite.score(pictures, None, gold)
    with pytest.raises(InputError, match="'clip_image' needs gold"):
        suite.score(pictures, texts)
    with pytest.raises(InputError, match="same length"):
        suite.score(pictures, texts[:3], gold)
    with pytest.raises(OptionError, match="reads no pictures"):
        t2imetrics.Suite(("selection",), scorers, "cpu")
    with pytest.raises(OptionError, match="not in the suite"):
        t2imetrics.Suite(("fid",), scorers, "cpu", options={"clipscore": {}})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ImageError, match=r"row 6: .*broken\.png"):
        suite.score([*pictures[:6], tmp_path / "broken.png", pictures[7]], texts, gold)
    with pytest.raises(ImageError, match=r"row 2: .*gone\.png"):
        suite.score(pictures, texts, [*gold[:2], tmp_path / "gone.png", *gold[3:]])


def test_weights_that_are_no_numbers_are_refused_at_load(tmp_path: Path) -> None:
    small.write_clip(tmp_path / "clip", "tiny clip")
    path = tmp_path / "clip" / "model.safetensors"
    state = load_file(path)
    state["visual.proj"][0, 0] = float("nan")
    save_file(state, path)
    small.seal(tmp_path / "clip", "tiny clip")
    with pytest.raises(WeightsError, match=r"'visual\.proj' holds values that are not numbers"):
        t2imetrics.load("clipscore", weights=tmp_path, device="cpu")


@pytest.mark.parametrize("name", ["bertscore", "sbert", "clipscore", "hpsv2", "imagereward"])
def test_half_a_character_is_refused_with_its_row(name: str) -> None:
    scorer = t2imetrics.load(name, weights="miniature", device="cpu")
    first = [Image.new("RGB", (8, 8))] * 2 if scorer.card.reads == "images+text" else ["a", "b"]
    with pytest.raises(InputError, match="row 1: its text holds half a character"):
        scorer.score(first, ["a", "\ud800"])
