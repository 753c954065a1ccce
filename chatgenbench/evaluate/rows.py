"""One row of a run: the item, its gold record, the answer and the picture, joined."""

from __future__ import annotations

from dataclasses import dataclass

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.run import RunFolder, TextSource
from chatgenbench.schema import Demonstration, DrawnRow, Item, Outcome, Plan, PlannedRow
from chatgenbench.systems.answers import kind_of


@dataclass(frozen=True)
class Row:
    """Everything known of one item in one run; `outcome` is final."""

    item: Item
    gold: Demonstration
    planned: PlannedRow
    drawn: DrawnRow | None

    @property
    def outcome(self) -> Outcome:
        if self.planned.outcome is not Outcome.OK or self.drawn is None:
            return self.planned.outcome
        return self.drawn.outcome

    @property
    def reason(self) -> str | None:
        return self.planned.reason or (self.drawn.reason if self.drawn else None)

    @property
    def failure(self) -> str | None:
        """What kind of failure it is (`systems.answers.kinds`); None for a row that is ok."""
        if self.outcome is Outcome.OK:
            return None
        return "not-drawn" if self.planned.outcome is Outcome.OK else kind_of(self.planned.reason or "")

    @property
    def plan(self) -> Plan | None:
        return self.planned.plan

    @property
    def image_sha256(self) -> str | None:
        return self.drawn.image_sha256 if self.drawn and self.drawn.outcome is Outcome.OK else None

    def text(self, source: TextSource) -> str:
        """What image metrics read for this row."""
        if source == "gold":
            return self.gold.plan.prompt
        if source == "input":
            return self.item.input.text
        return self.plan.prompt if self.plan else ""

    @property
    def slices(self) -> dict[str, str]:
        """Slice name -> value: split, kind, and the slices of item and demonstration."""
        return {"split": self.item.split, "kind": self.item.input.kind, **self.gold.slices, **self.item.slices}


def join(folder: RunFolder, benchmark: Benchmark, items: tuple[Item, ...]) -> list[Row]:
    """Rows of `items` in benchmark order; an item without an answer yet is `infra-failed`."""
    planned, drawn = folder.planned(), folder.drawn()
    unplanned = "not answered yet: type the command again"
    return [
        Row(
            item,
            benchmark.gold(item),
            planned.get(item.id) or PlannedRow(item=item.id, outcome=Outcome.INFRA_FAILED, reason=unplanned),
            drawn.get(item.id),
        )
        for item in items
    ]
