"""Many metrics in one pass: the same numbers as one by one, for less work."""

from __future__ import annotations

import dataclasses
import os
import pickle
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


def test_columns_of_a_shuffled_table_are_paired_by_position(suite, scorers, pictures, texts, gold, tmp_path) -> None:
    pandas = pytest.importorskip("pandas")
    for i, (picture, other) in enumerate(zip(pictures, gold, strict=True)):
        picture.save(tmp_path / f"{i}.png")
        other.save(tmp_path / f"gold-{i}.png")
    table = pandas.DataFrame({
        "path": [str(tmp_path / f"{i}.png") for i in range(8)],
        "gold": [str(tmp_path / f"gold-{i}.png") for i in range(8)],
        "text": texts,
    })  # fmt: skip
    for rows in (table.iloc[[5, 2, 7, 0, 1, 3, 6, 4]], table[table.index > 2]):
        lists = [rows[name].tolist() for name in ("path", "text", "gold")]
        expected, found = suite.score(*lists), suite.score(rows.path, rows.text, rows.gold)
        for name in NAMES:
            assert found[name].tolist() == expected[name].tolist()
        alone = suite.scorers["clipscore"]
        assert alone.score(rows.path, rows.text).tolist() == alone.score(lists[0], lists[1]).tolist()
        features = suite.scorers["fid"].features
        assert (features(rows.path) == features(lists[0])).all()
        for name in ("sbert", "bertscore"):
            reader = t2imetrics.load(name, weights="miniature", device="cpu")
            told = reader.score(rows.text, rows.text.shift(1, fill_value="a"))
            assert told.tolist() == reader.score(lists[1], ["a", *lists[1][:-1]]).tolist()


def test_lists_of_other_lengths_are_refused_even_where_no_metric_reads_them(scorers, pictures, texts) -> None:
    one = t2imetrics.Suite(("clip_image",), scorers, "cpu", batch_size=1)
    with pytest.raises(InputError, match="4 and 2 rows"):
        one.score(pictures[:4], texts[:2], pictures[:4])
    two = t2imetrics.Suite(("clipscore",), scorers, "cpu", batch_size=1)
    with pytest.raises(InputError, match="4 and 2 rows"):
        two.score(pictures[:4], texts[:4], pictures[:2])


def test_letters_are_no_rows(suite) -> None:
    sbert = t2imetrics.load("sbert", weights="miniature", device="cpu")
    with pytest.raises(InputError, match="got one string"):
        sbert.score("abc", "abd")
    with pytest.raises(InputError, match="got one string"):
        sbert.tokens("abc")
    with pytest.raises(InputError, match="got one string"):
        suite.scorers["fid"].features("cat.png")
    with pytest.raises(InputError, match="got one string"):
        suite.score("cat.png", "a")


@pytest.mark.parametrize("text", [None, float("nan"), b"a", 7])
def test_what_is_no_text_is_refused_with_its_row(suite, pictures, text: object) -> None:
    with pytest.raises(InputError, match=f"row 1: a text is needed, got {type(text).__name__}"):
        suite.scorers["clipscore"].score(pictures[:2], ["a", text])
    with pytest.raises(InputError, match=f"row 1: a text is needed, got {type(text).__name__}"):
        t2imetrics.load("sbert", weights="miniature", device="cpu").score(["a", text], ["a", "b"])


def test_a_picture_file_may_have_a_name_that_is_no_text(suite, pictures, tmp_path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    try:
        with open(path, "wb") as file:
            pictures[0].save(file, "PNG")
    except OSError:
        pytest.skip("this file system keeps no such name")
    clip = suite.scorers["clipscore"]
    assert clip.score([os.fsdecode(path)], ["a"]).tolist() == clip.score([pictures[0]], ["a"]).tolist()


class OneABatch(t2imetrics.PictureScorer):
    """A metric that forgets its rows."""

    card = dataclasses.replace(t2imetrics.card("dino"), name="forgetful", reads="images")

    def __init__(self, setting: t2imetrics.Setting) -> None:
        self.setting = setting

    def rows(self, batch, against):
        return np.array([1.0])


def test_a_metric_that_gives_one_value_a_batch_is_refused(pictures, monkeypatch) -> None:
    monkeypatch.setitem(t2imetrics._registry.BUILTIN, "forgetful", f"{__name__}:OneABatch")
    with pytest.raises(InputError, match=r"'forgetful' gave values of shape \(1,\) for a batch of 8"):
        t2imetrics.load("forgetful").score(pictures)
    with pytest.raises(InputError, match=r"'forgetful' gave values of shape \(1,\) for a batch of 8"):
        t2imetrics.Suite(("forgetful",)).score(pictures)


def test_scorers_of_pictures_can_be_pickled(scorers, suite, pictures) -> None:
    for name, scorer in suite.scorers.items():
        again = pickle.loads(pickle.dumps(scorer))
        take = lambda one, name=name: one.features(pictures) if name == "fid" else one.score(pictures, pictures)  # noqa: E731
        if scorer.card.reads in ("images", "images+images"):
            assert (take(again) == take(scorer)).all()
