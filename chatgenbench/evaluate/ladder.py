"""The oracle ladder: which stage of a system loses how many points.

A finished run's plans are drawn and scored again with one part replaced by the gold plan's: prompt (with its negative
prompt), model, or the five scored arguments; `gold` is the gold plan itself, seed included, which is what `oracle`
answers.  Each rung is a run of its own under `RUN/ladder/`, made by the very stages that made the run, so it resumes
and shares pictures as any run does.  A row without a plan has nothing to replace a part of: it stays failed on every
rung but `gold`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import InfraError, RunFolderError
from chatgenbench.evaluate.pipeline import Finished, Progress, evaluate
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder, Settings, write_json
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.render import Pool
from chatgenbench.schema import ARGUMENT_KEYS, Demonstration, Failure, FreestyleInput, Plan, PlannedRow, digest_of
from chatgenbench.statistics import Array, Clusters, mean_interval

#: Version of what a rung replaces and of the layout of ladder.json.
LADDER = 1

#: How the `--system` of a rung's manifest begins; no system can be asked for by such a name.
PREFIX = "ladder rung "

#: Choices of a model, as regret is split by.
CHOICES = ("right", "near-twin", "wrong")
WORST_MODELS = 10

Values = dict[str, dict[str, float]]


def _gold_prompt(plan: Plan, gold: Plan) -> Plan:
    return plan.model_copy(update={"prompt": gold.prompt, "negative_prompt": gold.negative_prompt})


def _gold_model(plan: Plan, gold: Plan) -> Plan:
    return plan.model_copy(update={"model": gold.model, "ranking": ()})


def _gold_arguments(plan: Plan, gold: Plan) -> Plan:
    scored = {key: getattr(gold.arguments, key) for key in ARGUMENT_KEYS}
    return plan.model_copy(update={"arguments": plan.arguments.model_copy(update=scored)})


#: rung -> what becomes of a plan on it, given the gold plan.
RUNGS: Mapping[str, Callable[[Plan, Plan], Plan]] = {
    "gold-prompt": _gold_prompt,
    "gold-model": _gold_model,
    "gold-arguments": _gold_arguments,
    "gold": lambda plan, gold: gold,
}


@dataclass(frozen=True)
class Rung:
    """A system that answers with a run's plans, one part replaced by the gold plan's."""

    rung: str
    name: str
    revision: str
    planned: Mapping[str, PlannedRow]
    gold: Mapping[str, Demonstration]

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan | Failure]:
        for chat in inputs:
            yield self.answer(chat.id)

    def answer(self, item: str) -> Plan | Failure:
        """What is drawn for an item on this rung."""
        row, gold = self.planned[item], self.gold[item].plan
        if row.plan is not None:
            return RUNGS[self.rung](row.plan, gold)
        if self.rung == "gold":
            return gold
        return Failure(outcome=row.outcome, reason=row.reason or "no plan")


@dataclass(frozen=True)
class Under:
    """Progress of one rung, told under its name."""

    progress: Progress
    rung: str

    def tick(self, name: str, done: int, total: int) -> None:
        self.progress.tick(f"{self.rung} {name}", done, total)


def is_rung(manifest: Mapping[str, Any]) -> bool:
    """Whether a run folder's manifest is that of a rung: no system's own run, so no row of a table of systems."""
    return str(manifest["identity"].get("system_spec", "")).startswith(PREFIX)


def ladder_file(folder: RunFolder) -> Path:
    """Where `climb` leaves its numbers."""
    return folder.path / "ladder.json"


def climb(run: Finished, settings: Settings, benchmark: Benchmark, pool: Pool, progress: Progress) -> Path:
    """Draw and score every rung of a finished run, write `ladder.json` into its folder and return that path.

    Killed and called again it goes on where it was.

    Args:
        settings: those the run was evaluated with.

    Raises:
        InfraError: the run or a rung is incomplete; what is done is kept.
        RunFolderError: `ladder/` in the run's folder holds rungs of other plans.
    """
    if run.incomplete:
        raise InfraError(f"{run.folder.path} has rows without a result: complete it first, then its ladder")
    rungs = {name: _rung(run, name, settings, benchmark, pool, progress) for name in RUNGS}
    if missing := sum(rung.incomplete for rung in rungs.values()):
        raise InfraError(f"{missing} rows of the ladder of {run.folder.path} have no result: type the command again")
    write_json(ladder_file(run.folder), _ladder(run, rungs, benchmark, settings.seed))
    return ladder_file(run.folder)


def read_ladder(folder: RunFolder, summary: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """ladder.json of a run (None if there is none that can be read), and whether it is of these very scores."""
    try:
        ladder: dict[str, Any] = json.loads(ladder_file(folder).read_text("utf-8"))
        of = ladder["of"]
        fresh = ladder["version"] == LADDER and of == _state(summary)
    except (OSError, ValueError, TypeError, KeyError):
        return None, False
    return ladder, fresh


def _state(summary: Mapping[str, Any]) -> dict[str, Any]:
    about = summary["run"]
    return {key: about.get(key) for key in ("system", "state", "inputs")}


def _rung(
    run: Finished, name: str, settings: Settings, benchmark: Benchmark, pool: Pool, progress: Progress
) -> Finished:
    spec = f"{PREFIX}{name} of {settings.system}"
    system = Rung(
        rung=name, name=spec, revision=digest_of([LADDER, run.folder.read_manifest()["identity"]])[:16],
        planned={row.item.id: row.planned for row in run.rows}, gold={row.item.id: row.gold for row in run.rows},
    )  # fmt: skip
    path = run.folder.path / "ladder" / name
    _refuse_other_plans(RunFolder(path), system)
    return evaluate(path, replace(settings, system=spec), benchmark, system, pool, Under(progress, name))


def _refuse_other_plans(folder: RunFolder, rung: Rung) -> None:
    """A run that was made anew in the same folder leaves rungs of plans that are no longer there."""
    for item, row in folder.planned().items():
        if item in rung.planned and row.plan is not None and row.plan != rung.answer(item):
            raise RunFolderError(f"{folder.path.parent} holds a ladder of other plans: delete that folder")


def _ladder(run: Finished, rungs: Mapping[str, Finished], benchmark: Benchmark, seed: int) -> dict[str, Any]:
    """The content of ladder.json.

    `lost` is positive where the gold part does better than the system's own, whichever way the metric points;
    `rows[item][metric]` is what a row lost in the metrics of its picture.
    """
    own = read_values(run.folder)
    values = {name: read_values(rung.folder) for name, rung in rungs.items()}
    return {
        "version": LADDER,
        "of": _state(run.summary),
        "interval": {"level": 0.95, "method": "bootstrap of the paired difference, clustered by demonstration"},
        "rungs": {
            name: {
                "folder": f"ladder/{name}",
                "still_failed": sum(row.outcome != "ok" for row in rung.rows),
                "metrics": _compared(run, own, rung, values[name], seed),
                "rows": _lost_by_row(own, values[name], _drawn_metrics(run.summary)),
            }
            for name, rung in rungs.items()
        },
        "regret": regret(run.rows, own, values["gold-model"], run.summary, benchmark, seed),
    }


def _compared(run: Finished, own: Values, rung: Finished, values: Values, seed: int) -> dict[str, Any]:
    extra = [m for m in ("clip_image", *run.summary["run"].get("extra", ())) if m not in HEADLINE]
    entries = {}
    for metric in (*HEADLINE, *extra):
        mine, theirs = run.summary["metrics"].get(metric), rung.summary["metrics"].get(metric)
        if mine is None or theirs is None:
            continue
        sign = 1.0 if mine["higher_is_better"] else -1.0
        if all(metric in row for row in own.values()):
            pairs = [(values[row.item.id][metric], own[row.item.id][metric]) for row in run.rows]
            lost = _paired(run.rows, [sign * (after - before) for after, before in pairs], seed)
        else:  # a value of the whole set: the difference alone, without a paired interval
            known = mine["value"] is not None and theirs["value"] is not None
            lost = {"value": sign * (theirs["value"] - mine["value"]) if known else None, "low": None, "high": None}
        about = {key: mine[key] for key in ("title", "unit", "higher_is_better")}
        entries[metric] = {"run": mine["value"], "value": theirs["value"], "lost": lost, **about}
    return entries


def _drawn_metrics(summary: Mapping[str, Any]) -> list[str]:
    """Metrics of each picture that every run with pictures has."""
    return [m for m in ("clipscore", "hpsv2", "imagereward", "clip_image") if m in summary["metrics"]]


def _lost_by_row(own: Values, other: Values, metrics: Sequence[str]) -> Values:
    return {item: {m: other[item][m] - scores[m] for m in metrics} for item, scores in own.items()} if metrics else {}


def _paired(rows: Sequence[Row], differences: Sequence[float], seed: int) -> dict[str, Any]:
    clusters = Clusters([row.gold.id for row in rows], seed)
    return asdict(mean_interval(np.asarray(differences, np.float64), clusters))


def regret(
    rows: Sequence[Row], own: Values, with_gold: Values, summary: Mapping[str, Any], benchmark: Benchmark, seed: int
) -> dict[str, Any]:
    """What choosing another model than the human's cost: score with the gold model less score with the chosen one.

    Args:
        own, with_gold: item -> metric -> score, of the run and of its rung `gold-model`.

    Returns:
        `rows[item][metric]` of the rows that have a plan (the others chose no model: `unplanned`); `choices[choice]`
        and `all`: metric -> mean with interval; `models`: the chosen models that cost most by `metric`, worst first.
        Without picture metrics nothing depends on the model but its own columns, so `metrics` is empty.
    """
    metrics = _drawn_metrics(summary)
    chosen = [row for row in rows if row.plan is not None]
    per_row = _lost_by_row({row.item.id: own[row.item.id] for row in chosen}, with_gold, metrics)
    kinds = {row.item.id: choice_of(row, benchmark.catalog) for row in chosen}

    def means(part: Sequence[Row]) -> dict[str, Any]:
        return {m: _paired(part, [per_row[row.item.id][m] for row in part], seed) for m in metrics}

    groups = {kind: [row for row in chosen if kinds[row.item.id] == kind] for kind in CHOICES}
    return {
        "metrics": metrics, "metric": metrics[0] if metrics else None, "unplanned": len(rows) - len(chosen),
        "all": means(chosen) if chosen else {},
        "choices": {kind: means(part) | {"n": len(part)} for kind, part in groups.items() if part},
        "models": _costliest(chosen, per_row, kinds, metrics[0]) if metrics else [],
        "rows": per_row,
    }  # fmt: skip


def choice_of(row: Row, catalog: Catalog) -> str:
    """`right`, `near-twin` or `wrong` model, or `no plan`."""
    if row.plan is None:
        return "no plan"
    own, gold = catalog.find(row.plan.model), catalog.find(row.gold.plan.model)
    if own is None or gold is None:
        return "wrong"
    if own.id == gold.id:
        return "right"
    return "near-twin" if own.id in gold.near_twins or gold.id in own.near_twins else "wrong"


def _costliest(
    rows: Sequence[Row], per_row: Values, kinds: Mapping[str, str], metric: str
) -> list[dict[str, Any]]:  # fmt: skip
    """Models by the points they cost in all where they were not the human's, most first; gains are no regret."""
    cost: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.plan is not None and kinds[row.item.id] != "right":
            cost[row.plan.model].append(per_row[row.item.id][metric])
    ordered = sorted(cost.items(), key=lambda pair: (-sum(pair[1]), pair[0]))[:WORST_MODELS]
    return [
        {"model": model, "rows": len(costs), "total": float(sum(costs)), "mean": float(np.mean(costs))}
        for model, costs in ordered if sum(costs) > 0
    ]  # fmt: skip


def read_values(folder: RunFolder) -> Values:
    """item -> metric -> score, from a run's scores.parquet."""
    import pandas as pd

    frame = pd.read_parquet(folder.scores)
    columns = [str(c) for c in frame.columns if frame[c].dtype == "float64"]
    table: Array = frame[columns].to_numpy()
    return {
        str(item): dict(zip(columns, line, strict=True))
        for item, line in zip(frame["item"], table.tolist(), strict=True)
    }  # fmt: skip
