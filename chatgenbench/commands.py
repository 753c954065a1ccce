"""What each command of the CLI does, as plain functions: load, run the stages, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError, RunFolderError, SystemGoneError, UserError, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from chatgenbench.evaluate.pipeline import Finished
    from chatgenbench.evaluate.run import ExecutorName, Settings, TextSource
    from chatgenbench.render import Pool
    from chatgenbench.systems import Options, System


@dataclass(frozen=True)
class Request:
    """The options of `chatgenbench eval`."""

    systems: tuple[str, ...]
    benchmark: str
    out: Path
    limit: int | None
    text: TextSource
    seed: int
    batch_size: int
    device: str
    pool: str | None
    weights: str | None
    metrics: tuple[str, ...]
    dry_run: bool
    draw: bool = True
    ladder: bool = False
    certify: int | None = None
    executor: ExecutorName = "inline"
    workers: int | None = None
    bases: tuple[str, ...] = ()
    weights_budget: str | None = None
    options: Options | None = None
    ray_address: str | None = None

    def settings(self, system: str) -> Settings:
        """What one system's run is asked for."""
        from chatgenbench.evaluate.run import Settings
        from chatgenbench.render.bases import choices
        from chatgenbench.systems import Prices

        prices = self.options.prices if self.options is not None else Prices()
        return Settings(
            benchmark=self.benchmark, system=system, seed=self.seed, text=self.text, weights=self.weights,
            limit=self.limit, batch_size=self.batch_size, device=self.device, metrics=self.metrics,
            draw=self.draw, executor=self.executor, workers=self.workers, price_in=prices.tokens_in,
            price_out=prices.tokens_out, price_device=prices.device_hour, bases=choices(self.bases),
            ray_address=self.ray_address or "auto",
        )  # fmt: skip


class Bars:
    """Rich progress: one bar a stage or metric, made when its first tick comes."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        short = prefix if len(prefix) <= 30 else f"{prefix[:14]}…{prefix[-15:]}"  # so that the times have room
        self.progress, self.prefix = progress, visible(short)
        self._tasks: dict[str, Any] = {}

    def tick(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(f"{self.prefix} · {name}", total=total)
        self.progress.update(self._tasks[name], completed=done, total=total)


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield progress


def run_eval(request: Request, console: Console) -> bool:
    """Evaluate every system and print the table; True if a run is incomplete."""
    if request.executor != "inline" and not pool_of(request).shared:
        raise UserError(f"--pool {request.pool} lives in one process: use --executor inline, or another pool")
    if request.workers is not None and request.executor == "inline":
        raise UserError("--workers counts the processes of --executor local or ray: give both, or neither")
    if request.ray_address is not None and request.executor != "ray":
        raise UserError("--ray-address says where --executor ray draws: give both, or neither")
    from chatgenbench.systems import Predictions

    benchmark = load_benchmark(request.benchmark)
    _check_weights(request, benchmark)
    request = _without_pictures(request, benchmark, console)
    folders = run_folders(request)
    systems, gone = _resolved(request, benchmark, folders)
    for error in gone:
        sys.stderr.write(f"incomplete: {error}\n")
    for system in systems.values():
        if isinstance(system, Predictions):
            system.tell_missing(benchmark.subset(request.limit))
    if request.dry_run:
        from chatgenbench.dry_run import explain

        explain(request, benchmark, systems, folders, console)
        return False
    finished, refused, waiting = [], [], bool(gone)
    for spec, system in systems.items():
        try:
            run = _one(spec, system, request, benchmark, folders[spec], console)
            finished.append(run)
            if request.ladder:
                waiting |= not _climb(spec, run, request, benchmark, console)
            if request.certify:
                waiting |= not _certify(spec, run, request, benchmark, console)
        except UserError as error:  # the others still get their rows and pages
            refused.append(f"{spec}: {error}")
        except SystemGoneError as error:
            waiting = True
            sys.stderr.write(f"incomplete: {error}\n")
    if finished:
        _report(finished, benchmark, request.out if len(request.systems) > 1 else None, console)
    if refused:
        raise UserError(
            "; ".join(refused) if len(request.systems) > 1 else refused[0].removeprefix(f"{request.systems[0]}: ")
        )
    return waiting or any(run.incomplete for run in finished)


def _resolved(
    request: Request, benchmark: Benchmark, folders: dict[str, Path]
) -> tuple[dict[str, System], list[SystemGoneError]]:
    """Every system that can be asked or has answered all it would be asked, and what is said of the others.

    Raises:
        SystemGoneError: there is not one of the first kind.
    """
    from chatgenbench.evaluate.recorded import recorded
    from chatgenbench.systems import Options, resolve

    found: dict[str, System] = {}
    gone = []
    for spec in request.systems:
        try:
            found[spec] = resolve(spec, benchmark, request.seed, request.options or Options())
        except SystemGoneError as error:
            answered = recorded(folders[spec], spec, benchmark.subset(request.limit))
            if answered is None:
                gone.append(error)
                continue
            sys.stderr.write(f"{spec} is not there, and has answered every row already: the run goes on without it\n")
            found[spec] = answered
    if not found:
        raise gone[0]
    return found, gone


def _check_weights(request: Request, benchmark: Benchmark) -> None:
    """See that what was typed of bases and budget can be meant; the budget holds for every process begun from here."""
    from chatgenbench.render.bases import choices, with_bases
    from chatgenbench.render.resolver import BUDGET, Fetching, bytes_of

    if request.weights_budget is not None:
        bytes_of(request.weights_budget)
        os.environ[BUDGET] = request.weights_budget
    Fetching.of_environment()
    with_bases(benchmark, dict(choices(request.bases)))


def _climb(spec: str, run: Finished, request: Request, benchmark: Benchmark, console: Console) -> bool:
    """Draw and score the run's oracle ladder; False, and a line, if it has to be continued."""
    from chatgenbench.evaluate.ladder import climb
    from chatgenbench.quiet import quiet

    try:
        with quiet(), bars(console) as progress:
            climb(run, request.settings(spec), benchmark, pool_of(request), Bars(progress, f"{spec} · ladder"))
    except InfraError as error:
        console.print(f"{spec}: {error}", highlight=False, markup=False, soft_wrap=True)
        return False
    return True


