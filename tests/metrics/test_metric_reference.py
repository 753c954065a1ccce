"""Our own code against the authors' packages on the same weights, and how those packages are kept at bay.

`pytest tests/metrics/test_metric_reference.py -s -k agree` prints the largest differences.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics import Setting, Weights, _blip, reference
from t2imetrics.errors import ImageError, InputError, OptionError, WeightsError
from t2imetrics.reference import _stubs
from t2imetrics.reference import imagereward as package_ir

from tests.metrics import small_weights as small
from tests.metrics.pictures import kinds, real_pairs

torch = pytest.importorskip("torch")

METRICS = tuple(reference.BACKENDS)
TOLERANCE = 1e-4
#: Files that the packages open in another way than we do: transparency, 16 bits, or colours that are not RGB.
OPENED_OTHERWISE = {
    "hpsv2": {"rgba-soft", "rgba-webp", "grey-alpha", "grey-16-bit", "palette-soft"},
    "imagereward": {
        "rgba-soft", "rgba-webp", "grey-alpha", "grey-16-bit", "palette-soft",
        "1-bit", "palette", "palette-clear", "animated-gif", "cmyk-jpeg", "cmyk-tiff",
    },
}  # fmt: skip


def is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


needs_packages = pytest.mark.skipif(
    not (is_installed("image-reward") and is_installed("hpsv2")), reason="the authors' packages: type `make reference`"
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Real pictures and prompts in every shape, and pictures that need care."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = real_pairs(folder)
    with Image.open(rows[0][0]) as artwork:
        for size in ((1, 37), (37, 1), (64, 40), (17, 64), (32, 20), (9, 32)):
            path = folder / f"{size[0]}x{size[1]}.png"
            artwork.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(path)
            rows.append((path, rows[0][1]))
    return rows


@pytest.fixture(scope="module", params=["miniature", "other"])
def weights(request: pytest.FixtureRequest, scorers: Path) -> str | Path:
    """The trained miniature (64 px, a ResNet for hpsv2) and random weights (32 px, a ViT for hpsv2)."""
    return "miniature" if request.param == "miniature" else scorers


def both(name: str, weights: str | Path) -> tuple[Any, Any]:
    own = t2imetrics.load(name, weights, "cpu", workers=0)
    return own, t2imetrics.load(name, weights, "cpu", backend="reference")


def largest(label: str, own: np.ndarray, package: np.ndarray) -> float:
    worst = float(np.abs(own - package).max())
    print(f"\n{label}: {len(own)} pairs, values {own.min():.2f} to {own.max():.2f}, max |difference| {worst:.1e}")
    return worst


# --- parity ----------------------------------------------------------------------------------------------------


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_both_backends_agree_on_real_pictures_and_prompts(name, weights, pairs) -> None:
    """Both get the picture as `open_rgb` decodes it."""
    own, package = both(name, weights)
    pictures, texts = zip(*pairs, strict=True)
    assert len(pictures) >= 64
    values = own.score(pictures, texts)
    assert values.std() > 0.5, "the weights tell the rows apart"
    label = f"{name}, {'miniature' if weights == 'miniature' else 'random small'}"
    assert largest(label, values, package.score(pictures, texts)) <= TOLERANCE
    np.testing.assert_array_equal(own.tokens(texts), package.tokens(texts))
    assert own.card.text_limit == package.card.text_limit


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_both_backends_agree_when_the_package_opens_the_file(name, weights, pairs) -> None:
    own, package = both(name, weights)
    plain = [pair for kind, pair in zip(kinds(), pairs, strict=False) if kind.picture not in OPENED_OTHERWISE[name]]
    pictures, texts = zip(*plain, strict=True)
    with torch.inference_mode(), _stubs.quiet():
        opened = [package.package_score(str(picture), text) for picture, text in plain if fits(picture, package)]
    rows = [row for row, picture in enumerate(pictures) if fits(picture, package)]
    assert len(rows) >= 64
    assert largest(f"{name}, files", own.score(pictures, texts)[rows], np.array(opened)) <= TOLERANCE


def fits(picture: Path, package: Any) -> bool:
    """Whether the package can read the file: hpsv2 fails at a longest side that is right already."""
    with Image.open(picture) as image:
        return package.fit(image) is image


@needs_packages
def test_both_backends_agree_on_a_checkpoint_with_the_released_names(monkeypatch, tmp_path, pairs) -> None:
    """The names come from the package's own network, parts included that the score leaves unused."""
    vocabulary = small.bert_vocabulary()
    config = {**small.REWARD_CONFIG, **{key: _blip.PUBLISHED[key] for key in ("mean", "std")}}
    state = package_ir.released_names(small.reward_state())
    sizes = package_ir.Sizes.of(config, state)
    released = small.fill(package_ir.build_small(sizes, vocabulary)).state_dict()
    assert {"blip.vision_proj.weight", "blip.text_encoder.embeddings.position_ids"} < set(released)
    torch.save(released, tmp_path / "ImageReward.pt")
    (tmp_path / "med_config.json").write_text(json.dumps(sizes.text))
    (tmp_path / "vocab.txt").write_bytes(vocabulary.read_bytes())

    def fetch(file: Any) -> tuple[Path, Weights]:
        return tmp_path / file.name, Weights(file.name)

    shrunk = package_ir.build
    monkeypatch.setattr(_blip, "PUBLISHED", config)
    monkeypatch.setattr("t2imetrics.imagereward.fetch", fetch)
    monkeypatch.setattr(package_ir, "fetch", fetch)
    monkeypatch.setattr(package_ir, "build", lambda med, vocabulary: shrunk(med, vocabulary, sizes))
    own, package = both("imagereward", "published")
    assert (package.model.mean, package.model.std) == (config["mean"], config["std"]), "ours are the package's"
    pictures, texts = zip(*pairs, strict=True)
    values = own.score(pictures, texts)
    assert largest("imagereward, released names", values, package.score(pictures, texts)) <= TOLERANCE


