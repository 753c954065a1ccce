"""The rows of a submission against the benchmark: every cell, every row, and what the rows say together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, RenderError, UnknownNameError
from chatgenbench.evaluate.score import IMAGE_METRICS, TEXT_METRICS
from chatgenbench.evaluate.stepwise import COLUMNS as STEPWISE
from chatgenbench.leaderboard.columns import COLUMNS, FIXED, JOINT, OUTCOMES, Column, read_text
from chatgenbench.leaderboard.problems import Problem, Problems
from chatgenbench.leaderboard.reader import rows
from chatgenbench.render.requests import request_for
from chatgenbench.schema import ARGUMENT_KEYS, Plan

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,20})(?:\.[0-9]{1,20})?(?:e[+-][0-9]{2,3})?")
_SHA256, _PHASH = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RISKY = ("=", "+", "-", "@", "\t", "\n")
#: No score of any metric is larger.
LARGEST = 1e6
#: Metrics that are yes or no for each row.
_YES_NO = frozenset(name for name in STEPWISE if name not in ("selection_mrr", "arguments_mean", "arguments_tolerant"))
_PLAN_CELLS = ("model", *ARGUMENT_KEYS, "seed")


class Rows:
    """What the rows hold: `values[metric][item]`, for comparing with what the manifest claims."""

    def __init__(self, benchmark: Benchmark, drawn: bool, problems: Problems, file: str) -> None:
        self._benchmark, self._drawn, self._problems, self._file = benchmark, drawn, problems, file
        self._order = {item.id: place for place, item in enumerate(benchmark.items)}
        self._seen: dict[str, int] = {}
        self._last = -1
        self._pictures: dict[str, tuple[str, str, int]] = {}
        self._requests: dict[str, tuple[str, int]] = {}
        self._failed: dict[str, tuple[float, int]] = {}
        self.phashes: dict[str, str] = {}
        self.metrics: tuple[str, ...] = ()
        self.values: dict[str, dict[str, float]] = {}
        self.whole = False

    def read(self, path: Path) -> None:
        """Read the file and tell every problem."""
        before = len(self._problems.found)
        lines = rows(path, self._problems.tell)
        header = next(lines, None)
        if header is None:
            if len(self._problems.found) == before:
                self._tell(None, None, "is empty", "write it again with `leaderboard submit`")
            return
        if not self._header(header[1]):
            return
        for number, cells in lines:
            if len(cells) != len(FIXED) + len(self.metrics):
                told = f"{len(cells)} cells where the header has {len(FIXED) + len(self.metrics)}"
                self._tell(number, None, told, "look for a comma or quote too many or too few")
                continue
            self._row(number, dict(zip((*FIXED, *self.metrics), cells, strict=True)))
        missing = [key for key in self._order if key not in self._seen]
        for key in missing:
            self._tell(None, "id", f"item '{key}' is missing", "every item of the benchmark has one row, failed or not")
        self.whole = not missing and len(self._problems.found) == before

    def _tell(self, line: int | None, column: str | None, what: str, mend: str) -> None:
        self._problems.tell(Problem(self._file, line, column, what, mend))

    def _header(self, cells: Sequence[str]) -> bool:
        import t2imetrics

        sound = True
        for place, name in enumerate(FIXED):
            found = cells[place] if place < len(cells) else "nothing"
            if found != name:
                self._tell(1, name, f"column {place + 1} is '{found}'", f"it must be '{name}'; see docs/SUBMISSIONS.md")
                sound = False
        if not sound:
            return False
        self.metrics = tuple(cells[len(FIXED) :])
        needed = (*TEXT_METRICS, *STEPWISE, *(IMAGE_METRICS if self._drawn else ()))
        known = {*needed, *(t2imetrics.list() if self._drawn else ())}
        for name in needed:
            if name not in self.metrics:
                self._tell(1, name, "the column is missing", "run `eval` again with this version, then submit")
                sound = False
        for place, name in enumerate(self.metrics):
            if name not in known:
                self._tell(1, name, "is no metric of this program", "leave the column out")
                sound = False
            elif name in self.metrics[:place]:
                self._tell(1, name, "the column stands twice", "leave one out")
                sound = False
        return sound

    def _row(self, number: int, cells: Mapping[str, str]) -> None:
        item = cells["id"]
        if item not in self._order:
            self._tell(number, "id", f"'{item}' is no item of the benchmark", "copy the ids from items.jsonl")
            return
        if item in self._seen:
            self._tell(number, "id", f"'{item}' stands in line {self._seen[item]} already", "keep one row an item")
            return
        self._seen[item] = number
        if self._order[item] < self._last:
            self._tell(number, "id", f"'{item}' is out of order", "keep the benchmark's order of items")
        self._last = max(self._last, self._order[item])
        outcome = cells["outcome"]
        if outcome not in OUTCOMES:
            self._tell(number, "outcome", f"'{outcome}' is no outcome", f"write {', '.join(OUTCOMES)}")
            return
        sound = [self._cell(number, column, cells[column.name]) for column in COLUMNS[2:]]
        if all(sound):
            self._plan(number, outcome, cells)
        self._scores(number, item, outcome, cells)

    def _cell(self, number: int, column: Column, cell: str) -> bool:
        """Whether a cell is of its column's kind; emptiness is looked at with the whole row."""
        if not cell:
            return True
        what = mend = ""
        if column.kind == "text":
            if cell.startswith(_RISKY):
                what, mend = "begins with what a spreadsheet takes for a formula", "put an apostrophe before it"
            elif _CONTROL.search(cell):
                what, mend = "holds a control character", "take it out"
        elif column.kind == "integer" and not _INTEGER.fullmatch(cell):
            what, mend = f"'{cell}' is no whole number", f"write {column.meaning}"
        elif column.kind == "number" and not (_NUMBER.fullmatch(cell) and abs(float(cell)) <= 1e9):
            what, mend = f"'{cell}' is no plain number", f"write {column.meaning}"
        elif column.kind == "sha256" and not _SHA256.fullmatch(cell):
            what, mend = f"'{cell}' is no sha256", "write 64 digits 0-9a-f"
        elif column.kind == "phash" and not _PHASH.fullmatch(cell):
            what, mend = f"'{cell}' is no perceptual hash", "write 16 digits 0-9a-f"
        if what:
            self._tell(number, column.name, what, mend)
        return not what

    def _plan(self, number: int, outcome: str, cells: Mapping[str, str]) -> None:
        filled = [name for name in _PLAN_CELLS if cells[name]]
        if outcome == "ok" or filled:
            for name in _PLAN_CELLS:
                if not cells[name]:
                    self._tell(number, name, "is empty", "a row with a plan tells all of it")
                    return
            plan = self._read_plan(number, cells)
            if plan is not None:
                self._drawing(number, outcome, cells, plan)
        elif cells["prompt"]:
            self._tell(number, "prompt", "there is a prompt but no plan", "tell the whole plan, or nothing of it")
        if outcome == "ok" and cells["reason"]:
            self._tell(number, "reason", "the row is ok, and still has a reason", "leave it empty")
        pictured = outcome == "ok" and self._drawn
        for name in ("image_sha256", "image_phash"):
            if bool(cells[name]) != pictured:
                what = "is empty" if pictured else "a picture where there can be none"
                mend = "an ok row of a run that draws has a picture, any other has none"
                self._tell(number, name, what, mend)

    def _read_plan(self, number: int, cells: Mapping[str, str]) -> Plan | None:
        ranking = read_text(cells["ranking"])
        names = (*ARGUMENT_KEYS, "seed", "clip_skip", "lora_weight")
        try:
            return Plan.model_validate({
                "prompt": read_text(cells["prompt"]), "negative_prompt": read_text(cells["negative_prompt"]),
                "model": read_text(cells["model"]), "ranking": tuple(ranking.split(JOINT)) if ranking else (),
                "arguments": {key: read_text(cells[key]) for key in names if cells[key]},
            })  # fmt: skip
        except ValidationError as error:
            for fault in error.errors():
                column = str(fault["loc"][-1]) if fault["loc"] else None
                meaning = next((c.meaning for c in COLUMNS if c.name == column), "what the column says")
                self._tell(number, column, fault["msg"], f"write {meaning}")
            return None

    def _drawing(self, number: int, outcome: str, cells: Mapping[str, str], plan: Plan) -> None:
        """Equal requests have equal pictures, different ones different pictures."""
        if outcome != "ok":
            return
        if self._benchmark.catalog.find(plan.model) is None:
            self._tell(number, "model", f"'{plan.model}' is not in the catalog", "such a row is system-failed")
            return
        if not self._drawn:
            return
        try:
            request, _ = request_for(plan, self._benchmark, 0, "")
        except (RenderError, UnknownNameError, BenchmarkError) as error:
            self._tell(number, "sampler", f"cannot be drawn ({error})", "such a row is system-failed")
            return
        name, sha256, phash = request.digest, cells["image_sha256"], cells["image_phash"]
        if not (sha256 and phash):
            return
        self.phashes[cells["id"]] = phash
        known = self._pictures.setdefault(sha256, (name, phash, number))
        if known[0] != name:
            told = f"line {known[2]} has the same picture for another plan"
            self._tell(number, "image_sha256", told, "each plan has the picture that was drawn of it")
        elif known[1] != phash:
            told = f"line {known[2]} has the same picture with another hash"
            self._tell(number, "image_phash", told, "equal pictures have equal hashes")
        other = self._requests.setdefault(name, (sha256, number))
        if other[0] != sha256:
            told = f"line {other[1]} has another picture for the same plan and seed"
            self._tell(number, "image_sha256", told, "equal plans with equal seeds draw equal pictures")

    def _scores(self, number: int, item: str, outcome: str, cells: Mapping[str, str]) -> None:
        found: dict[str, float] = {}
        for metric in self.metrics:
            cell = cells[metric]
            value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
            if not abs(value) <= LARGEST:
                self._tell(number, metric, f"'{cell}' is no score", "write a plain finite number")
                continue
            if metric in _YES_NO and value not in (0.0, 1.0):
                self._tell(number, metric, f"'{cell}' is neither 0 nor 1", "it is 1 where the plan is right, else 0")
            elif metric in STEPWISE and not 0 <= value <= 1:
                self._tell(number, metric, f"'{cell}' is no share", "write a number from 0 to 1")
            elif not self._in_range(metric, value):
                self._tell(number, metric, f"'{cell}' is out of the metric's range", "score the run again")
            found[metric] = value
            self.values.setdefault(metric, {})[item] = value
        self._together(number, found)
        if outcome != "ok":
            self._same_failure(number, found, bool(cells["model"]))

    def _in_range(self, metric: str, value: float) -> bool:
        import t2imetrics

        if metric in STEPWISE:
            return True
        card = t2imetrics.card(metric)
        slack = 1e-6 * max(1.0, abs(value))
        return bool(card.lower - slack <= value <= card.upper + slack)

    def _together(self, number: int, found: Mapping[str, float]) -> None:
        five = [found.get(f"arguments_{key}") for key in ARGUMENT_KEYS]
        known = [value for value in five if value is not None]
        mean, joint = found.get("arguments_mean"), found.get("arguments_joint")
        if len(known) == 5 and mean is not None and abs(mean - sum(known) / 5) > 1e-6:
            self._tell(number, "arguments_mean", f"{mean:g} is not the mean of the five", "score the run again")
        if len(known) == 5 and joint is not None and joint != min(known):
            self._tell(number, "arguments_joint", f"{joint:g} does not follow from the five", "score the run again")
        top1, top5 = found.get("selection_top1"), found.get("selection_top5")
        if top1 is not None and top5 is not None and top1 > top5:
            self._tell(number, "selection_top5", "the first of a ranking is among its first five", "score again")

    def _same_failure(self, number: int, found: Mapping[str, float], planned: bool) -> None:
        """Rows without a picture (or plan) all have the one value that the metric's card gives them."""
        for metric, value in found.items():
            step = metric in STEPWISE
            if planned and (step or metric in TEXT_METRICS):
                continue
            wanted, line = (0.0, 0) if step else self._failed.setdefault(metric, (value, number))
            if value != wanted:
                told = f"{value:g} for a failed row" + (f", {wanted:g} in line {line}" if line else "")
                self._tell(number, metric, told, "failed rows score what the metric's card says")
