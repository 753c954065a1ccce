"""The self-test passes on what is shipped, and every fault it is there for makes it fail."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics import _golden, _images, _inception, imagereward, selftest
from t2imetrics._golden import pixels, records, texts, values
from t2imetrics._weights import miniature_home
from t2imetrics.errors import UnknownMetricError
from t2imetrics.selftest import Check

from tests.metrics import small_weights as small

torch = pytest.importorskip("torch")

PICTURE_METRICS = ("clipscore", "hpsv2", "imagereward", "fid")
A, B = "preprocessing A", "preprocessing B"
#: Preparations that resize with PIL, and of these those that crop.
CROPPED = {f"{A}, 224 px", f"{A}, 64 px", "preprocessing of transformers, 224 px", "preprocessing of DINO, 224 px"}
BY_PIL = CROPPED | {"preprocessing of Inception, 299 px"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, t2imetrics.Scorer]:
    torch.set_num_threads(1)
    shelf: dict[Any, Any] = {}
    return {name: t2imetrics.load(name, "miniature", "cpu", workers=0, shelf=shelf) for name in PICTURE_METRICS}


def failed(checks: list[Check], name: str | None = None) -> dict[str, str]:
    return {check.what: check.detail for check in checks if not check.ok and name in (None, check.name)}


def weight_free() -> list[Check]:
    return selftest.run(cheap=True)


# --- what is shipped -------------------------------------------------------------------------------------------


def test_the_miniature_passes() -> None:
    checks = selftest.run((*PICTURE_METRICS, "bertscore"), device="cpu")
    assert {check.state for check in checks} == {"ok"}, failed(checks)
    assert [check.name for check in checks if check.name not in ("pixels", "tokens")] == [*PICTURE_METRICS, "bertscore"]
    selftest.require(checks)


def test_every_metric_that_loads_with_the_miniature_has_shipped_values() -> None:
    checks = [check for check in selftest.run(device="cpu") if check.name not in ("pixels", "tokens")]
    assert [check.name for check in checks] == list(values.weighted())
    assert not failed(checks)
    for check in checks:
        assert check.state == "ok" or check.detail == f"no weights here: {check.name} has no miniature weights"


def test_every_preparation_of_the_miniature_is_checked(loaded) -> None:
    checked = {pixels.how_of(name) for name in pixels.PREPARATIONS}
    assert {how for scorer in loaded.values() for how in scorer.hows} <= checked


def test_golden_files_are_small_and_complete() -> None:
    assert sum(path.stat().st_size for path in _golden.pictures()) < 60_000
    assert {Image.open(path).mode for path in _golden.pictures()} == {"P", "RGB", "RGBA", "L", "I;16"}
    assert set(_golden.read("pixels")["pixels"]) == set(pixels.PREPARATIONS)
    assert {"empty", "emoji", "chinese", "right-to-left"} < set(_golden.prompts())
    assert len(_golden.prompts()["long"].split()) > 180


def test_the_cheap_part_scores_one_row_of_loaded_metrics_and_loads_none(loaded, monkeypatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a cheap self-test loads nothing")

    monkeypatch.setattr(selftest, "load", forbidden)
    checks = selftest.run(cheap=True, scorers=loaded)
    assert not failed(checks)
    details = {check.name: check.detail for check in checks}
    assert details["clipscore"] == "1 row equal to the shipped values"
    assert [check.name for check in checks][-4:] == list(loaded)
    assert [check.name for check in selftest.run(["fid"], cheap=True, scorers=loaded)][-1] == "fid"


def test_half_precision_is_given_more_room(loaded) -> None:
    half = t2imetrics.load("clipscore", "miniature", "cpu", precision="float16")
    assert values.tolerance(half, 1.0) == pytest.approx(20 * values.tolerance(loaded["clipscore"], 1.0))
    assert values.options(half).endswith("-half")


# --- faults of pictures ----------------------------------------------------------------------------------------


def _inverted(image: Image.Image) -> Image.Image:
    return Image.eval(image, lambda value: 255 - value)


def _swapped(image: Image.Image) -> Image.Image:
    return Image.merge("RGB", image.split()[::-1])


@pytest.mark.parametrize(
    ("spoil", "said"), [(_inverted, "light and dark are inverted"), (_swapped, "red and blue are swapped")]
)
def test_wrong_channels_are_caught_in_every_preparation_and_metric(loaded, monkeypatch, spoil, said) -> None:
    true_open = _images.open_rgb
    monkeypatch.setattr("t2imetrics._batch.open_rgb", lambda picture, row=0: spoil(true_open(picture, row)))
    checks = selftest.run(cheap=True, scorers=loaded)
    wrong = failed(checks, "pixels")
    assert set(wrong) == set(pixels.PREPARATIONS)
    assert all(said in detail for detail in wrong.values()), wrong
    assert all(failed(checks, name) for name in PICTURE_METRICS)


def _resize_by(filter_: Image.Resampling, **fixed: Any) -> Callable[..., Image.Image]:
    true_resize = Image.Image.resize

    def resize(self: Image.Image, size: Any, resample: Any = None, *args: Any, **kwargs: Any) -> Image.Image:
        return true_resize(self, size, filter_, *args, **{**kwargs, **fixed})

    return resize


@pytest.mark.parametrize("filter_", ["BILINEAR", "LANCZOS", "NEAREST", "BOX"])
def test_another_filter_of_pil_is_caught(monkeypatch, filter_) -> None:
    monkeypatch.setattr(Image.Image, "resize", _resize_by(Image.Resampling[filter_]))
    wrong = failed(weight_free())
    assert set(wrong) == BY_PIL
    assert all("another filter" in detail for detail in wrong.values()), wrong


def test_shrinking_without_antialias_is_caught_in_preprocessing_a(monkeypatch) -> None:
    def resize(self: Image.Image, size: tuple[int, int], *_: object) -> Image.Image:
        pixels_ = _images.to_tensor(self.convert("RGB"))[None]
        plain = torch.nn.functional.interpolate(pixels_, size=size[::-1], mode="bicubic", antialias=False)[0]
        return Image.fromarray((plain.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())

    monkeypatch.setattr("t2imetrics._images.Image.Image.resize", resize)
    wrong = failed(weight_free())
    assert f"{A}, 224 px" in wrong
    assert f"{A}, 64 px" in wrong
    assert "without antialias" in wrong[f"{A}, 64 px"]


@pytest.mark.parametrize("change", [{"antialias": False}, {"mode": "bilinear"}, {"align_corners": True}])
def test_another_tensor_resize_is_caught_in_preprocessing_b(monkeypatch, change) -> None:
    true = torch.nn.functional.interpolate
    monkeypatch.setattr("torch.nn.functional.interpolate", lambda *a, **k: true(*a, **{**k, **change}))
    wrong = failed(weight_free())
    assert {f"{B}, 224 px", f"{B}, 64 px"} <= set(wrong)
    assert not any(what.startswith(A) for what in wrong)


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (-1, -1)])
def test_a_crop_shifted_by_one_pixel_is_caught(monkeypatch, shift) -> None:
    true_crop = Image.Image.crop

    def crop(self: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        return true_crop(self, tuple(side + shift[place % 2] for place, side in enumerate(box)))

    monkeypatch.setattr(Image.Image, "crop", crop)
    wrong = failed(weight_free())
    assert set(wrong) == CROPPED
    assert all("shifted by a pixel" in detail for detail in wrong.values()), wrong


def test_rounding_the_crop_down_is_caught(monkeypatch) -> None:
    monkeypatch.setattr(_images, "round", lambda value: int(value // 1), raising=False)
    assert f"{A}, 224 px" in failed(weight_free())


def test_padding_at_one_side_is_caught(monkeypatch) -> None:
    true = torch.nn.functional.pad
    monkeypatch.setattr(
        "torch.nn.functional.pad",
        lambda pixels_, sides: true(pixels_, [0, sides[0] + sides[1], 0, sides[2] + sides[3]]),
    )
    assert {f"{B}, 224 px", f"{B}, 64 px"} <= set(failed(weight_free()))


def test_another_normalisation_is_caught_and_told(monkeypatch) -> None:
    monkeypatch.setattr(_images, "normalise", lambda pixels_, mean, std: pixels_ * 2 - 1)
    wrong = failed(weight_free())
    assert "another mean and deviation" in wrong[f"{A}, 224 px"]
    assert "opened as RGB" not in wrong


@pytest.mark.parametrize(
    ("mode", "ground"), [("RGBA", (0, 0, 0, 255)), ("P", (0, 0, 0, 255))], ids=["soft alpha", "palette"]
)
def test_transparency_on_black_is_caught(monkeypatch, mode, ground) -> None:
    true = _images._on_white

    def on_black(image: Image.Image) -> Image.Image:
        if image.mode != mode or not image.has_transparency_data:
            return true(image)
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer).convert("RGB")

    monkeypatch.setattr(_images, "_on_white", on_black)
    assert "opened as RGB" in failed(weight_free())


def test_sixteen_bit_grey_that_turns_white_is_caught(monkeypatch) -> None:
    true = _images._on_white
    clipped = lambda image: image.convert("RGB") if image.mode.startswith("I") else true(image)  # noqa: E731
    monkeypatch.setattr(_images, "_on_white", clipped)
    assert "'grey-16-bit'" in failed(weight_free())["opened as RGB"]


def test_a_difference_below_a_tenth_of_a_grey_level_is_none(monkeypatch) -> None:
    true = _inception.preprocess
    monkeypatch.setattr(_inception, "preprocess", lambda image: true(image) + 3e-4)
    assert not failed(weight_free())


def test_a_golden_picture_that_is_gone_is_a_failed_check_and_no_exception(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(_golden, "pictures", lambda: [tmp_path / f"{name}.png" for name in _golden.PICTURES])
    wrong = failed(weight_free())
    assert set(wrong) == set(pixels.PREPARATIONS)
    assert all("cannot read the picture" in detail and "\n" not in detail for detail in wrong.values())


# --- faults of tokenizers --------------------------------------------------------------------------------------


def _cut_clip(name: str) -> Any:
    import open_clip

    return open_clip.SimpleTokenizer(str(miniature_home() / "clip" / "bpe.txt.gz"), context_length=77)


def test_a_cut_vocabulary_of_clip_is_caught(monkeypatch) -> None:
    monkeypatch.setattr("open_clip.get_tokenizer", _cut_clip)
    wrong = failed(weight_free())
    assert set(wrong) == {f"CLIP byte pairs ({name})" for name in texts.CLIP}
    assert all("one that was cut" in detail for detail in wrong.values())


def test_a_cut_vocabulary_of_bert_is_caught(monkeypatch, tmp_path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(texts.vocabulary().read_text("utf-8").split("\n")[:5000]) + "\n")
    monkeypatch.setattr(texts, "vocabulary", lambda: tmp_path / "vocab.txt")
    assert "has 5000 tokens" in failed(weight_free())["BERT word pieces"]


def test_an_empty_vocabulary_is_caught(monkeypatch) -> None:
    true = imagereward._tokenizer

    def empty(vocabulary: Path, size: int) -> Any:
        class Unknown:
            def encode(self, text: str) -> Any:
                found = true(vocabulary, size).encode(text)
                return type("Coded", (), {"ids": [101, *[100] * (len(found.ids) - 2), 102]})

        return Unknown()

    monkeypatch.setattr(imagereward, "_tokenizer", empty)
    assert "vocabulary looks empty" in failed(weight_free())["BERT word pieces"]


def test_keeping_capitals_is_caught(monkeypatch) -> None:
    from tokenizers import BertWordPieceTokenizer

    cased = lambda vocabulary, size: BertWordPieceTokenizer(str(vocabulary), lowercase=False)  # noqa: E731
    monkeypatch.setattr(imagereward, "_tokenizer", cased)
    assert "lower-casing" in failed(weight_free())["BERT word pieces"]


def test_text_that_is_not_cleaned_is_caught(monkeypatch) -> None:
    monkeypatch.setattr("ftfy.fix_text", lambda text: text)
    wrong = failed(weight_free())
    assert set(wrong) == {f"CLIP byte pairs ({name})" for name in texts.CLIP}
    assert all("cleaning of text (ftfy" in detail for detail in wrong.values())


def test_a_long_prompt_that_loses_its_end_token_is_caught(monkeypatch) -> None:
    import open_clip

    true = open_clip.get_tokenizer

    def sliced(name: str) -> Callable[[list[str]], Any]:
        tokenizer = true(name)

        def read(prompts: list[str]) -> Any:
            coded = [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id] for text in prompts]
            return torch.tensor([(ids + [0] * 77)[:77] for ids in coded])

        return read

    monkeypatch.setattr("open_clip.get_tokenizer", sliced)
    wrong = failed(weight_free())
    assert all("loses its end token" in wrong[f"CLIP byte pairs ({name})"] for name in texts.CLIP)


def test_a_loaded_metric_with_another_tokenizer_is_caught(monkeypatch) -> None:
    scorer = t2imetrics.load("imagereward", "miniature", "cpu")
    scorer.tokenizer = imagereward._tokenizer(texts.vocabulary(), texts.BERT_SIZE)
    detail = failed(selftest.run(cheap=True, scorers={"imagereward": scorer}), "imagereward").popitem()[1]
    assert "tokens, golden" in detail


# --- faults of weights -----------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path) -> Path:
    """A copy of the miniature's weights that a test may spoil."""
    shutil.copytree(miniature_home(), tmp_path / "own")
    return tmp_path / "own"


