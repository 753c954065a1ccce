"""Published checkpoints at full size through the real loading code, without a network.

Each stand-in has the keys and shapes of the published file, written down here from the authors' own code, and other
values.  A matrix is a window sliding over a short row of random numbers, so a gigabyte of weights is a small file.
What a network is filled with before its weights are loaded is zeros here, not random numbers, which saves the time.

Numbers are computed where that is quick.  ViT-H-14 (986 million parameters, 4 GB and 20 s) is loaded onto the
`meta` device: the same code checks every key and shape, but there is nothing to compute with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
from t2imetrics import _clip, fid, imagereward
from t2imetrics.errors import WeightsError

from tests.metrics import small_weights as small

torch = pytest.importorskip("torch")

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

# --- what the published files hold -----------------------------------------------------------------------------


def linear(name: str, wide: int, narrow: int) -> Shapes:
    return {f"{name}.weight": (narrow, wide), f"{name}.bias": (narrow,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block(name: str, width: int) -> Shapes:
    """A residual attention block in OpenAI's names."""
    return {
        **norm(f"{name}.ln_1", width),
        f"{name}.attn.in_proj_weight": (3 * width, width),
        f"{name}.attn.in_proj_bias": (3 * width,),
        **linear(f"{name}.attn.out_proj", width, width),
        **norm(f"{name}.ln_2", width),
        **linear(f"{name}.mlp.c_fc", width, 4 * width),
        **linear(f"{name}.mlp.c_proj", 4 * width, width),
    }


