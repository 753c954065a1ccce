"""Submissions of made-up runs: written by the very functions that write real ones, only their scores are invented."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from t2imetrics.unified import PARTS, unified

from chatgenbench.benchmark import Benchmark
from chatgenbench.leaderboard import keys
from chatgenbench.leaderboard.board import Board
from chatgenbench.leaderboard.check import check
from chatgenbench.leaderboard.manifest import CSV, MANIFEST, Cost, Manifest, Who
from chatgenbench.leaderboard.problems import Problem
from chatgenbench.leaderboard.submit import submit
from chatgenbench.render.pool import Pool
from chatgenbench.report.data import read_run
from chatgenbench.schema import Failure, Item, Outcome, Plan
from tests.report import report_world as world

CREATED = "2026-01-02"


@dataclass(frozen=True)
class Shop:
    """A benchmark with what is needed to submit runs of it."""

    root: Path
    benchmark: Benchmark
    pool: Pool
    key: Ed25519PrivateKey
    maintainer: Ed25519PrivateKey

    def submission(
        self, name: str, answer: world.Answer = world.gold_answer, seed: int = 0, revision: str = "1",
        key: Ed25519PrivateKey | None = None, cost: Cost | None = None, **who: Any,
    ) -> Path:  # fmt: skip
        """The folder of a new run's submission."""
        place = f"{len(list(self.root.glob('runs/*')))}-{keys_safe(name)}-{keys_safe(revision)}"
        run = world.write_run(self.root / "runs" / place, self.benchmark, self.pool, name, answer, seed=seed)
        told = {"authors": ("Ada",), "licence": "MIT", "training_data": "nothing", **who}
        return submit(
            read_run(run, self.benchmark, self.pool.path), self.benchmark, Who(name=name, revision=revision, **told),
            cost or Cost(), key or self.key, self.root / "sent" / place, CREATED,
        )  # fmt: skip

    def board(self, *folders: Path) -> Board:
        """A new board with these submissions and one maintainer."""
        root = self.root / f"board-{len(list(self.root.glob('board-*')))}"
        root.mkdir()
        public = keys.public_of(self.maintainer)
        (root / "maintainers.txt").write_text(f"# those whose word counts\n{public}  # the first\n")
        board = Board(root)
        for folder in folders:
            board.add(folder)
        return board


def make_shop(root: Path, pairs: int = 6) -> Shop:
    root.mkdir(parents=True, exist_ok=True)
    made = [Ed25519PrivateKey.generate() for _ in range(2)]
    return Shop(root, world.write_benchmark(root / "benchmark", pairs), Pool(root / "pool"), *made)


def keys_safe(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:10]


def weak(item: Item, gold: Plan) -> Plan | Failure:
    """Fails on one item, is refused on another, and writes another plan for the rest."""
    if item.id == "i0-single":
        return Failure(reason="answer is not JSON")
    if item.id == "i1-single":
        return Failure(outcome=Outcome.BLOCKED, reason="refused by the endpoint")
    arguments = gold.arguments.model_copy(update={"steps": 99})
    return gold.model_copy(update={"prompt": f"other {gold.prompt}", "arguments": arguments})


# ------------------------------------------------------------------ changing a submission as an attacker would


def read_cells(folder: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO((folder / CSV).read_text("utf-8"))))


def column(cells: list[list[str]], name: str) -> int:
    return cells[0].index(name)


def write_cells(folder: Path, cells: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(cells)
    (folder / CSV).write_bytes(out.getvalue().encode("utf-8", "surrogatepass"))


def set_cell(folder: Path, row: int, name: str, value: str) -> None:
    """Write `value` into the column `name` of the row-th line (the header is line 1)."""
    cells = read_cells(folder)
    cells[row - 1][column(cells, name)] = value
    write_cells(folder, cells)


def resign(folder: Path, key: Ed25519PrivateKey, edit: Callable[[dict[str, Any]], None] = lambda told: None) -> None:
    """Sign the folder anew as its owner can: with the hash of the CSV that is there, and `edit`ed claims."""
    data = (folder / CSV).read_bytes()
    told = json.loads((folder / MANIFEST).read_text("utf-8"))
    told["table"] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    edit(told)
    signed = keys.sign(Manifest.model_validate_json(json.dumps(told)), key)
    (folder / MANIFEST).write_text(signed.model_dump_json(indent=1) + "\n", "utf-8")


def claim_means(folder: Path) -> Callable[[dict[str, Any]], None]:
    """An edit that makes the manifest's means those of the rows, as a careful cheat would."""
    cells = read_cells(folder)
    ids = [row[0] for row in cells[1:]]

    def edit(told: dict[str, Any]) -> None:
        for name, claim in told["metrics"].items():
            if name in cells[0]:
                values = [float(row[column(cells, name)]) for row in cells[1:]]
                claim["value"] = sum(values) / len(ids)
        follow(told["metrics"])
        told["slices"] = {}

    return edit


def follow(metrics: dict[str, Any]) -> None:
    """Let the unified score follow from what is claimed beside it, as a careful cheat would."""
    wanted = unified(*(metrics[part]["value"] for part in PARTS))
    metrics["unified"] |= {"value": wanted, "low": wanted - 1, "high": wanted + 1}


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest without signing it anew."""
    told = json.loads((folder / MANIFEST).read_text("utf-8"))
    edit(told)
    (folder / MANIFEST).write_text(json.dumps(told), "utf-8")


def problems_of(folder: Path, shop: Shop, **more: Any) -> list[Problem]:
    return check(folder, shop.benchmark, **more)


def has(found: list[Problem], file: str, line: int | None, name: str | None, what: str) -> bool:
    """Whether a problem is told at this very place, in these words."""
    return any(
        p.file == file and p.line == line and p.column == name and what in p.what for p in found
    )  # fmt: skip
