"""Which stage of a system let a row down: the answer itself, the prompt, the model, the arguments, or the rendering.

The rule.  Of two runs of one item the one with the worse value of a metric loses the row.  A stage of the loser is at
fault where the loser is further from the demonstration than the winner:

* answer: the loser has no plan or no picture and the winner has one; the other stages are then not asked.
* model: the winner chose the demonstration's model and the loser did not.
* prompt: the loser's prompt is less like the demonstration's, by at least MARGIN of BERTScore.
* arguments: fewer of the loser's five arguments are the demonstration's.
* both wrong: none of these, but both chose a wrong model and not the same one, so that no stage of one can be held
  against the other.
* rendering: none of these: the loser's plan was no worse, and the pictures differ by seed or chance.

Several stages can be at fault in one row.  A metric of the plan itself has no such question: what it measures (prompt,
model or arguments) is at fault, or the missing answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from chatgenbench.compare.pairing import Match, Pair
from chatgenbench.evaluate.rows import Row
from chatgenbench.schema import Outcome

Stage = Literal["answer", "model", "prompt", "arguments", "both wrong", "rendering"]
STAGES: tuple[Stage, ...] = get_args(Stage)

#: The smallest difference of BERTScore (rescaled, 1 = the same text) that counts as a worse prompt.
MARGIN = 0.05

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Blame:
    """Of `rows` lost rows: how many have a stage at fault, and how many have no other at fault."""

    rows: int
    among: dict[Stage, int]
    alone: dict[Stage, int]


def at_fault(
    loser: Scores, winner: Scores, loser_ok: bool = True, winner_ok: bool = True, same_model: bool = True
) -> tuple[Stage, ...]:
    """The stages that let the loser down, in the order of STAGES.

    Args:
        loser, winner: per-row scores of both runs (`selection_top1`, `bertscore`, `arguments_mean` are read).
        loser_ok, winner_ok: whether the rows ended with a plan and its picture.
        same_model: whether both chose one model.
    """
    if winner_ok and not loser_ok:
        return ("answer",)
    behind: dict[Stage, float] = {"model": 1.0, "prompt": MARGIN, "arguments": 1e-9}
    columns = {"model": "selection_top1", "prompt": "bertscore", "arguments": "arguments_mean"}
    found = [stage for stage, least in behind.items() if _gap(loser, winner, columns[stage]) >= least]
    if found:
        return tuple(found)
    right = loser.get("selection_top1", 0.0) >= 1
    return ("rendering",) if right or same_model else ("both wrong",)


def own_stage(metric: str) -> Stage | None:
    """The one stage that a metric of the plan measures; None for metrics of pictures."""
    if metric in ("bertscore", "sbert"):
        return "prompt"
    own: dict[str, Stage] = {"selection": "model", "arguments": "arguments"}
    return own.get(metric.partition("_")[0])


def of_metric(metric: str, found: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages at fault of a row that was lost on `metric`."""
    own = own_stage(metric)
    return found if own is None or found == ("answer",) else (own,)


def _gap(loser: Scores, winner: Scores, column: str) -> float:
    return winner.get(column, 0.0) - loser.get(column, 0.0)


def faults(match: Match, pair: Pair) -> dict[str, tuple[Stage, ...]]:
    """The stages at fault if A is the one that lost the row, and if B is."""
    ok = {"a": pair.a.outcome is Outcome.OK, "b": pair.b.outcome is Outcome.OK}
    scores = {"a": match.a.scores[pair.item.id], "b": match.b.scores[pair.item.id]}
    same = _model(match, pair.a) == _model(match, pair.b)
    return {x: at_fault(scores[x], scores[y], ok[x], ok[y], same) for x, y in (("a", "b"), ("b", "a"))}


def _model(match: Match, row: Row) -> str | None:
    """The catalog's id of the model a row chose, or what its plan says if the catalog has no such model."""
    if row.plan is None:
        return None
    record = match.benchmark.catalog.find(row.plan.model)
    return record.id if record else row.plan.model


def blame(lost: Iterable[tuple[Stage, ...]]) -> Blame:
    """Sum up the stages at fault of some lost rows."""
    rows = list(lost)
    return Blame(
        len(rows),
        {stage: sum(stage in row for row in rows) for stage in STAGES},
        {stage: sum(row == (stage,) for row in rows) for stage in STAGES},
    )


def sentence(name: str, found: Blame) -> str:
    """`Of the 7 rows where A loses, the stage at fault is ...`, most frequent first."""
    if not found.rows:
        return f"{name} loses no row"
    named = sorted((s for s in STAGES if found.among[s]), key=lambda s: -found.among[s])
    alone = {s: f" ({found.alone[s]} alone)" if found.alone[s] else "" for s in named}
    parts = ", ".join(f"{s} in {found.among[s]}{alone[s]}" for s in named)
    rows = "the 1 row" if found.rows == 1 else f"the {found.rows} rows"
    return f"Of {rows} where {name} loses, the stage at fault is: {parts}"