def spoil(folder: Path, change: Callable[[str, Any], Any], name: str | None = None) -> None:
    """Change the tensors of one network and seal it again, under another name if one is given."""
    from safetensors.torch import load_file, save_file

    about = json.loads((folder / "weights.json").read_text())
    state = load_file(folder / "model.safetensors")
    save_file({key: change(key, value) for key, value in state.items()}, folder / "model.safetensors")
    small.seal(folder, name or about["name"])


def nudged(key: str, tensor: Any) -> Any:
    return tensor * 1.01 if key.endswith("text_projection") or "mlp.0.weight" in key else tensor


def test_a_slight_change_of_the_shipped_weights_is_caught(own, monkeypatch) -> None:
    for part in ("clip", "hps", "reward"):
        spoil(own / part, lambda key, tensor: tensor * 1.01)
    monkeypatch.setattr("t2imetrics._weights.miniature_home", lambda: own)
    checks = selftest.run(PICTURE_METRICS, device="cpu")
    for name in PICTURE_METRICS:
        assert "not the shipped weights" in failed(checks, name)["miniature weights"]


def test_a_folder_that_calls_itself_the_miniature_but_is_not_is_caught(own) -> None:
    spoil(own / "clip", nudged)
    checks = selftest.run(["clipscore"], weights=own, device="cpu")
    assert list(failed(checks)) == [f"{own} weights"]
    assert "a name of their own" in failed(checks)[f"{own} weights"]