def _certify(spec: str, run: Finished, request: Request, benchmark: Benchmark, console: Console) -> bool:
    """Draw some rows again at another batch size and say what moved; False, and a line, if it has to be continued."""
    from chatgenbench.evaluate.certify import certify
    from chatgenbench.quiet import quiet
    from chatgenbench.report.notes import certificate

    try:
        with quiet(), bars(console) as progress:
            run = certify(
                run, request.settings(spec), benchmark, pool_of(request), Bars(progress, spec), request.certify or 1
            )
    except InfraError as error:
        console.print(f"{spec}: {error}", highlight=False, markup=False, soft_wrap=True)
        return False
    console.print(f"{spec}: {certificate(run.summary)}", highlight=False, markup=False, soft_wrap=True)
    return True


def _without_pictures(request: Request, benchmark: Benchmark, console: Console) -> Request:
    """The request with `draw` off, and a line that says so, where the benchmark has no pictures."""
    from chatgenbench.evaluate.pipeline import refuse_metrics

    bare = not benchmark.manifest.pictures
    refuse_metrics(request.draw and not bare, request.metrics, benchmark)
    if request.certify and (bare or not request.draw):
        raise UserError("--certify draws pictures again, and this run has none: leave it out")
    if request.draw and bare:
        line = f"{benchmark.manifest.name} has no pictures: nothing is drawn, only the plans are scored"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return replace(request, draw=request.draw and not bare)


def run_folders(request: Request) -> dict[str, Path]:
    """spec -> its run folder: `--out` itself for one system, a folder each inside it for several."""
    if len(set(request.systems)) != len(request.systems):
        raise UserError("the same --system was given twice: name each once")
    if len(request.systems) == 1:
        return {request.systems[0]: request.out}
    if (request.out / "run.json").exists():
        raise RunFolderError(f"{request.out} holds a single run: choose another --out for several systems")
    names = {spec: _folder_name(spec) for spec in request.systems}
    if len(set(names.values())) != len(names):
        raise UserError("two systems would share a folder: evaluate them one at a time with an --out each")
    return {spec: request.out / name for spec, name in names.items()}


def _folder_name(spec: str) -> str:
    stem = Path(spec).stem if Path(spec).suffix in (".csv", ".jsonl") else spec
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem)


def pool_of(request: Request) -> Pool:
    """The pool that a run of this request draws into."""
    from chatgenbench.home import home
    from chatgenbench.render import Pool

    return Pool(request.pool or home() / "pool")


def _one(spec: str, system: System, request: Request, benchmark: Benchmark, folder: Path, console: Console) -> Finished:
    from chatgenbench.evaluate.pipeline import evaluate
    from chatgenbench.quiet import quiet

    with quiet(), bars(console) as progress:
        bar = Bars(progress, spec)
        return evaluate(folder, request.settings(spec), benchmark, system, pool_of(request), bar)


