from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.errors import RenderError
from chatgenbench.render.samplers import Sampler, known, resolve

KARRAS = {"use_karras_sigmas": True}
PP = {"algorithm_type": "dpmsolver++"}
SDE = {"algorithm_type": "sde-dpmsolver++"}

EXACT = [
    ("Euler", "EulerDiscreteScheduler", {}),
    ("Euler Karras", "EulerDiscreteScheduler", KARRAS),
    ("Euler a", "EulerAncestralDiscreteScheduler", {}),
    ("LMS", "LMSDiscreteScheduler", {}),
    ("LMS Karras", "LMSDiscreteScheduler", KARRAS),
    ("Heun", "HeunDiscreteScheduler", {}),
    ("DPM2", "KDPM2DiscreteScheduler", {}),
    ("DPM2 Karras", "KDPM2DiscreteScheduler", KARRAS),
    ("DPM2 a", "KDPM2AncestralDiscreteScheduler", {}),
    ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", KARRAS),
    ("DPM++ 2M", "DPMSolverMultistepScheduler", PP),
    ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", PP | KARRAS),
    ("DPM++ 2M Exponential", "DPMSolverMultistepScheduler", PP | {"use_exponential_sigmas": True}),
    ("DPM++ 2M Beta", "DPMSolverMultistepScheduler", PP | {"use_beta_sigmas": True}),
    ("DPM++ 2M SGM Uniform", "DPMSolverMultistepScheduler", PP | {"timestep_spacing": "trailing"}),
    ("DPM++ 2M SDE Karras", "DPMSolverMultistepScheduler", SDE | KARRAS),
    ("DPM++ 2M SDE Heun Karras", "DPMSolverMultistepScheduler", SDE | KARRAS | {"solver_type": "heun"}),
    ("DPM++ 3M SDE Exponential", "DPMSolverMultistepScheduler",
     SDE | {"solver_order": 3, "use_exponential_sigmas": True}),
    ("DPM++ SDE", "DPMSolverSDEScheduler", {}),
    ("DPM++ SDE Karras", "DPMSolverSDEScheduler", KARRAS),
    ("DDIM", "DDIMScheduler", {"clip_sample": False}),
    ("PLMS", "PNDMScheduler", {"skip_prk_steps": True}),
    ("UniPC", "UniPCMultistepScheduler",
     {"solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"}),
    ("LCM", "LCMScheduler", {}),
]  # fmt: skip

STAND_INS = [
    "DPM++ 2S a", "DPM++ 2S a Karras", "Euler a Karras", "DPM fast", "DPM fast Karras", "DPM adaptive", "Restart",
    "Euler Dy", "Euler SMEA Dy", "DDIM CFG++", "DPM++ 2M Turbo", "DPM++ 2M KL Optimal", "DPM++ 2M Align Your Steps",
    "DDIM Karras", "DPM++ 2M Karras v2", "DPM++ 2M alt Karras", "DPM++ 2M Test",
]  # fmt: skip

SPELLINGS = [
    ("dpm++ 2m karras", "DPM++ 2M Karras"),
    ("DPM++_2M_Karras", "DPM++ 2M Karras"),
    ("DPM++ 2M (Karras)", "DPM++ 2M Karras"),
    ("Karras DPM++ 2M", "DPM++ 2M Karras"),
    ("dpmpp_2m_karras", "DPM++ 2M Karras"),
    ("k_euler_a", "Euler a"),
    ("euler_ancestral", "Euler a"),
    ("EulerAncestralDiscreteScheduler", "Euler a"),
    ("KDPM2AncestralDiscreteScheduler", "DPM2 a"),
    ("DPMSolverMultistepScheduler", "DPM++ 2M"),
    ("dpmpp_2m_sde_gpu", "DPM++ 2M SDE"),
    ("dpmpp_2s_ancestral", "DPM++ 2S a"),
    ("euler_cfg_pp", "Euler CFG++"),
    ("uni_pc_bh2", "UniPC bh2"),
    ("k_dpm_2_ancestral", "DPM2 a"),
    ("DPM++ 2M Automatic", "DPM++ 2M Karras"),
    ("DPM++ 3M SDE Automatic", "DPM++ 3M SDE Exponential"),
    ("Euler Automatic", "Euler"),
    ("DPM++ 2M SDE Polyexponential", "DPM++ 2M SDE Exponential"),
]


@pytest.mark.parametrize(("name", "scheduler", "kwargs"), EXACT)
def test_published_equivalents_are_exact(name: str, scheduler: str, kwargs: dict[str, object]) -> None:
    assert resolve(name) == Sampler(name, scheduler, kwargs)


@pytest.mark.parametrize("name", STAND_INS)
def test_samplers_without_an_equivalent_say_what_draws_them(name: str) -> None:
    sampler = resolve(name)
    assert not sampler.exact
    assert sampler.note is not None
    assert sampler.note.startswith(f"{sampler.name}: drawn ")


@pytest.mark.parametrize(("spelling", "name"), SPELLINGS)
def test_other_tools_spellings_mean_the_same(spelling: str, name: str) -> None:
    assert resolve(spelling) == resolve(name)
    assert resolve(spelling).name == name


@pytest.mark.parametrize("name", known())
def test_a_canonical_name_means_itself(name: str) -> None:
    assert resolve(name).name == name
    assert resolve(name.upper().replace(" ", "_")) == resolve(name)


def test_an_unknown_name_is_answered_with_suggestions() -> None:
    with pytest.raises(RenderError, match=r"unknown sampler 'DPM\+\+ 3M': did you mean .*'DPM\+\+ 3M SDE'"):
        resolve("DPM++ 3M")


@given(st.text(max_size=80))
def test_any_text_is_a_sampler_or_a_render_error(name: str) -> None:
    try:
        sampler = resolve(name)
    except RenderError:
        return
    assert resolve(sampler.name) == sampler
