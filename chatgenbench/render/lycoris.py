"""LoRAs of the LyCORIS kinds that diffusers does not read (LoHa, LoKr and others), put on by the LyCORIS library.

Their layers are named as kohya's trainer does: `lora_unet_down_blocks_0_…` with every dot of the module's name as `_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chatgenbench.render.header import read_header

#: Ends of the tensors' names that only these kinds have.
_MARKS = (".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".a1.weight", ".oft_blocks", ".on_input", ".diff")
_PARTS = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
#: Layers of residual blocks as the first SDXL networks name them, and as diffusers does.
_RESNET = {
    "in_layers_2": "conv1", "out_layers_3": "conv2", "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut", "downsamplers_0_op": "downsamplers_0_conv",
}  # fmt: skip


def is_lycoris(path: Path) -> bool:
    """Whether a LoRA file is of one of these kinds."""
    return any(name.endswith(_MARKS) for name in read_header(path))


class Network:
    """One LyCORIS file on a pipeline, off until it is switched on.

    Raises:
        ValueError: layers that the pipeline does not have.
    """

    def __init__(self, pipeline: Any, path: Path) -> None:
        from safetensors.torch import load_file

        tensors = _as_diffusers(load_file(path), pipeline)
        layers = dict.fromkeys(name.partition(".")[0] for name in tensors)
        modules = dict(_modules(pipeline))
        strange = [name for name in layers if name not in modules]
        if strange:
            raise ValueError(f"{len(strange)} of its {len(layers)} layers are not in the base, e.g. {strange[0]}")
        self._layers = [_layer(tensors, name, modules[name]) for name in layers]
        self._on = False

    def on(self, weight: float) -> None:
        """Draw with it, scaled by `weight`."""
        for layer in self._layers:
            layer.multiplier = weight
            if not self._on:
                layer.apply_to()
        self._on = True

    def off(self) -> None:
        """Draw as if it were not there."""
        if self._on:
            for layer in self._layers:
                layer.restore()
        self._on = False


def _layer(tensors: Mapping[str, Any], name: str, module: Any) -> Any:
    from lycoris.modules import get_module, make_module

    kind, parameters = get_module(tensors, name)
    layer = None if kind is None else make_module(kind, parameters, name, module)
    if layer is None:
        raise ValueError(f"layer {name} is of a kind that is not known")
    return layer.to(module.weight.device, module.weight.dtype).eval().requires_grad_(False)


def _modules(pipeline: Any) -> Iterator[tuple[str, Any]]:
    """Every layer with weights, by its name in a file."""
    for prefix, part in _PARTS.items():
        network = getattr(pipeline, part, None)
        if network is None:
            continue
        for name, module in network.named_modules():
            if getattr(module, "weight", None) is None or hasattr(module, "base_layer"):
                continue
            flat = name.removesuffix(".base_layer").replace(".", "_")
            yield prefix + flat, module
            if part != "unet" and not flat.startswith("text_model_"):  # as transformers had it before 5.6
                yield f"{prefix}text_model_{flat}", module


def _as_diffusers(tensors: dict[str, Any], pipeline: Any) -> dict[str, Any]:
    """The tensors under the names of diffusers' modules."""
    from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

    unet = {name: value for name, value in tensors.items() if name.startswith("lora_unet_")}
    others = {name: value for name, value in tensors.items() if name not in unet}
    if any("input_blocks" in name or "output_blocks" in name for name in unet):
        unet = dict(_renamed(_maybe_map_sgm_blocks_to_diffusers(unet, pipeline.unet.config).items()))
    return {**unet, **others}


def _renamed(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in items:
        for old, new in _RESNET.items():
            name = name.replace(old, new)
        yield name, value
