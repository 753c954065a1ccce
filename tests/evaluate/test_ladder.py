"""The oracle ladder: one part of the plans replaced at a time, drawn and scored by the stages of a real run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import Benchmark, Catalog, load_benchmark
from chatgenbench.errors import InfraError, RunFolderError
from chatgenbench.evaluate import ladder as ladders
from chatgenbench.evaluate.ladder import RUNGS, choice_of, climb, is_rung, ladder_file, read_ladder, read_values
from chatgenbench.evaluate.pipeline import Finished, evaluate
from chatgenbench.evaluate.run import RunFolder, Settings
from chatgenbench.quiet import quiet
from chatgenbench.render import Pool
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Plan

LIMIT = 6
SETTINGS = Settings(benchmark="miniature", system="half", limit=LIMIT, device="cpu")


class Half:
    """Answers the first item with nothing, every second one with another model, all with another prompt and steps."""

    name, revision = "half", "1"

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.order = [item.id for item in benchmark.subset(LIMIT)]

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self.models = list(catalog.records)

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterable[Plan | Failure]:
        for chat in inputs:
            place = self.order.index(chat.id) if chat.id in self.order else 1
            gold = self.benchmark.gold(self.benchmark.by_id[chat.id]).plan
            model = gold.model if place % 2 else next(m for m in self.models if m != gold.model)
            arguments = gold.arguments.model_copy(update={"steps": 3, "seed": 11})
            plan = Plan(prompt="a grey stone", negative_prompt="sun", model=model, arguments=arguments)
            yield plan if place else Failure(reason="nothing came to mind")


class Silent:
    """Progress that keeps the names of the stages."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def tick(self, name: str, done: int, total: int) -> None:
        self.names.append(name)