def test_weights_that_changed_after_loading_are_caught(monkeypatch) -> None:
    scorer = t2imetrics.load("clipscore", "miniature", "cpu")
    with torch.no_grad():
        scorer.towers.model.visual.conv1.weight.mul_(1.02)
    detail = failed(selftest.run(cheap=True, scorers={"clipscore": scorer}))["Miniature CLIP"]
    assert "rows differ" in detail
    assert "the weights are the same" in detail


def test_damaged_weights_are_caught(own) -> None:
    spoil(own / "clip", lambda key, tensor: tensor * float("nan"), "spoilt")
    path = own / "reward" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    shutil.rmtree(own / "hps")
    checks = selftest.run(PICTURE_METRICS, weights=own, device="cpu")
    wrong = {check.name: check.detail for check in checks if not check.ok}
    assert "not numbers" in wrong["clipscore"]
    assert "weights.json describes" in wrong["imagereward"]
    assert "holds no hps" in wrong["hpsv2"], "a metric that was asked for by name"


def test_weights_that_turn_into_nan_after_loading_are_caught() -> None:
    scorer = t2imetrics.load("imagereward", "miniature", "cpu")
    with torch.no_grad():
        scorer.model.mlp[0].weight.fill_(float("nan"))
    checks = selftest.run(cheap=True, scorers={"imagereward": scorer})
    assert "gave no number" in failed(checks)["Miniature ImageReward"]


