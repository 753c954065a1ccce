"""What `chatgenbench build` and its subcommands do, as plain functions: load, run the stages, print."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chatgenbench.build_checks import LOCAL, check
from chatgenbench.dates import today
from chatgenbench.errors import UserError
from chatgenbench.remote.address import bare

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.build.collect import Query
    from chatgenbench.build.settings import Settings

#: Hosts on this machine need no token: a mirror of one's own, a replay.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Request:
    """The options of `chatgenbench build`; see the help of each."""

    out: Path
    source: str
    max_models: int | None
    max_images: int | None
    images_per_model: int
    period: str
    base_models: tuple[str, ...]
    nsfw: str
    min_reactions: int
    blocklist: Path | None
    removals: Path | None
    api: str
    requests_per_second: float
    llm_base_url: str
    llm_model: str | None
    llm_price_in: float
    llm_price_out: float
    budget: float | None
    inputs: int
    max_items: int | None
    with_train: bool
    facts: str | None
    test_share: float
    few_shot_threshold: int
    seed: int
    name: str
    contact: str
    form: str
    push_to_hub: str | None
    skip_unanswered: bool
    dry_run: bool


def token_for(api: str) -> str | None:
    """The hub's token from the environment.

    Raises:
        UserError: the API's terms ask for one's own credentials, and there are none.
    """
    token = os.environ.get("CIVITAI_API_TOKEN") or None
    if token is None and urlsplit(api).hostname not in LOOPBACK:
        raise UserError("no token: put your own in $CIVITAI_API_TOKEN (civitai.com, account settings, API keys)")
    return token


def print_funnel(funnel: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """One row a stage: how many came in, how many stayed, and where the others went."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Funnel")
    table.add_column("stage", no_wrap=True)
    for name in ("in", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("dropped", overflow="fold")
    for stage, counts in funnel.items():
        reasons = sorted(counts["dropped"].items(), key=lambda pair: (-pair[1], pair[0]))
        dropped = ", ".join(f"{reason} {number:,}" for reason, number in reasons)
        table.add_row(stage, f"{counts['seen']:,}", f"{counts['kept']:,}", Text(dropped))
    console.print(table)


def run_build(request: Request, console: Console) -> None:
    """Do whatever stage is not done yet, and say where the dataset is."""
    _need_extra()
    from chatgenbench.build.finish import Ending
    from chatgenbench.build.pipeline import Stages
    from chatgenbench.build.workspace import Workspace
    from chatgenbench.quiet import quiet

    check(request)
    workspace = Workspace(request.out)
    settings, play = _settings(request), _play(request)
    if request.dry_run:
        _dry_run(request, workspace, settings, play, console)
        return
    with workspace.lock(), _bars(console) as progress:
        created = _remember(workspace, request)
        settings = replace(settings, removals=settings.removals.resolved(workspace.salt))
        source = _source(request, workspace, progress)
        private, skip = _is_loopback(request.api), request.skip_unanswered
        funnel = Stages(workspace, source, settings, progress, private, skip).run()
        ending = Ending(workspace, source, settings, play, progress)
        try:
            ending.tasks()
        except UserError:
            progress.stop()
            print_funnel(funnel, console)
            raise
        with quiet(), _language_model(request, ending) as endpoint:
            funnel["roleplay"] = ending.roleplay(endpoint, request.skip_unanswered)
        edition = _edition(request, created)
        funnel, report = ending.publish(edition, funnel)
    _tell(workspace, funnel, report, console)
    if request.push_to_hub is not None:
        from chatgenbench.build.publish import push

        _say(console, f"published: {push(workspace.dataset, request.push_to_hub)}")


def _need_extra() -> None:
    """The builder's libraries are an extra: say how to get them instead of a traceback."""
    import importlib.util

    needed = ("anyio", "httpcore", "httpx", "imagehash", "mlcroissant", "onnxruntime", "orjson", "py3langid")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the builder needs {', '.join(missing)}: type pip install '.[build]' in the project's folder")


def _settings(request: Request) -> Settings:
    from chatgenbench.build.filters import Limits
    from chatgenbench.build.settings import Settings
    from chatgenbench.build.split import SplitSettings

    source: Any = request.source
    return Settings(
        source=source, limits=Limits(min_reactions=request.min_reactions, blocklist=_blocked(request)),
        split=SplitSettings(request.seed, request.test_share, request.few_shot_threshold),
        removals=_removals(request.removals),
    )  # fmt: skip


def _blocked(request: Request) -> tuple[str, ...]:
    from chatgenbench.build.words import read_blocklist

    return read_blocklist(request.blocklist) if request.blocklist else ()


def _removals(path: Path | None) -> Any:
    from chatgenbench.build.removals import Removals

    return Removals.load(path) if path else Removals()


def _play(request: Request) -> Any:
    from chatgenbench.build.play.gates import Gates
    from chatgenbench.build.play.run import Play

    facts: Any = request.facts or ("words" if request.llm_model == LOCAL else "llm")
    gates = Gates(facts=facts, blocklist=_blocked(request))
    return Play(request.seed, request.inputs, request.max_items, request.with_train, gates)


def _remember(workspace: Any, request: Request) -> str:
    """Write what was asked for (no secret is among it); the date of the first time is the build's date."""
    import json

    from chatgenbench.build.workspace import pretty, write_whole

    try:
        created = str(json.loads(workspace.manifest.read_text("utf-8"))["created"])
    except (OSError, ValueError, TypeError, KeyError):
        created = today().isoformat()
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(request).items()}
    asked["llm_base_url"] = bare(request.llm_base_url) if request.llm_model not in (None, LOCAL) else ""
    write_whole(workspace.manifest, pretty({"created": created, "asked": asked}))
    return created