@dataclass(frozen=True)
class Place:
    benchmark: Benchmark
    run: Finished
    pool: Pool

    def climb(self, settings: Settings = SETTINGS) -> dict[str, Any]:
        with quiet():
            loaded: dict[str, Any] = json.loads(
                climb(self.run, settings, self.benchmark, self.pool, Silent()).read_text()
            )
        return loaded

    def rung(self, name: str) -> RunFolder:
        return RunFolder(self.run.folder.path / "ladder" / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("ladder")
    benchmark = load_benchmark("miniature")
    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setenv("CHATGENBENCH_HOME", str(root / "home"))
        run = evaluate(root / "run", SETTINGS, benchmark, Half(benchmark), Pool(root / "pool"), Silent())
    return Place(benchmark, run, Pool(root / "pool"))


@pytest.fixture(scope="module")
def found(place: Place) -> dict[str, Any]:
    return place.climb()


def test_each_rung_replaces_one_part_and_keeps_the_rest(place: Place, found: dict[str, Any]) -> None:
    row = next(row for row in place.run.rows if row.plan is not None)
    own, gold = row.plan, row.gold.plan
    assert own is not None
    plans = {name: place.rung(name).planned()[row.item.id].plan for name in RUNGS}
    prompt, model, arguments = plans["gold-prompt"], plans["gold-model"], plans["gold-arguments"]
    assert prompt == own.model_copy(update={"prompt": gold.prompt, "negative_prompt": gold.negative_prompt})
    assert model == own.model_copy(update={"model": gold.model})
    assert arguments is not None
    assert arguments.arguments.steps == gold.arguments.steps
    assert arguments.arguments.seed == own.arguments.seed == 11
    assert plans["gold"] == gold


def test_a_row_without_a_plan_fails_on_every_rung_but_gold(place: Place, found: dict[str, Any]) -> None:
    failed = next(row.item.id for row in place.run.rows if row.plan is None)
    for name in RUNGS:
        row = place.rung(name).planned()[failed]
        assert (row.plan is None) == (name != "gold")
        assert found["rungs"][name]["still_failed"] == (0 if name == "gold" else 1)
    assert place.rung("gold-model").planned()[failed].reason == "nothing came to mind"


def test_points_lost_are_the_mean_paired_difference(place: Place, found: dict[str, Any]) -> None:
    own, rung = read_values(place.run.folder), read_values(place.rung("gold-prompt"))
    differences = [rung[item]["clipscore"] - own[item]["clipscore"] for item in own]
    entry = found["rungs"]["gold-prompt"]["metrics"]["clipscore"]
    assert entry["lost"]["value"] == pytest.approx(sum(differences) / len(differences))
    assert entry["lost"]["low"] <= entry["lost"]["value"] <= entry["lost"]["high"]
    assert [row["clipscore"] for row in found["rungs"]["gold-prompt"]["rows"].values()] == differences
    assert entry["value"] - entry["run"] == pytest.approx(entry["lost"]["value"])
    assert found["rungs"]["gold"]["metrics"]["bertscore"]["value"] == pytest.approx(1.0)


def test_fid_loses_when_it_would_fall_and_has_no_paired_interval(found: dict[str, Any]) -> None:
    entry = found["rungs"]["gold"]["metrics"]["fid"]
    assert entry["lost"]["value"] == pytest.approx(entry["run"] - entry["value"])
    assert entry["lost"]["low"] is entry["lost"]["high"] is None


def test_regret_is_split_by_choice_and_right_models_cost_nothing(place: Place, found: dict[str, Any]) -> None:
    regret = found["regret"]
    kinds = {row.item.id: choice_of(row, place.benchmark.catalog) for row in place.run.rows}
    assert regret["unplanned"] == 1
    assert set(regret["rows"]) == {item for item, kind in kinds.items() if kind != "no plan"}
    for item, costs in regret["rows"].items():
        if kinds[item] == "right":
            assert set(costs.values()) == {0.0}
    assert {kind: part["n"] for kind, part in regret["choices"].items()} == {
        kind: list(kinds.values()).count(kind) for kind in set(kinds.values()) - {"no plan"}
    }
    assert all(entry["total"] > 0 for entry in regret["models"])


def test_a_rung_says_that_it_is_no_system(place: Place, found: dict[str, Any]) -> None:
    for name in RUNGS:
        manifest = place.rung(name).read_manifest()
        assert is_rung(manifest)
        assert manifest["identity"]["system_spec"] == f"ladder rung {name} of half"
    assert not is_rung(place.run.folder.read_manifest())
    assert not list(place.run.folder.path.parent.glob("*/ladder/run.json"))


def test_a_ladder_goes_on_where_it_was_killed(place: Place, found: dict[str, Any]) -> None:
    before = ladder_file(place.run.folder).read_bytes()
    rung = place.rung("gold-model")
    lines = rung.pictures.read_bytes().splitlines(keepends=True)
    rung.pictures.write_bytes(b"".join(lines[:-2]) + lines[-1][:20])
    for path in (rung.summary, rung.scores, ladder_file(place.run.folder)):
        path.unlink()
    planned = rung.plans.read_bytes()
    place.climb()
    assert ladder_file(place.run.folder).read_bytes() == before
    assert rung.plans.read_bytes() == planned


def test_a_ladder_is_read_back_only_for_the_scores_it_was_made_of(place: Place, found: dict[str, Any]) -> None:
    summary = place.run.summary
    assert read_ladder(place.run.folder, summary) == (found, True)
    later = summary | {"run": summary["run"] | {"state": "another"}}
    assert read_ladder(place.run.folder, later) == (found, False)
    assert read_ladder(place.rung("gold"), summary) == (None, False)


def test_a_ladder_of_other_plans_is_refused(place: Place, found: dict[str, Any], tmp_path: Path) -> None:
    rows = [replace(row, planned=row.planned.model_copy(update={"plan": row.gold.plan})) for row in place.run.rows]
    with pytest.raises(RunFolderError, match="ladder of other plans: delete that folder"):
        climb(replace(place.run, rows=rows), SETTINGS, place.benchmark, place.pool, Silent())


def test_an_incomplete_run_has_no_ladder(place: Place) -> None:
    part = replace(place.run, summary=place.run.summary | {"incomplete": 2})
    with pytest.raises(InfraError, match="complete it first"):
        climb(part, SETTINGS, place.benchmark, place.pool, Silent())


def test_a_run_without_pictures_has_rungs_of_its_plans(place: Place, tmp_path: Path) -> None:
    settings = replace(SETTINGS, draw=False)
    with quiet():
        run = evaluate(
            tmp_path / "run", settings, place.benchmark, Half(place.benchmark), Pool(tmp_path / "pool"), Silent()
        )
    bare = replace(place, run=run, pool=Pool(tmp_path / "pool")).climb(settings)
    assert set(bare["rungs"]["gold-model"]["metrics"]) == {"bertscore", "selection_top1", "arguments_mean"}
    assert bare["rungs"]["gold-model"]["metrics"]["selection_top1"]["value"] == pytest.approx(5 / 6)
    assert bare["regret"]["metrics"] == bare["regret"]["models"] == []
    assert not (tmp_path / "pool").exists()


def test_progress_names_rung_and_stage(place: Place, found: dict[str, Any]) -> None:
    seen = Silent()
    ladders.Under(seen, "gold").tick("render", 1, 2)
    assert seen.names == ["gold render"]