# --- records ---------------------------------------------------------------------------------------------------


def test_unknown_weights_are_recorded_and_then_compared(own) -> None:
    spoil(own / "clip", nudged, "my own clip")
    scorer = t2imetrics.load("clipscore", own, "cpu")

    def check(cheap: bool = False) -> Check:
        return selftest.run(cheap=cheap, scorers={"clipscore": scorer})[-1]

    first = check(cheap=True)
    assert first.state == "recorded"
    assert str(records.path_of(scorer)) in first.detail
    assert check(cheap=True).detail.startswith("1 row equal to the record of 20")
    assert check().state == "recorded", "the rows that the cheap part did not see"
    assert (check().state, check(cheap=True).state) == ("ok", "ok")
    record = json.loads(records.path_of(scorer).read_text())
    assert len(record["values"]) == 8
    assert record["weights"] == "my own clip"
    assert record["versions"]["torch"]
    with torch.no_grad():
        scorer.towers.model.visual.conv1.weight.mul_(1.02)
    after = check()
    assert not after.ok
    assert f"recorded on {record['date']}" in after.detail
    assert "delete" in after.detail
    assert json.loads(records.path_of(scorer).read_text()) == record, "a record is never overwritten"


def test_another_library_version_is_named(own) -> None:
    spoil(own / "clip", nudged, "my own clip")
    scorer = t2imetrics.load("clipscore", own, "cpu")
    selftest.run(cheap=True, scorers={"clipscore": scorer})
    path = records.path_of(scorer)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"versions": {**record["versions"], "pillow": "1.0"}, "values": {
        row: value + 1 for row, value in record["values"].items()}}))  # fmt: skip
    assert "pillow 1.0 then" in selftest.run(cheap=True, scorers={"clipscore": scorer})[-1].detail


