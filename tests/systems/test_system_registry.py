"""One string names a system; a wrong string is answered with one line that helps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UnknownNameError, UserError
from chatgenbench.schema import Plan
from chatgenbench.systems import ask, names, ready, registry, resolve

MODULE = '''
class Good:
    """Answers with a dict: needs no import of ours."""
    name = "good"
    revision = "r1"
    def prepare(self, catalog, train):
        self.model = next(iter(catalog)).id
    def plan(self, inputs):
        arguments = dict(sampler="Euler", steps=9, cfg_scale=2, width=64, height=64)
        return [dict(prompt=c.text, model=self.model, arguments=arguments) for c in inputs]

class Seeded(Good):
    def __init__(self, seed):
        self.revision = f"seed-{seed}"

class Needy(Good):
    def __init__(self, path): ...

class Half:
    name = "half"
    revision = 3
    def plan(self, inputs): return []

class Numbered(Good):
    revision = 3

def factory(): return Good()
def explode(): raise RuntimeError("weights\\nmissing")
def leave(): raise SystemExit(2)
instance = Good()
number = 7
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with importable modules, forgotten afterwards."""
    (tmp_path / "their_systems.py").write_text(MODULE)
    (tmp_path / "their_broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "their_typo.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield tmp_path
    for name in ("their_systems", "their_broken", "their_typo"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["Good", "factory", "instance"])
def test_a_class_factory_or_instance_of_the_current_folder_works(name: str, folder: Path, benchmark: Benchmark) -> None:
    system = resolve(f"their_systems:{name}", benchmark, 0)
    ready(system, benchmark)
    plans = [answer for _, answer, _ in ask(system, [i.input for i in benchmark.items], benchmark.catalog, 2)]
    assert [p.prompt for p in plans if isinstance(p, Plan)] == [i.input.text for i in benchmark.items]


def test_a_class_that_asks_for_the_seed_gets_it(folder: Path, benchmark: Benchmark) -> None:
    assert resolve("their_systems:Seeded", benchmark, 41).revision == "seed-41"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("their_sistems:Good", "No module named 'their_sistems'"),
        ("their_systems:Goood", "module 'their_systems' has no 'Goood': did you mean 'Good'?"),
        ("their_broken:X", "No module named 'nowhere_to_be_found'"),
        ("their_typo:X", "SyntaxError"),
        ("their_systems:Needy", "missing 1 required positional argument: 'path'"),
        ("their_systems:explode", "RuntimeError: weights missing"),
        ("their_systems:leave", "SystemExit: 2"),
        ("their_systems:Half", "its Half lacks prepare (it needs name, revision"),
        ("their_systems:Numbered", "its Numbered lacks name and revision as text"),
        ("their_systems:number", "its int lacks name, revision, prepare, plan"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(spec: str, message: str, folder: Path, benchmark: Benchmark) -> None:
    with pytest.raises(UserError) as caught:
        resolve(spec, benchmark, 0)
    assert message in str(caught.value)
    assert f"system '{spec}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_a_suggestion(benchmark: Benchmark) -> None:
    with pytest.raises(UnknownNameError, match="unknown system 'retreival': did you mean 'retrieval'"):
        resolve("retreival", benchmark, 0)


@pytest.mark.parametrize("spec", ["", "plans.json", "a b:c", "x:", ":y", "their_systems.py:Good", "C:\\mine"])
def test_a_spec_of_no_known_form_lists_the_forms(spec: str, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match=r"module:Object, a \.csv or a \.jsonl file|cannot be loaded"):
        resolve(spec, benchmark, 0)


@pytest.mark.parametrize("spec", ["http://user:secret@host/plan", "HTTPS://user:secret@host", "openai:", "CMD:"])
def test_a_system_in_another_process_is_known_by_how_it_begins(spec: str, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match=r"the address of a system is|needs a model's name|needs a command") as caught:
        resolve(spec, benchmark, 0)
    assert "secret" not in str(caught.value)


def test_entry_points_are_listed_and_loaded_but_never_replace_a_builtin(
    folder: Path, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    points = [EntryPoint(name, value, registry.GROUP) for name, value in (
        ("theirs", "their_systems:Good"), ("oracle", "their_systems:Good"), ("rotten", "their_broken:X")
    )]  # fmt: skip
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert ("theirs", "from their_systems:Good") in names()
    assert resolve("theirs", benchmark, 0).name == "good"
    assert resolve("oracle", benchmark, 0).name == "oracle"
    with pytest.raises(UserError, match="system 'rotten' cannot be loaded"):
        resolve("rotten", benchmark, 0)
    with pytest.raises(UnknownNameError, match="did you mean 'theirs'"):
        resolve("their", benchmark, 0)
