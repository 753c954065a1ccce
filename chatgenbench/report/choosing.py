"""Is choosing among many models worth it?  Systems of the same stages, but for the chooser, in pairs.

Only systems `writer | chooser | arguer` with the same writer and arguer are compared, so that nothing differs but
which model draws: against each `fixed:MODEL`, on the same rows, with demonstrations as clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chatgenbench.report import numbers
from chatgenbench.report.data import RunData
from chatgenbench.statistics import Clusters, holm, paired_test
from chatgenbench.systems.stages import find, is_composed

#: Per-row metrics of the picture; a better choice shows in these or nowhere.
METRICS = ("clipscore", "imagereward", "hpsv2")
FIXED = "fixed:"
LEVEL = 0.05


@dataclass(frozen=True)
class Choice:
    """What choosing changed in one metric: the mean of chooser - fixed model, better where `sign` times it is positive.

    `p_holm` is the p-value after Holm's correction for every line of the table.  `rivals` counts the fixed models that
    the chooser is compared with, `strongest` tells the one that does best in this metric on these rows: it is picked
    where it is judged, which favours it.
    """

    stages: str
    chooser: str
    fixed: str
    metric: str
    title: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    sign: int
    n: int
    written: str
    seed: int
    rivals: int = 1
    strongest: bool = True

    @property
    def verdict(self) -> str:
        """Whether choosing was worth it, in words."""
        if self.p_holm >= LEVEL or self.difference == 0:
            return "no difference beyond chance"
        return "choosing is better" if self.difference * self.sign > 0 else "one model is better"


def choices(runs: Sequence[RunData]) -> list[Choice]:
    """One line for each chooser, fixed model and metric, those of the strongest fixed models first.

    None where no two runs differ in the chooser alone.
    """
    found = [choice for chooser, fixed in _pairs(runs) for metric in METRICS
             if (choice := _choice(chooser, fixed, metric)) is not None]  # fmt: skip
    adjusted = holm([choice.p_value for choice in found])
    return _rivals([replace(choice, p_holm=float(p)) for choice, p in zip(found, adjusted, strict=True)])


def _rivals(found: Sequence[Choice]) -> list[Choice]:
    """The same lines, each knowing how many fixed models its chooser met; those of the strongest first."""
    groups: dict[tuple[Any, ...], list[Choice]] = {}
    for choice in found:
        groups.setdefault(_group(choice), []).append(choice)
    counted = []
    for choice in found:
        group = groups[_group(choice)]
        most = max(one.n for one in group)  # who was drawn on fewer rows may have lost the hard ones
        hardest = min((one for one in group if one.n == most), key=lambda one: one.difference * one.sign)
        counted.append(replace(choice, rivals=len({one.fixed for one in group}), strongest=choice is hardest))
    return sorted(counted, key=lambda one: (not one.strongest, one.stages, one.chooser, METRICS.index(one.metric)))


def _group(choice: Choice) -> tuple[Any, ...]:
    return choice.stages, choice.chooser, choice.seed, choice.metric


def _pairs(runs: Sequence[RunData]) -> Iterator[tuple[RunData, RunData]]:
    """(run with a chooser, run with a fixed model) of the same other stages."""
    staged = [(run, parts) for run in runs if (parts := stages_of(run)) is not None]
    for run, (writer, chooser, arguer) in staged:
        for other, (same_writer, fixed, same_arguer) in staged:
            alike = (writer, arguer) == (same_writer, same_arguer)
            if alike and fixed.startswith(FIXED) and not chooser.startswith(FIXED):
                yield run, other


def stages_of(run: RunData) -> tuple[str, str, str] | None:
    """Writer, chooser and arguer of a run made of stages; None for others, whatever they call themselves."""
    identity = run.manifest["identity"]
    spec = str(identity.get("system_spec", ""))
    if not is_composed(spec) and find(spec) is None:
        return None
    parts = [part.strip() for part in str(identity.get("system", "")).split("|")]
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None


def _choice(chooser: RunData, fixed: RunData, metric: str) -> Choice | None:
    shared = [row for row in chooser.rows if metric in fixed.scores.get(row.item.id, {})]
    shared = [row for row in shared if metric in chooser.scores.get(row.item.id, {})]
    entry = chooser.entry(metric)
    if not shared or entry is None:
        return None
    ids = [row.item.id for row in shared]
    ours, theirs = (np.array([run.scores[i][metric] for i in ids], dtype=np.float64) for run in (chooser, fixed))
    seed = int(chooser.manifest["identity"].get("seed") or 0)
    tested = paired_test(ours, theirs, Clusters([row.gold.id for row in shared], seed))
    stages, others = stages_of(chooser), stages_of(fixed)
    assert stages is not None
    assert others is not None
    style = numbers.format_for([entry, {**entry, "value": tested.difference, "low": tested.low, "high": tested.high}])
    written = f"{tested.difference * style.scale:+.{style.digits}f}{style.suffix} "
    written += f"[{style.number(tested.low)}, {style.number(tested.high)}]"
    return Choice(
        f"{stages[0]} | … | {stages[2]}", stages[1], others[1].removeprefix(FIXED), metric,
        numbers.heading(metric, entry), tested.difference, tested.low, tested.high, tested.p_value, 1.0,
        1 if entry["higher_is_better"] else -1, len(shared), written, seed,
    )  # fmt: skip
