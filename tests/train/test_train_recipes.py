"""Recipes from start to end: killed in the middle, continued, and their systems asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatgenbench.benchmark import load_benchmark
from chatgenbench.errors import UserError
from chatgenbench.schema import Failure, Plan
from chatgenbench.systems import ask, ready, resolve
from chatgenbench.systems.trained.evo import FELL_BACK, NO_SAMPLER, Evo
from tests.train.small import RECIPES, evo

REPO = Path(__file__).parents[2]
#: What a recipe says when it is killed here, and what shows that it went on from there instead of anew.
KILLED = {
    "evo": ("step 10 of 20", "continued at step"),
    "diffagent": ("1 of 3 chats drawn", "2 of 3 chats drawn"),
    "beautifulprompt": ("step 2 of 4, reward", "continued at step"),
}
#: What must not be said again.
DONE = {
    "evo": "step 5 of 20", "diffagent": "1 of 3 chats drawn", "beautifulprompt": "stage 2 of 3: the reward model",
}  # fmt: skip


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each recipe, left behind by a process that was killed."""
    root = tmp_path_factory.mktemp("killed")
    environment = os.environ | {"CHATGENBENCH_HOME": str(tmp_path_factory.getbasetemp() / "home")}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.train.small", name, str(root / name)],
            cwd=REPO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in RECIPES
    }  # fmt: skip
    for name, process in running.items():
        _kill_at(process, KILLED[name][0])
    return {name: root / name for name in RECIPES}


def _kill_at(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL, "".join(seen[-30:])


@pytest.fixture(scope="module")
def continued(killed: dict[str, Path]) -> dict[str, list[str]]:
    """What each recipe said when it went on."""
    said: dict[str, list[str]] = {name: [] for name in RECIPES}
    for name, recipe in RECIPES.items():
        recipe(killed[name], said[name].append)
    return said


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_killed_training_goes_on_where_it_was(
    name: str, killed: dict[str, Path], continued: dict[str, list[str]]
) -> None:
    assert any(KILLED[name][1] in line for line in continued[name])
    assert not any(DONE[name] in line for line in continued[name])
    facts = json.loads((killed[name] / "recipe.json").read_text("utf-8"))
    assert facts["finished"]
    assert facts["asked"]["train_hash"] == load_benchmark("miniature").train_hash
    assert not (killed[name] / "work").exists()
    again: list[str] = []
    RECIPES[name](killed[name], again.append)
    assert again == [f"{killed[name]} is trained already"]


def test_a_killed_training_ends_with_the_same_weights_as_one_that_was_not(
    killed: dict[str, Path], continued: dict[str, list[str]], tmp_path: Path
) -> None:
    evo(tmp_path / "whole", lambda line: None)
    for part in ("writer/adapter_model.safetensors", "tokens/model_tokens.safetensors", "base/model.safetensors"):
        assert (tmp_path / "whole" / part).read_bytes() == (killed["evo"] / part).read_bytes(), part


@pytest.mark.parametrize(("name", "stage"), [("evo", "writer"), ("diffagent", "calls"), ("beautifulprompt", "writer")])
def test_the_loss_falls(name: str, stage: str, killed: dict[str, Path], continued: dict[str, list[str]]) -> None:
    report = json.loads((killed[name] / "recipe.json").read_text("utf-8"))["stages"][stage]
    # a LoRA on a model that knows nothing yet moves little; all of its weights move a lot
    assert report["last loss"] < report["first loss"] - (0.5 if name == "diffagent" else 0.05)


def test_the_card_tells_what_was_learnt_from_and_how(killed: dict[str, Path], continued: dict[str, list[str]]) -> None:
    card = (killed["evo"] / "README.md").read_text("utf-8")
    assert load_benchmark("miniature").train_hash in card
    assert "| tokens | examples 20, trained parameters 576" in card
    assert "--system evo:" in card
    assert "transformers 5." in card


@pytest.mark.parametrize("spec", ["evo", "evo2", "evo1", "diffagent"])
def test_its_system_answers_every_chat_once(
    spec: str, killed: dict[str, Path], continued: dict[str, list[str]]
) -> None:
    benchmark = load_benchmark("miniature")
    folder = killed["diffagent" if spec == "diffagent" else "evo"]
    system = resolve(f"{spec}:{folder}", benchmark, 0)
    ready(system, benchmark)
    chats = [item.input for item in benchmark.items[:9]]
    answers = list(ask(system, chats, benchmark.catalog, 4))
    assert [chat.id for chat, _, _ in answers] == [chat.id for chat in chats]
    for _, answer, spent in answers:
        if isinstance(answer, Failure):
            assert spec == "diffagent"
            assert answer.reason.startswith("no call: ")
        else:
            _looks_right(spec, answer, spent.note)


def _looks_right(spec: str, plan: Plan, note: str) -> None:
    assert plan.prompt
    assert plan.ranking[0] == plan.model
    if spec == "evo1":
        assert plan.model == "oldMessenger_final2"  # of five equally frequent ones the alphabetically first
    else:
        assert len(plan.ranking) == 9
    assert note == (FELL_BACK if spec == "evo" else "")  # a language model of this size writes no arguments


def test_arguments_that_nobody_can_draw_with_become_the_usual_ones(
    killed: dict[str, Path], continued: dict[str, list[str]]
) -> None:
    benchmark = load_benchmark("miniature")
    system = Evo(killed["evo"], 3)
    ready(system, benchmark)
    usual = {"sampler": "DDIM", "steps": 25, "cfg_scale": 1.6, "width": 64, "height": 64, "seed": None}
    written = '{"sampler": "%s", "steps": 20, "cfg_scale": 2.0, "width": 64, "height": 80, "seed": 7} and more'
    asked = {
        "": (usual, FELL_BACK),
        "Sampler: Euler": (usual, FELL_BACK),
        written % "DMP++ 2M": (usual, NO_SAMPLER),
        written % "Euler": (usual | {"sampler": "Euler", "steps": 20, "cfg_scale": 2.0, "height": 80}, ""),
    }
    for text, (expected, note) in asked.items():
        arguments, told = system._read("stampInk_bw", text)
        assert (arguments.model_dump(include=set(expected)), told) == (expected, note)


def test_its_prompts_are_the_training_s_own_words(killed: dict[str, Path], continued: dict[str, list[str]]) -> None:
    benchmark = load_benchmark("miniature")
    system = resolve(f"beautifulprompt:{killed['beautifulprompt']} | retrieval | popular-args", benchmark, 0)
    ready(system, benchmark)
    ((_, answer, _),) = ask(system, [benchmark.items[0].input], benchmark.catalog, 1)
    assert isinstance(answer, Plan), answer


def test_another_training_in_the_folder_is_refused(killed: dict[str, Path], continued: dict[str, list[str]]) -> None:
    from chatgenbench.train.evo import EvoOptions, train

    benchmark = load_benchmark("miniature")
    with pytest.raises(UserError, match=r"holds another training \(fit, limit\): choose another --out"):
        train(benchmark, EvoOptions("tiny"), killed["evo"], lambda line: None)
    with pytest.raises(UserError, match=r"another training \(the recipe diffagent\)"):
        train(benchmark, EvoOptions("tiny"), killed["diffagent"], lambda line: None)
    with pytest.raises(UserError, match="trained by `chatgenbench train evo`, not `train diffagent`"):
        resolve(f"diffagent:{killed['evo']}", benchmark, 0)