@needs_packages
def test_a_call_of_hpsv2_as_it_is_gives_the_same_number(scorers, pairs, tmp_path) -> None:
    """`score` with a checkpoint file, which it reads at every call, against our scorer that read it once."""
    from safetensors.torch import load_file

    package = t2imetrics.load("hpsv2", scorers, "cpu", backend="reference")
    checkpoint = tmp_path / "hps.pt"
    torch.save({"state_dict": load_file(scorers / "hps" / "model.safetensors")}, checkpoint)
    with torch.no_grad():
        del package.scr.model_dict["model"].load_state_dict  # the method of the class again
        for parameter in package.scr.model_dict["model"].parameters():
            parameter.zero_()
    pictures, texts = zip(*pairs[:4], strict=True)
    with _stubs.quiet():
        values = [package.scr.score(str(path), text, cp=str(checkpoint))[0] for path, text in pairs[:4]]
    fresh = t2imetrics.load("hpsv2", scorers, "cpu", backend="reference")
    np.testing.assert_array_equal(fresh.score(pictures, texts), [100 * float(value) for value in values])


# --- rows the packages cannot read -------------------------------------------------------------------------------


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_bad_rows_are_named(name) -> None:
    package = t2imetrics.load(name, "miniature", "cpu", backend="reference")
    picture = small.picture(1)
    with pytest.raises(ImageError, match="row 1: "):
        package.score([picture, b"broken"], ["a", "b"])
    with pytest.raises(InputError, match="2 and 1 rows"):
        package.score([picture, picture], ["a"])
    assert package.score([], []).shape == (0,)


@needs_packages
def test_a_row_at_which_the_package_fails_is_named(scorers) -> None:
    line, picture = Image.new("RGB", (1, 500)), small.picture(1)
    hpsv2 = t2imetrics.load("hpsv2", scorers, "cpu", backend="reference")
    with pytest.raises(InputError, match="row 1: the package hpsv2 fails: ") as caught:
        hpsv2.score([picture, line], ["a", "b"])
    assert "\n" not in str(caught.value)
    assert t2imetrics.load("hpsv2", scorers, "cpu").score([line], ["b"]).shape == (1,)
    reward = t2imetrics.load("imagereward", "miniature", "cpu", backend="reference")
    with pytest.raises(InputError, match="row 0: the package image-reward fails: "):
        reward.score([picture], ["a token only the package adds: [ENC]"])


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_files_the_packages_open_otherwise(name, weights, pairs) -> None:
    """What `metrics/REFERENCE.md` tells about decoding; printed with `-s`."""
    own, package = both(name, weights)
    for kind, (picture, text) in zip(kinds(), pairs, strict=False):
        if kind.picture not in OPENED_OTHERWISE[name]:
            continue
        try:
            with torch.inference_mode(), _stubs.quiet():
                difference = abs(package.package_score(str(picture), text) - own.score([picture], [text])[0])
        except RuntimeError:
            assert (name, kind.picture[:4]) == ("hpsv2", "rgba"), "only four channels are too many"
            difference = np.inf
        print(f"\n{name}, {kind.picture}: {difference:.2g}")
        resized = weights != "miniature"  # some modes differ only in how they are resized
        assert difference > 10 * TOLERANCE or not resized


@needs_packages
def test_hpsv2_itself_fails_at_the_pictures_that_are_padded_for_it() -> None:
    package = t2imetrics.load("hpsv2", "miniature", "cpu", backend="reference")
    picture = small.picture(1, (64, 40))
    with pytest.raises(RuntimeError), torch.inference_mode(), _stubs.quiet():
        package.package_score(picture, "a")
    with pytest.raises(RuntimeError), torch.inference_mode(), _stubs.quiet():
        package.package_score(Image.new("RGBA", (80, 40)), "a")


# --- what remains of the packages --------------------------------------------------------------------------------


