from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import RenderError
from chatgenbench.render import Pool, Sampler, known, lease_requests, request_for, resolve
from chatgenbench.render.executor import Picture
from chatgenbench.render.inline import DRIFT, InlineExecutor
from chatgenbench.render.schedulers import scheduler_for, timesteps_for
from tests.render import tiny
from tests.render.conftest import PlanOf

ZERO_SNR = {**tiny.NOISE, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def different() -> list[str]:
    """One name for every different way to draw, of all names and the schedules that are not listed."""
    names = [*known(), "DPM++ 2M Align Your Steps", "Euler Align Your Steps"]
    ways: dict[str, str] = {}
    for sampler in map(resolve, names):
        ways.setdefault(repr((sampler.scheduler, sampler.kwargs, sampler.call_kwargs)), sampler.name)
    return sorted(ways.values())


def denoise(scheduler: Any, target: torch.Tensor, steps: int, alphas: torch.Tensor, options: dict[str, Any]) -> Any:
    """Run a scheduler with a perfect v-prediction model of a world that holds one picture."""
    if "timesteps" in options:
        scheduler.set_timesteps(timesteps=timesteps_for(options["timesteps"], steps))
    else:
        scheduler.set_timesteps(steps)
    generators = [torch.Generator().manual_seed(at) for at in range(len(target))]
    accepts = "generator" in scheduler.step.__code__.co_varnames
    sample = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    log_snr = (alphas / (1 - alphas)).log().numpy()
    for t in scheduler.timesteps:
        snr = float(np.exp(np.interp(float(t), np.arange(len(alphas)), log_snr)))
        signal, noise = (snr / (1 + snr)) ** 0.5, (1 / (1 + snr)) ** 0.5
        seen = scheduler.scale_model_input(sample, t)
        velocity = signal * (seen - signal * target) / noise - noise * target
        extra = {"generator": generators} if accepts else {}
        sample = scheduler.step(velocity, t, sample, **extra, return_dict=False)[0]
    return sample


@pytest.mark.parametrize(
    ("config", "steps"), [(tiny.NOISE, 4), (tiny.NOISE, 60), (ZERO_SNR, 20)], ids=["few", "dense", "zero-snr"]
)
@pytest.mark.parametrize("name", different())
def test_with_a_perfect_model_every_sampler_reaches_the_picture(name: str, config: dict[str, Any], steps: int) -> None:
    sampler = resolve(name)
    if sampler.scheduler in ("LCMScheduler", "TCDScheduler"):
        steps = min(steps, 50)  # of which these two were distilled
    scheduler = scheduler_for(sampler, config, [1, 2])
    alphas = EulerDiscreteScheduler.from_config(
        {key: value for key, value in config.items() if key not in ("clip_sample", "set_alpha_to_one")}
    ).alphas_cumprod.double()
    target = torch.linspace(-2, 2, 2 * 4 * 4).reshape(2, 1, 4, 4)
    drawn = denoise(scheduler, target, steps, alphas, dict(sampler.call_kwargs))
    assert float((drawn - target).abs().mean()) < 0.1


@pytest.fixture(scope="module")
def executor(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> InlineExecutor:
    return InlineExecutor(benchmark, Pool(tmp_path_factory.mktemp("samplers")), batch_size=2)


@pytest.mark.parametrize("name", [n for n in different() if not n.endswith(("Beta", "Exponential", "SGM Uniform"))])
def test_every_sampler_draws_repeatably_and_without_regard_to_batch_mates(
    name: str, executor: InlineExecutor, benchmark: Benchmark, plan: PlanOf
) -> None:
    def pixels(*seeds: int) -> dict[int, np.ndarray[Any, Any]]:
        requests = {s: request_for(plan(sampler=name, steps=4, seed=s), benchmark, 0, "e")[0] for s in seeds}
        results = list(executor.run(lease_requests(requests.values())))
        assert all(isinstance(result, Picture) for result in results), results
        return {s: np.asarray(executor.pool.read(r.digest)).astype(int) for s, r in requests.items()}

    first, mixed, again = pixels(1, 2), pixels(2, 3), pixels(1, 2)
    assert all(np.array_equal(first[seed], again[seed]) for seed in (1, 2))
    assert np.abs(first[2] - mixed[2]).max() <= DRIFT
    assert np.abs(first[1] - first[2]).max() > DRIFT


def test_an_option_that_diffusers_would_swallow_is_refused() -> None:
    sampler = Sampler("Euler a Karras", "EulerAncestralDiscreteScheduler", {"use_karras_sigmas": True})
    with pytest.raises(RenderError, match="EulerAncestralDiscreteScheduler has no option use_karras_sigmas"):
        scheduler_for(sampler, tiny.NOISE, [1])


def test_the_models_noise_schedule_is_kept_and_its_old_sampler_forgotten() -> None:
    base = {**tiny.NOISE, "beta_start": 0.001, "use_karras_sigmas": True, "solver_order": 1}
    config = scheduler_for(resolve("DPM++ 2M Exponential"), base, [1]).config
    assert config["prediction_type"] == "v_prediction"
    assert config["beta_start"] == 0.001
    assert config["timestep_spacing"] == "leading"
    assert config["use_exponential_sigmas"]
    assert not config["use_karras_sigmas"]
    assert config["solver_order"] == 2


def test_zero_terminal_snr_survives_in_classes_without_the_option() -> None:
    own = scheduler_for(resolve("Euler"), ZERO_SNR, [1]).alphas_cumprod
    given = scheduler_for(resolve("Heun"), ZERO_SNR, [1]).alphas_cumprod
    assert torch.allclose(own, given, rtol=1e-2, atol=1e-7)
    assert float(given[-1]) < 1e-6


def test_flow_models_get_their_own_schedulers_and_refuse_the_rest() -> None:
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    scheduler = scheduler_for(resolve("Euler"), flow, [1])
    assert type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
    assert scheduler.config["shift"] == 3.0
    with pytest.raises(RenderError, match="'DDIM' cannot draw a rectified-flow model: use one of Euler, Heun, LCM"):
        scheduler_for(resolve("DDIM"), flow, [1])


@pytest.mark.parametrize("steps", [1, 4, 10, 150])
def test_align_your_steps_falls_strictly_and_is_the_published_list_at_ten(steps: int) -> None:
    shape = resolve("DPM++ 2M AYS").call_kwargs["timesteps"]
    timesteps = timesteps_for(shape, steps)
    assert len(timesteps) == steps
    assert all(a > b for a, b in pairwise(timesteps))
    assert steps != 10 or timesteps == list(shape)