def _report(finished: list[Finished], benchmark: Benchmark, together: Path | None, console: Console) -> None:
    from chatgenbench.report import print_table, write_comparison, write_report

    for run in finished:
        write_report(run.folder, benchmark, _pool_drawn(run).picture)
    print_table([(run.summary["run"]["system"], run.summary) for run in finished], console)
    pages = [run.folder.report for run in finished]
    if together is not None:
        page = together / "comparison.html"
        write_comparison(
            [run.folder for run in finished], benchmark, [_pool_drawn(run).picture for run in finished], page
        )
        pages = [page, *pages]
    for page in pages:
        console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)


def _pool_drawn(run: Finished) -> Pool:
    """The pool a run drew into; a run without pictures names none and asks for none."""
    from chatgenbench.render import Pool

    return Pool(run.folder.read_manifest().get("pool", run.folder.path))


def run_report(run: Path, benchmark: str, markdown: bool, console: Console) -> None:
    """Pages and table of what is on disk already."""
    from chatgenbench.evaluate.pipeline import read_finished

    loaded = load_benchmark(benchmark)
    if (run / "run.json").exists():
        folders, together = [run], None
    else:
        folders, together = sorted(p.parent for p in run.glob("*/run.json")), run
    if not folders:
        raise RunFolderError(f"{run} holds no run: give the --out folder of an eval command")
    folders.sort(key=_started)
    finished, unfinished = [], []
    for folder in folders:
        try:
            finished.append(read_finished(folder, loaded))
        except InfraError as error:
            unfinished.append(error)
    if not finished:
        raise unfinished[0]
    for trouble in unfinished:
        sys.stderr.write(f"left out: {trouble}\n")
    if markdown:
        from chatgenbench.report import markdown_table

        print(markdown_table([(f.summary["run"]["system"], f.summary) for f in finished]))
        return
    _report(finished, loaded, together, console)


def _started(folder: Path) -> tuple[str, str]:
    """When a run was started, as its manifest says: the order in which `eval` shows them."""
    from chatgenbench.evaluate.run import RunFolder

    return str(RunFolder(folder).read_manifest().get("created", "")), folder.name


def list_models(benchmark: str, console: Console) -> None:
    loaded = load_benchmark(benchmark)
    rows = [(r.id, r.type, r.base_model, " ".join(r.trigger_words), r.description) for r in loaded.catalog]
    print_rows(console, f"Models of {loaded.manifest.name} ({loaded.manifest.label})",
           ("id", "type", "base model", "trigger", "description"), rows)  # fmt: skip


def list_samplers(console: Console) -> None:
    from chatgenbench.render import known, resolve

    samplers = [resolve(name) for name in known()]
    rows = [(s.name, s.scheduler, "exact" if s.exact else str(s.note).removeprefix(f"{s.name}: ")) for s in samplers]
    print_rows(console, "Samplers", ("name", "drawn with", "how"), rows)


def list_metrics(name: str | None, console: Console) -> None:
    import t2imetrics

    if name is not None:
        try:
            console.print(t2imetrics.card_text(name), highlight=False, markup=False)
        except t2imetrics.errors.MetricError as error:
            raise UserError(str(error)) from None
        return
    rows = []
    for metric in t2imetrics.list():
        card = t2imetrics.card(metric)
        limit = "" if card.text_limit is None else f"{card.text_limit} tokens"
        rows.append((metric, card.title, "higher" if card.higher_is_better else "lower", card.unit, limit))
    print_rows(console, "Metrics", ("name", "title", "better", "unit", "text limit"), rows)


def run_selftest(weights: str, metrics: list[str] | None, device: str, console: Console) -> bool:
    """Print every check of the self-test; False if one failed."""
    import t2imetrics
    from t2imetrics import selftest

    from chatgenbench.evaluate.pipeline import pick_device
    from chatgenbench.quiet import quiet

    device = pick_device(device)
    if weights not in ("published", "miniature") and not Path(weights).is_dir():
        raise UserError(f"--weights '{weights}': choose published, miniature or a folder that is there")
    try:
        with quiet():
            checks = selftest.run(metrics, weights, device)
    except t2imetrics.errors.MetricError as error:
        raise UserError(str(error)) from None
    print_rows(console, "Self-test", ("check", "of", "state", "detail"),
           [(check.name, check.what, check.state, check.detail) for check in checks])  # fmt: skip
    failed = sum(not check.ok for check in checks)
    skipped = sum(check.state == "skipped" for check in checks)
    counts = f"{len(checks) - failed - skipped} checks passed, {failed} failed, {skipped} skipped"
    console.print(counts, style="red" if failed else "green")
    return not failed


def print_rows(console: Console, title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(visible(title)))
    for i, name in enumerate(head):  # the first column is what people copy: never cut
        table.add_column(name, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    console.print(table)