def traces() -> dict[str, Any]:
    import transformers.modeling_utils as home
    from transformers import logging as chatter

    names = ("clip", "clint", "fairscale", "turtle", "ImageReward", "hpsv2")
    return {
        "modules": {name: module for name, module in sys.modules.items() if name.split(".")[0] in names},
        "transformers": (hasattr(home, "apply_chunking_to_forward"), chatter.get_verbosity()),
        "process": (gzip.open, warnings.filters[:], logging.root.handlers[:], os.environ.copy()),
    }


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_a_package_leaves_no_trace_in_the_process(name, monkeypatch, tmp_path, pairs) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setitem(sys.modules, "hpsv2", users := type(sys)("hpsv2"))
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    pictures, texts = zip(*pairs[:3], strict=True)
    own = t2imetrics.load(name, "miniature", "cpu")
    values, before = own.score(pictures, texts), traces()
    t2imetrics.load(name, "miniature", "cpu", backend="reference").score(pictures, texts)
    after = traces()
    assert after == before
    assert sys.modules["hpsv2"] is users
    assert not list(tmp_path.iterdir()), "nothing is written into the home"
    np.testing.assert_array_equal(own.score(pictures, texts), values)
    np.testing.assert_array_equal(t2imetrics.load(name, "miniature", "cpu").score(pictures, texts), values)


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_two_reference_scorers_do_not_share_their_package(name, scorers, pairs) -> None:
    pictures, texts = zip(*pairs[:3], strict=True)
    first = t2imetrics.load(name, "miniature", "cpu", backend="reference")
    values = first.score(pictures, texts)
    second = t2imetrics.load(name, scorers, "cpu", backend="reference")
    assert np.abs(second.score(pictures, texts) - values).max() > 0.1
    np.testing.assert_array_equal(first.score(pictures, texts), values)


def test_the_library_does_not_load_the_reference_by_itself() -> None:
    code = "import sys, t2imetrics as t; t.card('hpsv2'); print([m for m in sys.modules if 'reference' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_a_missing_package_is_one_line_that_says_what_to_type(name, monkeypatch) -> None:
    def absent(distribution: str) -> str:
        raise metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(_stubs.metadata, "version", absent)
    with pytest.raises(OptionError, match=r"^backend 'reference' needs the package .*: type `make reference`"):
        t2imetrics.load(name, "miniature", backend="reference")


@needs_packages
def test_a_package_that_cannot_be_imported_is_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.transforms", None)
    with pytest.raises(OptionError, match=r"package hpsv2 1\.2\.0 cannot be imported: "):
        t2imetrics.load("hpsv2", "miniature", backend="reference")


@needs_packages
def test_options_are_checked() -> None:
    load = lambda name, **more: reference.load(name, Setting("miniature", "cpu"), **more)  # noqa: E731
    with pytest.raises(OptionError, match="'clipscore' has no backend 'reference': only hpsv2 and imagereward do"):
        load("clipscore")
    with pytest.raises(OptionError, match="no option 'versoin': did you mean 'version'"):
        load("hpsv2", versoin="2.0")
    with pytest.raises(OptionError, match="no option 'version': it takes none"):
        load("imagereward", version="2.0")
    with pytest.raises(OptionError, match="version '3' is not known"):
        load("hpsv2", version="3")
    with pytest.raises(OptionError, match="leave antialias at True"):
        load("hpsv2", antialias=False)
    with pytest.raises(OptionError, match="leave precision at 'float32'"):
        t2imetrics.load("hpsv2", "miniature", precision="float16", backend="reference")


@needs_packages
@pytest.mark.parametrize("name", METRICS)
def test_the_card_names_the_package_and_the_weights(name, weights) -> None:
    own, package = both(name, weights)
    assert package.card.weights == own.card.weights
    assert package.card.note.startswith(f"backend reference: package {_stubs.release(package.distribution)}; ")
    assert (package.card.name, package.card.unit) == (own.card.name, own.card.unit)


@needs_packages
def test_weights_the_package_cannot_have_are_refused(tmp_path) -> None:
    small.write_reward(tmp_path / "reward")
    small.write_clip(tmp_path / "hps", "tiny hps")
    edit(tmp_path / "reward" / "config.json", '"max_length": 35', '"max_length": 36')
    with pytest.raises(WeightsError, match="max_length 35"):
        t2imetrics.load("imagereward", tmp_path, backend="reference")
    edit(tmp_path / "hps" / "open_clip_config.json", '"layers": 2', '"layers": 3')
    with pytest.raises(WeightsError, match="cannot be loaded: "):
        t2imetrics.load("hpsv2", tmp_path, backend="reference")
    edit(tmp_path / "hps" / "open_clip_config.json", '"context_length": 77', '"context_length": 78')
    with pytest.raises(WeightsError, match="reads 77 tokens, these weights 78"):
        t2imetrics.load("hpsv2", tmp_path, backend="reference")


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    small.seal(path.parent, "edited")


@needs_packages
def test_missing_entries_are_refused_where_the_package_says_nothing() -> None:
    state = package_ir.released_names(small.reward_state())
    model = package_ir.build_small(package_ir.Sizes.of(small.REWARD_CONFIG, state), small.bert_vocabulary())
    del state["blip.visual_encoder.cls_token"]
    with pytest.raises(WeightsError, match=r"1 entries are missing, the first is 'blip\.visual_encoder\.cls_token'"):
        package_ir.fill(model, state)
    with pytest.raises(WeightsError, match="head has 5 layers, these weights 0"):
        package_ir.released_names({})
