"""A predictions file as a system: plans made elsewhere, one row per item.

CSV: the columns of `raw.COLUMNS`, separated by commas, semicolons or tabs, `ranking` as `a|b|c`.
JSONL: an object a line, `{"id": ..., "prompt": ..., "model": ..., "arguments": {...}}`, arguments nested or flat.
The `plans.jsonl` of a finished run is read as well.

What makes the file as a whole doubtful refuses it: bytes or JSON that cannot be read, a missing or unknown column,
an id that is absent, unknown or given twice.  What is wrong with one row fails that row, with line and column in the
reason: an unknown model, text in a number, a value out of bounds, an oversize cell.  An item without a row fails too,
so that nothing leaves the denominator.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import PlanError, PredictionsError, UnknownNameError, shorten
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Item, Plan
from chatgenbench.systems.guard import Fitting, first_problem, one_line
from chatgenbench.systems.predictions.cells import UnreadableError
from chatgenbench.systems.predictions.objects import json_rows
from chatgenbench.systems.predictions.raw import Problems, Raw
from chatgenbench.systems.predictions.table import csv_rows

READERS = {".csv": csv_rows, ".jsonl": json_rows}
SUFFIXES = tuple(READERS)
log = logging.getLogger(__name__)


class Predictions:
    """Answers each input with the file's row of that id.  `name` is the file's stem, `revision` its sha256.

    Raises:
        PredictionsError: on construction, for a file that cannot be used; several problems are listed at once.
    """

    runs_here = False

    def __init__(self, path: Path, benchmark: Benchmark) -> None:
        self.name = path.stem
        self._path = path
        self._column = "column" if path.suffix.lower() == ".csv" else "key"
        self._ids = benchmark.by_id
        self._fitting = Fitting(benchmark.catalog)
        self._problems = Problems(str(path))
        self._lines: dict[str, int] = {}
        self._answers: dict[str, Plan | Failure] = {}
        self.revision = self._load()

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan | Failure]:
        for chat in inputs:
            answer = self._answers.get(chat.id)
            yield answer or Failure(reason=one_line(f"{self._path.name} has no row with id '{chat.id}'"))

    def tell_missing(self, items: Sequence[Item]) -> None:
        """Warn, before anything is drawn, of those of the asked `items` that have no row."""
        missing = [item.id for item in items if item.id not in self._lines]
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            counts = f"{len(missing)} of {len(items)} items ({some})"
            log.warning("%s has no row for %s: they end as system-failed; give each a row", self._path.name, counts)

    def _load(self) -> str:
        """Read the file; return its sha256."""
        if not self._path.is_file():
            reason = "a folder, not a file" if self._path.is_dir() else "no such file"
            raise PredictionsError(f"{self._path}: {reason}")
        try:
            with self._path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                self._read(file)
        except OSError as error:
            raise PredictionsError(f"{self._path}: cannot be read ({error.strerror})") from None
        self._problems.raise_if_any()
        return digest

    def _read(self, file: BinaryIO) -> None:
        empty = True
        try:
            for raw in READERS[self._path.suffix.lower()](file, self._problems):
                empty = False
                self._add(raw)
        except UnreadableError as error:
            self._problems.add(str(error))
            return
        if empty and not self._problems:
            self._problems.add("no rows: give one row per item")

    def _add(self, raw: Raw) -> None:
        """Keep a row, or note why its id refuses the file."""
        key = raw.id if raw.id in self._ids else raw.id.strip()
        if not key:
            self._problems.add(f"line {raw.line}: no id: every row starts with the id of its item")
        elif key not in self._ids:
            self._problems.add(lambda: f"line {raw.line}: {UnknownNameError('id', key, self._ids)}")
        elif key in self._lines:
            shown = shorten(key, 80)
            self._problems.add(f"lines {self._lines[key]} and {raw.line}: both have the id '{shown}': keep one")
        else:
            self._lines[key] = raw.line
            self._answers[key] = self._answer(raw)

    def _answer(self, raw: Raw) -> Plan | Failure:
        where = f"{shorten(self._path.name, 80)}, line {raw.line}"
        plan: Plan | None = None
        try:
            fields = raw.read()
            if isinstance(fields, Failure):
                return fields
            plan = Plan.model_validate(fields)
            return self._fitting.fit(plan)
        except ValidationError as error:
            return Failure(reason=one_line(f"{where}, {self._column} {first_problem(error)}"))
        except PlanError as error:
            # a plan that does not fit the catalog fails by its model
            place = where if plan is None else f"{where}, {self._column} model"
            return Failure(reason=one_line(f"{place}: {error}"))
