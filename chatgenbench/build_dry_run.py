"""`build --dry-run`: what would be fetched and asked, and what that costs, from what is on the disk already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.build.forecast import Forecast
    from chatgenbench.build_commands import Request

#: Tokens of the request for one chat: a stated rule, used as long as no record is there to be counted.
TYPICAL_REQUEST = 400

Row = tuple[str, str, str]


def explain(request: Request, stages: Any, ending: Any, fetch: Forecast | None, console: Console) -> None:
    """Print every number with its basis; nobody is asked anything.

    `stages` ran as far as it gets without the network, or is None where nothing is stored yet; `ending` is None unless
    that was to the end; `fetch` is None for a source that needs no network.
    """
    from rich.table import Table

    table = Table("what", "how much", "basis", title="Dry run: nothing was fetched, nobody was asked")
    rows: list[Row] = [] if fetch is None else _collecting(request, fetch)
    missing = stages.pictures_missing() if stages is not None else None
    if missing is not None:
        rows.append(("pictures to download", f"{missing:,}", "filtered records without one"))
    for what, value, why in (*rows, *_role_play(request, ending, fetch)):
        table.add_row(what, value, why)
    console.print(table)


def _collecting(request: Request, fetch: Forecast) -> list[Row]:
    from chatgenbench.build.forecast import PICTURE_BYTES, VERSIONS_A_MODEL

    stored = ("answers stored already", f"{fetch.stored:,}", f"{request.out}/raw")
    if fetch.whole:
        return [stored, ("requests to the API", "none", "all of it is stored")]
    low, high = (None if bound is None else max(0, bound - fetch.stored) for bound in fetch.requests)
    versions = f"1 to {VERSIONS_A_MODEL} versions a model" if fetch.versions is None else f"{fetch.versions:,} versions"
    unbound = "no bound: give --max-models"
    rate = request.requests_per_second
    most = f"at most {_time(high / rate)}" if high is not None else unbound
    asked = f"{low:,} to {high:,}" if high is not None else f"{low:,} or more; {unbound}"
    found: list[Row] = [
        stored,
        ("requests to the API", asked, versions),
        ("time for them", most, f"--requests-per-second {rate:g}"),
    ]
    if fetch.pictures is None:
        return [*found, ("pictures", "no bound: give --max-images", "--max-models, --max-images, --images-per-model")]
    size = fetch.pictures * PICTURE_BYTES / 1e9
    return [
        *found,
        ("pictures", f"at most {fetch.pictures:,}", "--max-models, --max-images, --images-per-model"),
        ("disk for them", f"at most {size:,.1f} GB", f"{PICTURE_BYTES / 1e6:g} MB a picture"),
    ]


def _role_play(request: Request, ending: Any, fetch: Forecast | None) -> list[Row]:
    from chatgenbench.build.play.run import ATTEMPTS, TYPICAL_ANSWER
    from chatgenbench.remote.endpoint import Endpoint, cost_of

    endpoint = Endpoint("", request.llm_model or "", request.llm_price_in, request.llm_price_out)
    if ending is not None:
        guess, chats, counted = ending.estimate(endpoint), len(ending.tasks()), "the split records"
        calls, read, written, usd = guess.requests, guess.tokens_in, guess.tokens_out, guess.usd
    else:
        pictures = fetch.pictures if fetch is not None else None
        if pictures is None and request.max_items is None:
            return [("freestyle inputs", "no bound: give --max-images or --max-items", "one each for test records")]
        share = 1.0 if request.with_train else request.test_share
        bounds = [request.max_items] if request.max_items is not None else []
        bounds += [round(pictures * share * request.inputs)] if pictures is not None else []
        chats, counted = min(bounds), "--max-items, --test-share, --inputs"
        each = 2 if (request.facts or "llm") == "llm" and request.llm_model != "local" else 1
        calls = (chats * each, ATTEMPTS * chats * each)
        read = tuple(TYPICAL_REQUEST * number for number in calls)
        written = tuple(TYPICAL_ANSWER * number for number in calls)
        usd = tuple(cost_of(i, o, endpoint) for i, o in zip(read, written, strict=True))
    most = "" if ending is not None else "at most "
    rows: list[Row] = [("freestyle inputs", f"{most}{chats:,}", counted)]
    for name, pair, why in (
        ("requests to the language model", calls, f"every first try accepted, or {ATTEMPTS} tries each"),
        ("tokens read", read, "4 characters a token" if ending is not None else f"{TYPICAL_REQUEST} a request"),
        ("tokens written", written, f"{TYPICAL_ANSWER} an answer"),
    ):
        rows.append((name, f"{pair[0]:,} to {pair[1]:,}", why))
    if request.llm_price_in or request.llm_price_out:
        return [*rows, ("cost", f"{usd[0]:,.2f} to {usd[1]:,.2f} USD", "--llm-price-in, --llm-price-out")]
    if request.llm_model == "local":
        return [*rows, ("cost", "none", "the model runs on this machine")]
    return [*rows, ("cost", "unknown", "give --llm-price-in and --llm-price-out (USD per million tokens)")]


def _time(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:,.0f} min" if seconds >= 90 else f"{seconds:,.0f} s"