def test_other_options_have_a_record_of_their_own() -> None:
    plain, bare = (t2imetrics.load("clipscore", "miniature", "cpu", convention=c) for c in ("hessel100", "cosine"))
    assert selftest.run(cheap=True, scorers={"clipscore": plain})[-1].state == "ok"
    assert selftest.run(cheap=True, scorers={"clipscore": bare})[-1].state == "recorded"


def test_nothing_is_recorded_while_pictures_come_out_wrong(own, monkeypatch) -> None:
    spoil(own / "clip", nudged, "my own clip")
    scorer = t2imetrics.load("clipscore", own, "cpu")
    true_open = _images.open_rgb
    monkeypatch.setattr("t2imetrics._batch.open_rgb", lambda picture, row=0: _swapped(true_open(picture, row)))
    check = selftest.run(cheap=True, scorers={"clipscore": scorer})[-1]
    assert (check.state, records.path_of(scorer).exists()) == ("skipped", False)


def test_weights_that_give_everything_the_same_value_are_not_recorded(own) -> None:
    spoil(own / "clip", lambda key, tensor: tensor * 0 if key == "text_projection" else tensor, "flat")
    scorer = t2imetrics.load("clipscore", own, "cpu")
    check = selftest.run(scorers={"clipscore": scorer})[-1]
    assert "same value" in check.detail
    assert not records.path_of(scorer).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"values": {}}', "\x00"])
def test_a_damaged_record_says_what_to_do(own, content) -> None:
    spoil(own / "clip", nudged, "my own clip")
    scorer = t2imetrics.load("clipscore", own, "cpu")
    path = records.path_of(scorer)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    check = selftest.run(cheap=True, scorers={"clipscore": scorer})[-1]
    assert not check.ok
    assert f"{path} is not a record" in check.detail


# --- what is not here ------------------------------------------------------------------------------------------


def test_published_weights_that_are_not_here_are_skipped_and_nothing_is_fetched(monkeypatch, tmp_path) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a self-test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    checks = selftest.run(weights="published", device="cpu")
    published = [check for check in checks if check.what == "published weights"]
    assert [check.name for check in published] == list(values.weighted())
    assert {check.state for check in published} == {"skipped"}, published
    assert all(check.detail.startswith("no weights here: cannot fetch") for check in published)
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE is False, "as it was"


def test_published_weights_that_were_asked_for_by_name_must_be_here() -> None:
    checks = selftest.run(["imagereward"], weights="published", device="cpu")
    assert [(check.what, check.state) for check in checks[-2:]] == [
        ("miniature weights", "ok"),
        ("published weights", "failed"),
    ]


def test_a_metric_that_cannot_be_imported_is_a_failed_check(monkeypatch) -> None:
    monkeypatch.setitem(t2imetrics._registry.BUILTIN, "broken", "t2imetrics.nowhere:Nothing")
    assert "broken" in values.weighted()
    detail = failed(selftest.run(["broken"]))["miniature weights"]
    assert detail.startswith("ModuleNotFoundError: ")


def test_metrics_without_weights_are_skipped_and_unknown_names_refused() -> None:
    assert selftest.run(["selection"])[-1].state == "skipped"
    with pytest.raises(UnknownMetricError, match="did you mean 'clipscore'"):
        selftest.run(["clipscor"])


def test_failed_checks_raise_one_line() -> None:
    good = Check("pixels", "opened as RGB", "ok", "equal")
    bad = [Check("clipscore", "Miniature CLIP", "failed", "all wrong"), Check("fid", "x", "failed", "too")]
    selftest.require([good])
    with pytest.raises(selftest.SelftestError, match=r"clipscore \(Miniature CLIP\), fid \(x\); first: all wrong") as e:
        selftest.require([good, *bad])
    assert "\n" not in str(e.value)
    assert isinstance(e.value, t2imetrics.errors.MetricError)


def test_fingerprints_see_every_channel_and_both_sides() -> None:
    plain = torch.zeros(3, 40, 30)
    for channel in range(3):
        spot = plain.clone()
        spot[channel, :, 10:20] = 1.0
        assert np.abs(pixels.fingerprint(spot) - pixels.fingerprint(plain)).max() > 0.1
        assert pixels.fingerprint(spot).shape == (6 + pixels.SAMPLES,)
