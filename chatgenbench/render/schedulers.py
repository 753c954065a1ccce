"""Build the diffusers scheduler of a sampler around a model's noise schedule.

Two rules: nothing of the model's own schedule (betas, prediction type, spacing) gets lost, and no option of the
sampler is silently swallowed, which `from_config` would do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from chatgenbench.errors import RenderError
from chatgenbench.render.samplers import Sampler

#: Config entries that belong to the model.  All others (solver order, Karras sigmas, ...) belong to the sampler.
MODEL_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
)
#: Rectified-flow models (SD3, Flux) have schedulers of their own.
FLOW = {
    "Euler": "FlowMatchEulerDiscreteScheduler",
    "Heun": "FlowMatchHeunDiscreteScheduler",
    "LCM": "FlowMatchLCMScheduler",
}


def scheduler_for(sampler: Sampler, base_config: Mapping[str, Any], seeds: Sequence[int]) -> Any:
    """A fresh diffusers scheduler for one batch.

    Args:
        sampler: from `resolve`.
        base_config: the scheduler config that came with the model.
        seeds: one per picture of the batch.  Only DPM++ SDE uses them: its Brownian noise ignores the generators
            of the pipeline, so each picture gets a Brownian path of its own seed.

    Raises:
        RenderError: the sampler cannot draw this model, or an option would have been lost.
    """
    import diffusers

    if str(base_config.get("_class_name", "")).startswith("FlowMatch"):
        return _flow(sampler, base_config)
    cls = getattr(diffusers, sampler.scheduler)
    options = dict(sampler.kwargs)
    if sampler.scheduler == "DPMSolverSDEScheduler":
        options["noise_sampler_seed"] = list(seeds)
    accepted = set(inspect.signature(cls.__init__).parameters)
    lost = sorted(options.keys() - accepted)
    if lost:
        raise RenderError(f"sampler '{sampler.name}': {sampler.scheduler} has no option {', '.join(lost)}")
    scheduler = cls.from_config(_model_part(base_config, accepted), **options)
    changed = sorted(key for key, value in options.items() if scheduler.config[key] != value)
    if changed:
        raise RenderError(f"sampler '{sampler.name}': {sampler.scheduler} changed its option {', '.join(changed)}")
    _begin_at_the_beginning(scheduler)
    return scheduler


def timesteps_for(shape: Sequence[int], steps: int) -> list[int]:
    """`steps` falling timesteps that follow `shape` (falling, in 0..999), linearly interpolated between its points."""
    import numpy as np

    where = np.linspace(0, len(shape) - 1, steps)
    return [round(float(t)) for t in np.interp(where, np.arange(len(shape)), shape)]


def _begin_at_the_beginning(scheduler: Any) -> None:
    """Have every schedule start at its first step.

    Left alone, diffusers looks the first timestep up, and takes the second of two equal ones.  Dense schedules
    (Karras or Beta with many steps) begin with equal timesteps: a step would be lost and the last one be missing.
    """
    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def set_and_begin(*args: Any, **kwargs: Any) -> None:
        set_timesteps(*args, **kwargs)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)

    scheduler.set_timesteps = set_and_begin


def _flow(sampler: Sampler, base_config: Mapping[str, Any]) -> Any:
    import diffusers

    if sampler.name not in FLOW:
        usable = ", ".join(FLOW)
        raise RenderError(f"sampler '{sampler.name}' cannot draw a rectified-flow model: use one of {usable}")
    return getattr(diffusers, FLOW[sampler.name]).from_config(base_config)


def _model_part(base_config: Mapping[str, Any], accepted: set[str]) -> dict[str, Any]:
    """The model's own entries.  A class that cannot rescale to zero terminal SNR gets the rescaled betas instead."""
    part = {key: base_config[key] for key in MODEL_KEYS if key in base_config}
    if part.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in accepted:
        part["trained_betas"] = _zero_snr_betas(base_config)
    return {key: value for key, value in part.items() if key in accepted}


def _zero_snr_betas(base_config: Mapping[str, Any]) -> list[float]:
    """Betas of zero terminal SNR (Lin et al. 2023, algorithm 1), ending at alpha 2**-24 as diffusers does: not at 0."""
    import diffusers

    rescaled = diffusers.EulerDiscreteScheduler.from_config(
        {key: base_config[key] for key in MODEL_KEYS if key in base_config}
    )
    alphas = rescaled.alphas_cumprod.double()
    ratios = alphas.clone()
    ratios[1:] = alphas[1:] / alphas[:-1]
    return [float(beta) for beta in 1 - ratios]