def _is_loopback(address: str) -> bool:
    return urlsplit(address).hostname in LOOPBACK


def _source(request: Request, workspace: Any, progress: Any) -> Any:
    from chatgenbench.build.sources import Bundled, Civitai

    if request.source == "bundled":
        return Bundled()
    from chatgenbench.build.collect import collect
    from chatgenbench.build.funnel import Count
    from chatgenbench.build.store import RawStore

    store, query = RawStore(workspace.raw), _query(request)
    collect(store, query, Count(), progress.tick, token_for(request.api), skip=request.skip_unanswered)
    return Civitai(store, query, workspace.salt)


def _query(request: Request) -> Query:
    from chatgenbench.build.collect import Query

    return Query(
        base_url=request.api, max_models=request.max_models, max_images=request.max_images, period=request.period,
        base_models=request.base_models, nsfw=request.nsfw, images_per_model=request.images_per_model,
        requests_per_second=request.requests_per_second,
    )  # fmt: skip


def _dry_run(request: Request, workspace: Any, settings: Settings, play: Any, console: Console) -> None:
    """Go as far as what is on the disk allows, and tell what the rest would take."""
    from chatgenbench.build.finish import Ending
    from chatgenbench.build.forecast import forecast
    from chatgenbench.build.pipeline import Stages
    from chatgenbench.build.sources import Bundled, Civitai
    from chatgenbench.build.store import RawStore
    from chatgenbench.build_dry_run import explain

    fetch = stages = ending = None
    with workspace.lock(), _bars(console) as progress:
        settings = replace(settings, removals=settings.removals.resolved(workspace.salt))
        source: Any = Bundled()
        if request.source != "bundled":
            store, query = RawStore(workspace.raw), _query(request)
            fetch, source = forecast(store, query), Civitai(store, query, workspace.salt)
        if fetch is None or fetch.whole:
            stages = Stages(workspace, source, settings, progress, skip=request.skip_unanswered)
            funnel = stages.run_offline()
            ending = Ending(workspace, source, settings, play, progress) if "split" in funnel else None
        progress.stop()
        if stages is not None:
            print_funnel(funnel, console)
        explain(request, stages, ending, fetch, console)


@contextmanager
def _language_model(request: Request, ending: Any) -> Iterator[Any]:
    """The endpoint; the local model is served only while somebody has something to ask."""
    from chatgenbench.remote.endpoint import Endpoint
    from chatgenbench.remote.local import MODEL, server
    from chatgenbench.remote.pauses import patience

    if request.llm_model != LOCAL:
        yield Endpoint(
            request.llm_base_url, str(request.llm_model), request.llm_price_in, request.llm_price_out, request.budget,
            patience=patience(),
        )  # fmt: skip
    elif ending.played(MODEL, False, request.skip_unanswered):
        yield Endpoint("", MODEL, structured=False)
    else:
        with server() as address:
            yield Endpoint(
                address, MODEL, concurrency=1, max_tokens=60, temperature=0.5, frequency_penalty=0.6,
                structured=False,
            )  # fmt: skip