def clip(vision: tuple[int, int, int], text: tuple[int, int], shared: int) -> Shapes:
    """CLIP with a ViT: (width, layers, patch) of the picture tower, (width, layers) of the text tower, joint width."""
    (wide, deep, patch), (width, layers) = vision, text
    shapes: Shapes = {
        "positional_embedding": (77, width),
        "text_projection": (width, shared),
        "logit_scale": (),
        "token_embedding.weight": (49408, width),
        **norm("ln_final", width),
        "visual.class_embedding": (wide,),
        "visual.positional_embedding": ((224 // patch) ** 2 + 1, wide),
        "visual.proj": (wide, shared),
        "visual.conv1.weight": (wide, 3, patch, patch),
        **norm("visual.ln_pre", wide),
        **norm("visual.ln_post", wide),
    }
    for i in range(deep):
        shapes |= block(f"visual.transformer.resblocks.{i}", wide)
    for i in range(layers):
        shapes |= block(f"transformer.resblocks.{i}", width)
    return shapes


def reward() -> Shapes:
    """ImageReward.pt: BLIP with ViT-L/16 and BERT-base, whose projections the score leaves unused, and the head."""
    v, t = "blip.visual_encoder", "blip.text_encoder"
    shapes: Shapes = {
        f"{v}.cls_token": (1, 1, 1024),
        f"{v}.pos_embed": (1, 197, 1024),
        f"{v}.patch_embed.proj.weight": (1024, 3, 16, 16),
        f"{v}.patch_embed.proj.bias": (1024,),
        **norm(f"{v}.norm", 1024),
        f"{t}.embeddings.position_ids": (1, 512),
        f"{t}.embeddings.word_embeddings.weight": (30524, 768),
        f"{t}.embeddings.position_embeddings.weight": (512, 768),
        **norm(f"{t}.embeddings.LayerNorm", 768),
        **linear("blip.vision_proj", 1024, 256),
        **linear("blip.text_proj", 768, 256),
    }
    for i in range(24):
        b = f"{v}.blocks.{i}"
        shapes |= norm(f"{b}.norm1", 1024) | linear(f"{b}.attn.qkv", 1024, 3072) | linear(f"{b}.attn.proj", 1024, 1024)
        shapes |= norm(f"{b}.norm2", 1024) | linear(f"{b}.mlp.fc1", 1024, 4096) | linear(f"{b}.mlp.fc2", 4096, 1024)
    for i in range(12):
        b = f"{t}.encoder.layer.{i}"
        for attention, read in (("attention", 768), ("crossattention", 1024)):
            a = f"{b}.{attention}"
            shapes |= linear(f"{a}.self.query", 768, 768) | linear(f"{a}.self.key", read, 768)
            shapes |= linear(f"{a}.self.value", read, 768) | linear(f"{a}.output.dense", 768, 768)
            shapes |= norm(f"{a}.output.LayerNorm", 768)
        shapes |= linear(f"{b}.intermediate.dense", 768, 3072) | linear(f"{b}.output.dense", 3072, 768)
        shapes |= norm(f"{b}.output.LayerNorm", 768)
    for place, wide, narrow in ((0, 768, 1024), (2, 1024, 128), (4, 128, 64), (6, 64, 16), (7, 16, 1)):
        shapes |= linear(f"mlp.layers.{place}", wide, narrow)
    return shapes


def inception() -> Shapes:
    """pt_inception-2015-12-05-6726825d.pth: torch-fidelity reads a file of the same digest, so ask its network."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Bare(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: Any, **__: Any) -> None:
            """Nothing to load."""

    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: {})
        return {key: tuple(tensor.shape) for key, tensor in Bare("shapes", ["2048"], "no file").state_dict().items()}


# --- stand-ins -------------------------------------------------------------------------------------------------


def fill(key: str, shape: Shape, seed: int, kind: Any) -> Any:
    """Full-size values on a small storage: element (i, j) of a matrix is number i + j of a random row."""
    if key.endswith("position_ids"):
        return torch.arange(shape[-1])[None]
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    rng = np.random.default_rng(seed)
    if len(shape) < 2:
        values = 0.1 * rng.normal(size=shape) + key.endswith((".weight", "running_var"))
        return torch.as_tensor(values).to(kind)
    rest = math.prod(shape[1:])
    row = torch.as_tensor(rng.normal(size=shape[0] + rest) * (2 / rest) ** 0.5).to(kind)
    return row.as_strided(shape, [1, *(math.prod(shape[place + 1 :]) for place in range(1, len(shape)))])


@dataclass(frozen=True)
class Checkpoint:
    """A published file.

    Args:
        metric, options: what loads it.
        file: its name on the hub.
        shapes: its keys and shapes.
        millions: parameters, where its authors state them.
        entry: key of the file's dictionary that holds the state dict.
        kind: type of the numbers in the file.
        computed: quick enough to load for real.
    """

    metric: str
    file: str
    shapes: Callable[[], Shapes]
    options: dict[str, str] = field(default_factory=dict)
    millions: float | None = None
    entry: str | None = None
    kind: Any = torch.float32
    computed: bool = True

    def state(self) -> dict[str, Any]:
        shapes = self.shapes().items()
        return {key: fill(key, shape, seed, self.kind) for seed, (key, shape) in enumerate(shapes)}


def vit_h() -> Shapes:
    return clip((1280, 32, 14), (1024, 24), 1024)


HPS = {"shapes": vit_h, "millions": 986.11, "entry": "state_dict", "kind": torch.float16, "computed": False}
OPEN_CLIP = "open_clip_pytorch_model.bin"
CHECKPOINTS = {
    "ImageReward": Checkpoint("imagereward", "ImageReward.pt", reward),
    "HPSv2": Checkpoint("hpsv2", "HPS_v2_compressed.pt", options={"version": "2.0"}, **HPS),
    "HPSv2.1": Checkpoint("hpsv2", "HPS_v2.1_compressed.pt", **HPS),
    "ViT-L/14": Checkpoint(
        "clipscore", OPEN_CLIP, lambda: clip((1024, 24, 14), (768, 12), 768), {"convention": "cosine100"}, 427.62
    ),
    "ViT-B/32": Checkpoint(
        "clipscore",
        OPEN_CLIP,
        lambda: clip((768, 12, 32), (512, 12), 512),
        {"convention": "cosine100", "backbone": "ViT-B/32"},
        151.28,
    ),
    "Inception": Checkpoint("fid", "pt_inception.pth", inception),
}
every = pytest.mark.parametrize("name", CHECKPOINTS)


@dataclass
class Hub:
    """Where the clients of hub, open_clip and torch.hub look: a folder with what was put there."""

    folder: Path
    patch: pytest.MonkeyPatch

    def download(self, repo_id: str, filename: str, **_: Any) -> str:
        if not (self.folder / filename).is_file():
            raise OSError(f"{repo_id} has no {filename}")
        return str(self.folder / filename)

    def put(self, checkpoint: Checkpoint, state: dict[str, Any]) -> Path:
        path = self.folder / checkpoint.file
        torch.save(state if checkpoint.entry is None else {checkpoint.entry: state}, path)
        assert path.stat().st_size < 40e6
        self.stated(path)
        return path

    def stated(self, path: Path) -> None:
        """The publisher of `path` states the digest it has now (Inception's is part of its name)."""
        prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        self.patch.setattr(fid, "INCEPTION", fid.UrlFile(f"https://example.org/{path.name}", prefix))


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    torch.set_num_threads(1)
    made = Hub(tmp_path / "checkpoints", monkeypatch)
    made.folder.mkdir()
    monkeypatch.setenv("T2IMETRICS_HOME", str(tmp_path / "home"))  # the locks of stand-ins must never outlive the test
    (made.folder / "vocab.txt").write_bytes(small.bert_vocabulary().read_bytes())
    monkeypatch.setattr("huggingface_hub.hf_hub_download", made.download)
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", made.download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    yield made
    for path in made.folder.iterdir():
        path.unlink()


class NotRandom(torch.overrides.TorchFunctionMode):
    """Within it zeros stand where random numbers would: all of them are about to be overwritten."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0].zero_()
        return func(*args, **(kwargs or {}))


def load(checkpoint: Checkpoint) -> Any:
    """What a user calls, on the processor."""
    with NotRandom():
        return t2imetrics.load(checkpoint.metric, device="cpu", batch_size=2, **checkpoint.options)


def load_shapes(checkpoint: Checkpoint) -> Any:
    """The same call on the meta device: all keys and shapes are held against the network, no memory is used.

    There are no values on that device, so none are looked at; open_clip must be told of it, as it is of any other.
    """
    import open_clip

    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_clip, "create_model", partial(open_clip.create_model, device="meta"))
        for module in (_clip, fid, imagereward):
            patch.setattr(module, "require_finite", lambda *_: None)
        return t2imetrics.load(checkpoint.metric, device="meta", **checkpoint.options)


# --- tests -----------------------------------------------------------------------------------------------------


@every
def test_every_key_and_shape_is_taken(name, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    shapes = checkpoint.shapes()
    if checkpoint.millions is not None:
        assert sum(map(math.prod, shapes.values())) / 1e6 == pytest.approx(checkpoint.millions, abs=0.005)
    path = hub.put(checkpoint, checkpoint.state())
    card = load_shapes(checkpoint).card
    assert card.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    if checkpoint.options.get("version"):
        assert checkpoint.options["version"] in card.note


@pytest.mark.parametrize("name", [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.computed])
def test_a_picture_gets_a_number(name, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    hub.put(checkpoint, checkpoint.state())
    scorer = load(checkpoint)
    pictures = [small.picture(1), small.picture(4, (300, 200))]
    if scorer.card.reads == "images":
        values = scorer.features(pictures)
        assert values.shape == (2, 2048)
    else:
        values = scorer.score(pictures, ["a red apple", "two cats on a chair"])
    assert np.isfinite(values).all()
    assert not np.allclose(values[0], values[1], atol=1e-4)


def broken(checkpoint: Checkpoint, how: str) -> tuple[dict[str, Any], str]:
    """A state dict with one fault, in the last matrix that the score uses, and the name of that matrix."""
    state = checkpoint.state()
    unused = ("position_ids", "blip.vision_proj.", "blip.text_proj.", "fc.")
    key = [key for key, tensor in state.items() if tensor.ndim > 1 and not key.startswith(unused)][-1]
    if how == "missing":
        del state[key]
    elif how == "shape":
        state[key] = state[key][:-1]
    elif how == "extra":
        state["surprise.weight"] = torch.zeros(2)
    elif how == "nan":
        state[key] = state[key].clone()
        state[key][0, 0] = math.nan
    return state, key


def refused(checkpoint: Checkpoint, match: str, opened: Callable[[Checkpoint], Any] = load_shapes) -> str:
    with pytest.raises(WeightsError, match=match) as caught:
        opened(checkpoint)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@every
@pytest.mark.parametrize("how", ["missing", "shape", "extra"])
def test_other_keys_or_shapes_are_refused(name, how, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    state, _ = broken(checkpoint, how)
    path = hub.put(checkpoint, state)
    assert str(path) in refused(checkpoint, "cannot be loaded")


@every
def test_half_a_file_is_refused(name, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    path = hub.put(checkpoint, checkpoint.state())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    hub.stated(path)
    assert str(path) in refused(checkpoint, "cannot be loaded")


@every
def test_a_file_that_changed_since_it_was_recorded_is_refused(name, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    path = hub.put(checkpoint, checkpoint.state())
    recorded = load_shapes(checkpoint).card.weights.sha256
    path.write_bytes(path.read_bytes() + b"\0")
    assert str(path) in refused(checkpoint, f"expected {recorded}")


@pytest.mark.parametrize("name", ["ImageReward", "ViT-B/32", "Inception"])
def test_values_that_are_not_numbers_are_refused(name, hub) -> None:
    checkpoint = CHECKPOINTS[name]
    state, _ = broken(checkpoint, "nan")
    hub.put(checkpoint, state)
    refused(checkpoint, "not numbers", load)


def test_a_reward_head_without_one_of_its_layers_is_refused(hub) -> None:
    checkpoint = CHECKPOINTS["ImageReward"]
    hub.put(checkpoint, {k: v for k, v in checkpoint.state().items() if not k.startswith("mlp.layers.4.")})
    refused(checkpoint, "cannot be loaded")


def test_inception_without_batch_counters_is_the_same(hub) -> None:
    """Files written before torch 0.4.1 have none."""
    checkpoint = CHECKPOINTS["Inception"]
    hub.put(checkpoint, {k: v for k, v in checkpoint.state().items() if not k.endswith("num_batches_tracked")})
    load_shapes(checkpoint)
