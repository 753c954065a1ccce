"""Our numbers against other packages on the same weights: at most 1e-4 apart on every kind of file and prompt.

transformers' CLIPModel with its image processor and tokenizer; torchmetrics 1.9.0, clean-fid 0.1.35 and
torch-fidelity 0.4.0.  `test_metric_images.py` holds preprocessings A and B to torchvision on random sizes and
`test_metric_clip.py` holds the scorers to open_clip called by hand; here is what only real files and other
people's code can show.  Weights are small or random: what is compared is the code.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from PIL import Image
from t2imetrics._images import CLIP_MEAN, CLIP_STD, CentreCrop, FitAndPad, open_rgb
from t2imetrics.fid import fid

from tests.metrics import small_weights as small
from tests.metrics.pictures import kinds, real_pairs

torch = pytest.importorskip("torch")

#: An OpenAI-like CLIP at the real picture size and with the real vocabulary, but small.
CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "patch_size": 32, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
#: Prompts that open_clip repairs first (entities, quotes, full width, mojibake, by ftfy) or reads as plain text
#: where transformers sees an end token: other ids, so another score.
OTHER_IDS = {"chinese", "entities", "curly-quotes", "end-of-text", "full-width", "mojibake"}
#: Pictures whose crop lies between two pixels: torchvision rounds half to even, transformers rounds down.
OTHER_CROP = {"odd-sides"}
#: Pictures with transparency: ours lie on white; other packages drop the alpha channel.
CLEAR = {"rgba-soft", "rgba-webp", "grey-alpha", "palette-clear", "palette-soft", "rgb-keyed"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[tuple[Path, str]]:
    torch.set_num_threads(1)
    return real_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`clip/` and `hps/` with `CLIP` in open_clip's layout."""
    import open_clip
    from open_clip.tokenizer import default_bpe
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("weights")
    model = small.fill(open_clip.model.CLIP(**CLIP))
    about = {"mean": CLIP_MEAN, "std": CLIP_STD, "size": 224}
    for part in ("clip", "hps"):
        (root / part).mkdir()
        (root / part / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": about}))
        (root / part / "bpe.txt.gz").write_bytes(Path(default_bpe()).read_bytes())
        save_file(model.state_dict(), root / part / "model.safetensors")
        small.seal(root / part, part)
    return root


def picked(field: str, names: set[str]) -> np.ndarray:
    """Which pairs have a `picture` or `prompt` of these kinds, as a mask."""
    return np.array([getattr(kind, field) in names for kind in kinds()])


# --- transformers' CLIP ----------------------------------------------------------------------------------------

#: Names in open_clip -> names in transformers, in this order; `.T` is a matrix kept the other way round.
NAMES = (
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.proj$", "visual_projection.weight.T"),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^text_projection$", "text_projection.weight.T"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
)


def as_transformers(state: dict[str, Any]) -> dict[str, Any]:
    """An open_clip state dict under the names of `CLIPModel`."""
    renamed = {}
    for key, tensor in state.items():
        for pattern, name in NAMES:
            key = re.sub(pattern, name, key)
        if key.endswith(".T"):
            renamed[key[:-2]] = tensor.T
        elif "in_proj_" in key:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                renamed[key.replace("in_proj_", f"{part}_proj.")] = third
        else:
            renamed[key] = tensor
    return renamed


@pytest.fixture(scope="module")
def theirs(folder) -> Any:
    """`CLIPModel` with the weights of `folder`."""
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    text = {**tower, **ends, "vocab_size": 49408, "projection_dim": 32}
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**tower, "patch_size": 32, "image_size": 224}, projection_dim=32)
    )
    model.load_state_dict(as_transformers(load_file(folder / "clip" / "model.safetensors")))
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """transformers' fast CLIP tokenizer on open_clip's vocabulary."""
    import open_clip
    from transformers import CLIPTokenizer

    own = open_clip.SimpleTokenizer()
    rename = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {rename.get(token, token): place for token, place in own.encoder.items()}
    made = CLIPTokenizer(vocab=vocab, merges=sorted(own.bpe_ranks, key=own.bpe_ranks.get), model_max_length=77)
    assert len(made) == 49408
    return made


def their_pixels(image: Image.Image) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil()(image, return_tensors="pt")["pixel_values"][0]


