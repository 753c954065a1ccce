"""Sampler names of A1111 and Civitai, and the diffusers scheduler that draws each of them.

A name is a base ("DPM++ 2M") and optionally a noise schedule ("Karras"), in any case and with any separators.
ComfyUI, k-diffusion and diffusers spellings are understood where they mean one thing.  A sampler that diffusers
does not have is drawn with the nearest one, and says so: `exact` is False and `note` names the stand-in.

"Nearest" for DPM++ 2S a was measured on a Gaussian mixture with a known denoiser (4,000 draws, 20 Karras steps,
residual around the nearest mean): DPM++ 2S a .142, DPM++ SDE .145, DPM++ 2M SDE .149, DPM2 a .153,
single-step sde-dpmsolver++ .119.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatgenbench.errors import RenderError, UnknownNameError


@dataclass(frozen=True)
class Sampler:
    """How one sampler name is drawn.

    Attributes:
        name: canonical A1111 spelling, e.g. "DPM++ 2M Karras".
        scheduler: diffusers class name.
        kwargs: options of the scheduler's constructor.
        exact: False when a stand-in draws.
        note: which stand-in, in words; None when exact.
        call_kwargs: options of the pipeline call.  `timesteps` here is a shape to interpolate, see `timesteps_for`.
    """

    name: str
    scheduler: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    note: str | None = None
    call_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Base:
    scheduler: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    stand_in: str | None = None
    sigmas: bool = True
    spacing: bool = True
    timesteps: bool = False
    call_kwargs: Mapping[str, Any] = field(default_factory=dict)


def _multistep(algorithm: str = "dpmsolver++", stand_in: str | None = None, **kwargs: Any) -> _Base:
    return _Base("DPMSolverMultistepScheduler", {"algorithm_type": algorithm, **kwargs}, stand_in, timesteps=True)


def _singlestep(order: int, stand_in: str | None = None) -> _Base:
    kwargs = {"algorithm_type": "dpmsolver++", "solver_order": order, "lower_order_final": True}
    return _Base("DPMSolverSinglestepScheduler", kwargs, stand_in, spacing=False)


_EULER, _EULER_A, _SDE = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverSDEScheduler"
_UNCLIPPED = {"clip_sample": False}  # latents are not bounded by 1, and the default of these two classes is to clip

_BASES: dict[str, _Base] = {
    "Euler": _Base(_EULER, timesteps=True),
    "Euler a": _Base(_EULER_A, sigmas=False),
    "LMS": _Base("LMSDiscreteScheduler"),
    "Heun": _Base("HeunDiscreteScheduler", timesteps=True),
    "DPM2": _Base("KDPM2DiscreteScheduler"),
    "DPM2 a": _Base("KDPM2AncestralDiscreteScheduler"),
    "DPM++ 2M": _multistep(),
    "DPM++ SDE": _Base(_SDE),
    "DPM++ 2M SDE": _multistep("sde-dpmsolver++"),
    "DPM++ 2M SDE Heun": _multistep("sde-dpmsolver++", solver_type="heun"),
    "DPM++ 3M SDE": _multistep("sde-dpmsolver++", solver_order=3),
    "DPM++ 2S": _singlestep(2),
    "DDIM": _Base("DDIMScheduler", _UNCLIPPED, sigmas=False),
    "DDPM": _Base("DDPMScheduler", _UNCLIPPED, sigmas=False),
    "PLMS": _Base("PNDMScheduler", {"skip_prk_steps": True}, sigmas=False),
    # A1111's variant and order; it stops at the smallest sigma, and bh1 is not a number beyond it
    "UniPC": _Base(
        "UniPCMultistepScheduler", {"solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"}
    ),
    "UniPC bh2": _Base("UniPCMultistepScheduler", {"solver_type": "bh2", "solver_order": 3}),
    "DEIS": _Base("DEISMultistepScheduler"),
    "SA-Solver": _Base("SASolverScheduler"),
    "LCM": _Base("LCMScheduler", sigmas=False),
    "TCD": _Base("TCDScheduler", sigmas=False, call_kwargs={"eta": 0.3}),
    # no equivalent in diffusers
    "DPM++ 2S a": _Base(_SDE, stand_in="DPM++ SDE"),
    "DPM fast": _singlestep(3, "single-step DPM-Solver++ of order 3"),
    "DPM adaptive": _singlestep(3, "single-step DPM-Solver++ of order 3 and a fixed number of steps"),
    "Restart": _Base("HeunDiscreteScheduler", stand_in="Heun without restarts"),
    "HeunPP2": _Base("HeunDiscreteScheduler", stand_in="Heun"),
    "Euler Dy": _Base(_EULER, stand_in="Euler"),
    "Euler SMEA Dy": _Base(_EULER, stand_in="Euler"),
    "Euler CFG++": _Base(_EULER, stand_in="Euler with plain guidance"),
    "Euler a CFG++": _Base(_EULER_A, stand_in="Euler a with plain guidance", sigmas=False),
    "DDIM CFG++": _Base("DDIMScheduler", _UNCLIPPED, "DDIM with plain guidance", sigmas=False),
    "DPM++ 2M CFG++": _multistep(stand_in="DPM++ 2M with plain guidance"),
    "DPM++ 2M Turbo": _multistep(stand_in="DPM++ 2M SGM Uniform", timestep_spacing="trailing"),
    "DPM++ 2M alt": _multistep(stand_in="DPM++ 2M"),
    "DPM++ 2M Test": _multistep(stand_in="DPM++ 2M"),
    "DPM++ 2M v2": _multistep(stand_in="DPM++ 2M"),
}

#: Noise schedules: what each one asks of the scheduler.
_SCHEDULES: dict[str, Mapping[str, Any]] = {
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
    "KL Optimal": {"use_karras_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Simple": {"timestep_spacing": "trailing"},
    "Align Your Steps": {},
}
#: Published for Stable Diffusion 1 (Sabour et al. 2024; `diffusers.schedulers.AysSchedules`).
_AYS = (999, 850, 736, 645, 545, 455, 343, 233, 124, 24)
_SCHEDULE_WORDS = {re.sub(r"\W", "", s.lower()): s for s in _SCHEDULES} | {
    "ays": "Align Your Steps",
    "polyexponential": "Exponential",  # its default rho of 1 is the exponential schedule
    "normal": "",
    "uniform": "",
    "automatic": "",
}
#: What A1111's "Automatic" schedule means where it isn't the sampler's plain form.
_AUTOMATIC = {
    **dict.fromkeys(("DPM2", "DPM2 a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2S a", "Restart"), "Karras"),
    **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), "Exponential"),
}

_ALIASES = {
    "dpmsolvermultistep": "DPM++ 2M",
    "dpmsolversde": "DPM++ SDE",
    "dpmsolversinglestep": "DPM++ 2S",
    "pndm": "PLMS",
    "unipcmultistep": "UniPC",
    "deismultistep": "DEIS",
    "eulersmeady": "Euler SMEA Dy",
    "eulersmea": "Euler SMEA Dy",
}


def _squeeze(name: str) -> str:
    """`name` without case, separators and the words that only libraries add."""
    flat = re.sub(r"[^a-z0-9+]", "", name.casefold())
    for long, short in (("dpmpp", "dpm++"), ("cfgpp", "cfg++"), ("ancestral", "a"), ("discrete", "")):
        flat = flat.replace(long, short)
    return flat.removesuffix("scheduler").removesuffix("gpu")


_KEYS = {_squeeze(name): name for name in _BASES} | _ALIASES


def known() -> list[str]:
    """Every canonical sampler name, plain forms first within a family."""
    names = []
    for name, base in _BASES.items():
        names.append(name)
        if base.sigmas:
            names += [f"{name} {s}" for s in ("Karras", "Exponential", "Beta")]
        if base.spacing and base.stand_in is None:
            names.append(f"{name} SGM Uniform")
    return names


def resolve(name: str) -> Sampler:
    """The sampler that `name` means; raises RenderError with suggestions when it means none."""
    key = _squeeze(name)
    base = _find(key)
    if base is not None:
        return _build(base, "")
    for word in sorted(_SCHEDULE_WORDS, key=len, reverse=True):
        base = _find(key.replace(word, "", 1)) if word in key else None
        if base is not None:
            schedule = _AUTOMATIC.get(base, "") if word == "automatic" else _SCHEDULE_WORDS[word]
            return _build(base, schedule)
    raise RenderError(str(UnknownNameError("sampler", name, known())))


def _find(key: str) -> str | None:
    return _KEYS.get(key) or _KEYS.get(key.removeprefix("k"))


def _build(name: str, schedule: str) -> Sampler:
    base = _BASES[name]
    full = f"{name} {schedule}".strip()
    extra, missing = _extra(base, schedule)
    call: Mapping[str, Any] = base.call_kwargs
    reasons = [f"drawn with {base.stand_in}"] if base.stand_in else []
    if missing:
        reasons.append(f"drawn without the {schedule} schedule, which {base.scheduler} does not have")
    elif schedule == "KL Optimal":
        reasons.append("drawn on the Karras schedule")
    elif schedule == "Align Your Steps":
        reasons.append("drawn on the 10 published steps of Stable Diffusion 1, interpolated")
        call = {**call, "timesteps": _AYS}
    note = f"{full}: {'; '.join(reasons)}" if reasons else None
    return Sampler(full, base.scheduler, {**base.kwargs, **extra}, note is None, note, call)


def _extra(base: _Base, schedule: str) -> tuple[Mapping[str, Any], bool]:
    """Scheduler options of a noise schedule, and whether this base cannot have it."""
    if not schedule:
        return {}, False
    options = _SCHEDULES[schedule]
    able = base.timesteps if not options else base.spacing if "timestep_spacing" in options else base.sigmas
    return (options, False) if able else ({}, True)