def _edition(request: Request, created: str) -> Any:
    from chatgenbench.build.finish import Edition

    form: Any = request.form
    # the bundled records are there to be tried offline, where no published weights can be had
    weights = "miniature" if request.source == "bundled" else "published"
    return Edition(request.name, created, request.contact, form, weights)


def _tell(workspace: Any, funnel: dict[str, Any], report: dict[str, Any], console: Console) -> None:
    from chatgenbench.benchmark import Manifest

    print_funnel(funnel, console)
    rows = ", ".join(f"{name} {number:,}" for name, number in report["rows"].items())
    console.print(f"demonstrations: {rows}; crossing splits: {report['leaks']}", highlight=False)
    for note in (*_given_up(funnel), *funnel["split"]["noted"]):
        console.print(f"note: {note}", style="yellow", highlight=False)
    _say(console, f"dataset: {workspace.dataset}")
    _say(console, f"card:    {workspace.dataset / 'README.md'}")
    ready = str(workspace.dataset)
    if not Manifest.model_validate_json((workspace.dataset / "benchmark.json").read_bytes()).hydrated:
        _say(console, f"first:   chatgenbench build hydrate {ready} --out FULL   (with your $CIVITAI_API_TOKEN)")
        ready = "FULL"
    _say(console, f"try it:  chatgenbench eval --system retrieval --benchmark {ready} --out RUN")


def _given_up(funnel: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What the build went on without (--skip-unanswered), if anything."""
    parse, parts = funnel["parse"]["noted"], []
    if "models-unanswered" in parse:
        parts.append("the list of models ends at a page that was never answered")
    if number := parse.get("unanswered"):
        lists = "1 list of pictures ends" if number == 1 else f"{number:,} lists of pictures end"
        parts.append(f"{lists} at a page that was never answered")
    if number := funnel["pictures"]["dropped"].get("picture-unanswered"):
        parts.append("1 picture was never answered" if number == 1 else f"{number:,} pictures were never answered")
    if number := funnel["roleplay"]["dropped"].get("unanswered"):
        parts.append(
            f"{'1 chat was' if number == 1 else f'{number:,} chats were'} never answered by the language model"
        )
    for part in parts:
        yield f"{part}; without --skip-unanswered this is asked for again"


def _say(console: Console, line: str) -> None:
    """Print a line as it is: no path in it is taken for markup, and none is broken in two."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


class Bars:
    """Rich progress: one bar a stage; a stage whose end nobody knows shows how many and how fast."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def tick(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def stop(self) -> None:
        self._progress.stop()


@contextmanager
def _bars(console: Console) -> Iterator[Bars]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def run_hydrate(
    folder: Path, out: Path, api: str, pace: float, removals: Path | None, skip: bool, console: Console
) -> None:
    """Bring back what a release leaves out, with the reader's own token."""
    _need_extra()
    from chatgenbench.build.client import checked
    from chatgenbench.build.draft import check_free, real
    from chatgenbench.build.hydrate import hydrate
    from chatgenbench.build.refetch import Refetch

    checked(api)
    out = real(out)
    check_free(out)  # before anything is fetched
    if not str(folder).startswith("hf:") and not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a published dataset's, or hf:OWNER/NAME")
    listed = _removals(removals)
    with _bars(console) as progress:
        root = out.with_name(f"{out.name}.fetched")
        fetch = Refetch(root, api, token_for(api), progress.tick, _is_loopback(api), pace, skip)
        counts = hydrate(folder, out, fetch, root, listed)
    print_funnel({"hydrate": counts}, console)
    console.print(f"items: {counts['items']:,}, lost: {counts['items_lost']:,}", highlight=False)
    _say(console, f"dataset: {out} (what was fetched is kept in {root})")


def run_import(source: Path, out: Path, console: Console) -> None:
    """Read the paper's released layout into a benchmark folder."""
    _need_extra()
    from chatgenbench.build.authors import import_authors

    counts = import_authors(source, out)
    print_funnel({"import": counts}, console)
    _say(console, f"benchmark: {out}")