def their_ids(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")


def test_pixels_are_those_of_transformers_but_for_crops_between_two_pixels(pairs) -> None:
    how = CentreCrop(224)
    images = [open_rgb(path) for path, _ in pairs]
    gaps = np.array([float((how(image) - their_pixels(image)).abs().max()) for image in images])
    other = picked("picture", OTHER_CROP)
    assert gaps[~other].max() <= 1e-5
    assert gaps[other].min() > 1e-2, "one row of pixels further down"


def test_ids_are_those_of_transformers_but_for_repaired_texts(pairs, folder, tokenizer) -> None:
    towers = t2imetrics.load("clipscore", weights=folder, device="cpu").towers
    texts = [text for _, text in pairs]
    ours, coded = towers.tokenizer(texts), their_ids(tokenizer, texts)
    filled = ours.masked_fill(ours == 0, 49407)  # open_clip pads with 0, transformers with the end token
    same = (filled == coded["input_ids"]).all(1).numpy()
    assert (same == ~picked("prompt", OTHER_IDS)).all()
    assert (ours[picked("prompt", {"long", "just-too-long"}), -1] == 49407).all(), "a cut text keeps its end"


def test_clipscore_is_the_cosine_of_transformers(pairs, folder, theirs, tokenizer) -> None:
    """On all pairs: where pixels or ids are known to differ, transformers is given ours."""
    scorer = t2imetrics.load("clipscore", weights=folder, device="cpu", convention="cosine100")
    paths, texts = zip(*pairs, strict=True)
    coded, ours = their_ids(tokenizer, list(texts)), scorer.towers.tokenizer(list(texts))
    ids = torch.where(torch.from_numpy(picked("prompt", OTHER_IDS))[:, None], ours, coded["input_ids"])
    crop = picked("picture", OTHER_CROP)
    images = [open_rgb(path) for path in paths]
    pixels = [CentreCrop(224)(image) if own else their_pixels(image) for image, own in zip(images, crop, strict=True)]
    with torch.inference_mode():
        out = theirs(pixel_values=torch.stack(pixels), input_ids=ids)
    expected = 100 * (out.image_embeds * out.text_embeds).sum(-1).numpy()
    np.testing.assert_allclose(scorer.score(paths, texts), expected, rtol=0, atol=1e-4)
    assert expected.std() > 1, "the pairs must differ"


# --- torchmetrics' CLIPScore -----------------------------------------------------------------------------------


class _Model:
    """`CLIPModel` as torchmetrics 1.9.0 expects it: features are tensors, as in transformers 4."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config

    def to(self, _: Any) -> _Model:
        return self

    def get_image_features(self, pixels: Any) -> Any:
        return self.model.get_image_features(pixels).pooler_output

    def get_text_features(self, ids: Any, mask: Any) -> Any:
        return self.model.get_text_features(ids, mask).pooler_output


def as_processor(tokenizer: Any, truncation: bool) -> Any:
    """A CLIPProcessor on the PIL image processor; torchmetrics itself never asks for truncation."""

    def process(images: Any = None, text: Any = None, **_: Any) -> Any:
        if text is not None:
            return tokenizer(text, padding=True, truncation=truncation, return_tensors="pt")
        pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        return {"pixel_values": torch.stack([their_pixels(picture) for picture in pictures])}

    return process


def test_clipscore_is_the_formula_of_torchmetrics(pairs, folder, theirs, tokenizer) -> None:
    """max(100 cos, 0), by torchmetrics' own code.

    On transformers 5 that code stops at `get_image_features`, which no longer gives a tensor; with a model that
    gives one it runs.  It cuts long texts by slicing the ids, which loses the end token: they are cut for it here.
    """
    from torchmetrics.functional.multimodal import clip_score

    known = picked("prompt", OTHER_IDS) | picked("picture", OTHER_CROP)
    paths, texts = zip(*(pair for pair, skip in zip(pairs, known, strict=True) if not skip), strict=True)
    images = [torch.from_numpy(np.array(open_rgb(path))).permute(2, 0, 1) for path in paths]
    ours = t2imetrics.load("clipscore", weights=folder, device="cpu", convention="cosine100").score(paths, texts)

    def score(index: int, model: Any, truncation: bool = True) -> float:
        make = lambda: (model, as_processor(tokenizer, truncation))  # noqa: E731
        return float(clip_score(images[index], texts[index], make))

    with torch.inference_mode():
        expected = [score(i, _Model(theirs)) for i in range(len(images))]
        np.testing.assert_allclose(ours.clip(min=0), expected, rtol=0, atol=1e-4)
        with pytest.raises(AttributeError, match="norm"):
            score(0, theirs)
    hessel = t2imetrics.load("clipscore", weights=folder, device="cpu").score(paths, texts)
    np.testing.assert_allclose(hessel, 2.5 * np.array(expected), rtol=0, atol=2.5e-4)


# --- HPSv2's preprocessing -------------------------------------------------------------------------------------


def test_preprocessing_b_is_torchvision_on_every_file(pairs) -> None:
    """`to_tensor`, resize of the longest side, pad around, normalise; also where 224 is the longest side already."""
    from torchvision.transforms import InterpolationMode, Normalize, ToTensor
    from torchvision.transforms import functional as tv

    for path, _ in pairs:
        image = open_rgb(path)
        scale = 224 / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        pixels = tv.resize(ToTensor()(image), [height, width], InterpolationMode.BICUBIC, antialias=True)
        left, top = (224 - width) // 2, (224 - height) // 2
        pixels = tv.pad(pixels, [left, top, 224 - width - left, 224 - height - top])
        expected = Normalize(CLIP_MEAN, CLIP_STD)(pixels)
        assert float((FitAndPad(224)(image) - expected).abs().max()) <= 1e-6, path.name


# --- opening ---------------------------------------------------------------------------------------------------


def test_an_opaque_file_opens_as_pillow_converts_it(pairs) -> None:
    """Orientation tags are not followed and of an animation the first frame counts, as in the released scorers."""
    for (path, _), kind in zip(pairs, kinds(), strict=True):
        if kind.picture in CLEAR | {"grey-16-bit"}:
            continue
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(open_rgb(path)), np.asarray(image.convert("RGB"))), path.name


def test_a_clear_file_lies_on_white_and_deep_grey_keeps_its_greys(pairs) -> None:
    for (path, _), kind in zip(pairs, kinds(), strict=True):
        with Image.open(path) as image:
            if kind.picture in CLEAR:
                *colour, alpha = np.moveaxis(np.asarray(image.convert("RGBA"), float), -1, 0)
                expected = np.stack([(c * alpha + 255 * (255 - alpha)) / 255 for c in colour], -1)
                assert alpha.min() < 255, "the file must have something to lay on white"
            elif kind.picture == "grey-16-bit":
                expected = np.asarray(image, float)[..., None].repeat(3, -1) / 257
            else:
                continue
        assert np.abs(np.asarray(open_rgb(path), float) - expected).max() <= 1, path.name


# --- FID -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_sets(pairs, folder) -> tuple[np.ndarray, np.ndarray]:
    """Features by the picture tower: plain pictures, and all others."""
    features = t2imetrics.load("fid", weights=folder, device="cpu").features([path for path, _ in pairs])
    plain = picked("picture", {"plain"})
    return features[plain], features[~plain]


def test_fid_is_that_of_clean_fid_torch_fidelity_and_torchmetrics(two_sets) -> None:
    from cleanfid.fid import frechet_distance
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = two_sets
    ours = fid(a, b)
    assert ours > 1, "the two sets must differ"
    gaussian = [(x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)]
    assert frechet_distance(*gaussian[0], *gaussian[1]) == pytest.approx(ours, abs=1e-4)

    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    fidelity = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert fidelity == pytest.approx(ours, abs=1e-4)

    given = torch.nn.Identity()
    given.num_features = a.shape[1]
    metric = FrechetInceptionDistance(feature=given).set_dtype(torch.float64)
    metric.update(torch.from_numpy(a), real=True)
    metric.update(torch.from_numpy(b), real=False)
    assert float(metric.compute()) == pytest.approx(ours, abs=1e-4)


@pytest.fixture(scope="module")
def inception() -> dict[str, Any]:
    """Random weights under the published names, scaled so that features neither vanish nor explode."""
    from t2imetrics import _inception

    torch.manual_seed(0)
    state = _inception.build().state_dict()
    for key, tensor in state.items():
        if key.endswith("conv.weight"):
            torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    return {key: tensor.clone() for key, tensor in state.items()} | head


def test_inception_is_the_network_of_torch_fidelity_and_of_clean_fid(inception, pairs, tmp_path, monkeypatch) -> None:
    from cleanfid import inception_pytorch
    from t2imetrics import _inception
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.save(inception, tmp_path / "weights.pth")
    fidelity = FeatureExtractorInceptionV3("ours", ["2048"], feature_extractor_weights_path=tmp_path / "weights.pth")
    monkeypatch.setattr(inception_pytorch, "load_state_dict_from_url", lambda *_, **__: inception)
    clean = inception_pytorch.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    ours = _inception.build(inception)

    chosen = [open_rgb(path).resize((299, 299)) for path, _ in pairs[:: len(pairs) // 5]]
    bytes_ = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in chosen])
    pixels = (bytes_.float() - 128) / 128
    with torch.inference_mode():
        features = ours(pixels)
        assert features.std(0).mean() > 0.05, "the pictures must differ"
        np.testing.assert_allclose(fidelity(bytes_)[0], features, rtol=0, atol=1e-4)
        np.testing.assert_allclose(clean(pixels)[0][..., 0, 0], features, rtol=0, atol=1e-4)


def resized(paths: list[Path]) -> list[tuple[Any, Any]]:
    """Pixels before the network, ours and clean-fid's in its mode `clean`."""
    from cleanfid.resize import build_resizer
    from t2imetrics._inception import preprocess

    resize, images = build_resizer("clean"), [open_rgb(path) for path in paths]
    theirs_ = [torch.from_numpy(resize(np.asarray(image))).permute(2, 0, 1) for image in images]
    return [(preprocess(image), (pixels - 128) / 128) for image, pixels in zip(images, theirs_, strict=True)]


def test_resize_is_the_one_of_clean_fid_between_black_and_white(pairs) -> None:
    paths = [path for path, _ in pairs]
    for path, (ours, expected) in zip(paths, resized(paths), strict=True):
        assert float((ours.clamp(-1, 127 / 128) - expected).abs().max()) <= 1e-4, path.name


def test_resize_is_the_one_of_clean_fid(pairs) -> None:
    paths = [path for path, _ in pairs]
    for path, (ours, expected) in zip(paths, resized(paths), strict=True):
        assert float((ours - expected).abs().max()) <= 1e-4, path.name
