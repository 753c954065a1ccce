"""Differences and votes as tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatgenbench.compare import fairness
from chatgenbench.compare.agreement import ENOUGH
from chatgenbench.compare.diff import sentences, view
from chatgenbench.compare.differences import Difference
from chatgenbench.compare.pairing import Match
from chatgenbench.report import notes, numbers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from chatgenbench.compare.results import Results
    from chatgenbench.compare.seeds import Spreads


def print_differences(match: Match, found: Sequence[Difference], console: Console) -> None:
    """The headline metrics, what makes the comparison unfair, and the stages at fault."""
    from rich.text import Text

    table = _table(_title(match), ("metric", "A", "B", "A - B", "p (Holm)", "A/B/equal", "verdict"))
    for line in [view(match, d) for d in found]:
        difference = Text.assemble(line["difference_text"], "\n", (line["interval"], "dim"))
        table.add_row(
            Text(f"{line['title']} {line['arrow']}"), line["a_text"], line["b_text"], difference, line["p_holm_text"],
            f"{line['a_better']}/{line['b_better']}/{line['equal']}", line["verdict"],
        )  # fmt: skip
    if found:
        console.print(table)
    about = f"{len(match.pairs)} shared rows, 95% intervals; rows: A better / B better / equal"
    _line(console, f"A: {match.names[0]}, B: {match.names[1]}; {about}", "dim")
    for text in fairness.unfair(*match.runs):
        _line(console, text, "bold red")
    _line(console, f"by {numbers.title(match.first, match.a.entry(match.first))}:")
    for text in sentences(match, match.first):
        _line(console, f"  {text}")


def print_results(found: Results, match: Match, console: Console) -> None:
    """Win rate, agreement with metrics and between voters, and position bias."""
    _line(console, f"{found['votes']} votes on {found['items']} items, {found['skipped']} skipped")
    if stale := found["on_other_pictures"]:
        _line(console, f"{stale} votes are not counted: they are on pictures that these runs no longer have", "yellow")
    console.print(_wins(found, match))
    console.print(_metrics(found, match))
    _line(console, _needs(len(set(match.clusters))), "dim")
    for text in (_between(found["between_voters"]), _position(found["position"])):
        _line(console, text)


def print_spread(found: Spreads, console: Console) -> None:
    """Where each metric's spread comes from, and what would shrink its error."""
    head = ("metric", "mean", "sd of items", "of seeds", "of the rest", "error now", "2x items", "2x seeds", "add")
    table = _table(f"{found.run.name}: {found.demonstrations} demonstrations, {len(found.seeds)} seeds", head)
    for one in found.found:
        sds = [math.sqrt(v) for v in (one.parts.item, one.parts.seed, one.parts.rest)]
        errors = (one.error, one.more_items, one.more_seeds)
        told = [f"{one.mean:.3g}", *(f"{value:.2g}" for value in (*sds, *errors))]  # fits 80 columns
        table.add_row(numbers.title(one.metric, found.run.entry(one.metric)), *told, one.add or "-")
    console.print(table)
    _line(console, "error: standard error of the mean if items and seeds were drawn anew; add -: nothing varies", "dim")
    few = len(found.seeds)
    if few < 5:
        _line(
            console, f"{few} seeds say little about seeds: their part is rough until there are five or more", "yellow"
        )


def _wins(found: Results, match: Match) -> Table:
    head = ("votes on", f"A wins ({match.names[0]})", f"B wins ({match.names[1]})", "ties", "win rate of A", "")
    table = _table(_title(match), head)
    for where, part in [("all", found["win_rate"]), *found["win_rate"]["slices"].items()]:
        counts = (str(part[k]) for k in ("a", "b", "ties"))
        table.add_row(where, *counts, _share(part), _verdict(part))
    return table


def _verdict(part: dict[str, Any]) -> str:
    if part["demonstrations_needed"]:
        return ""
    more = part["votes_to_tell"]
    if more == 0:
        return "A better" if part["value"] > 0.5 else "B better"
    return "even" if more is None else f"not told apart: about {more} more votes at this rate"


def _metrics(found: Results, match: Match) -> Table:
    shown = match.headline or match.metrics
    places = ["all", *found["win_rate"]["slices"]]
    table = _table("Votes that agree with a metric (of those where voter and metric choose a side)",
                   ("metric", *(where.partition("=")[2] or where for where in places), "metric ties"))  # fmt: skip
    for metric in shown:
        about = found["metrics"][metric]
        parts = [about, *(about["slices"][where] for where in places[1:])]
        title = numbers.title(metric, match.a.entry(metric))
        table.add_row(title, *map(_share, parts), str(about["metric_ties"]))
    return table


def _needs(there: int) -> str:
    text = f"needs N more: a share is printed from votes on {ENOUGH} demonstrations on, and N are missing"
    return text if there >= ENOUGH else f"{text}; these runs share only {there}: evaluate more rows"


def _share(part: dict[str, Any]) -> str:
    """A share with its interval, or how many more demonstrations with votes it takes."""
    if part["n"] == 0:
        return numbers.MISSING
    if needed := part["demonstrations_needed"]:
        return f"needs {needed} more"
    return f"{part['value']:.0%} [{part['low']:.0%}, {part['high']:.0%}]"


def _between(about: dict[str, Any]) -> str:
    if about["items_shared"] == 0:
        return "agreement between voters: unknown, as no item has votes of two voters"
    pairs = "; ".join(
        f"{' and '.join(p['voters'])}: {p['agreed']} of {p['items']} alike, kappa {_number(p['kappa'])}"
        for p in about["pairs"]
    )
    few = f" (rough: fewer than {ENOUGH} items)" if about["items_shared"] < ENOUGH else ""
    items = about["items_shared"]
    return f"agreement between voters: Krippendorff's alpha {_number(about['alpha'])} on {items} items{few}; {pairs}"


def _position(about: dict[str, Any]) -> str:
    if about["n"] < ENOUGH:
        return (
            f"position bias: {about['left']} of {about['n']} chose left; {ENOUGH - about['n']} more needed to judge it"
        )
    text = f"position bias: left was chosen in {about['share']:.0%} [{about['low']:.0%}, {about['high']:.0%}]"
    return text + ("" if about["low"] <= 0.5 <= about["high"] else ": MORE THAN CHANCE, sides matter to these voters")


def _number(value: float) -> str:
    return "undefined (all alike)" if math.isnan(value) else f"{value:.2f}"


def _title(match: Match) -> str:
    """The label stands above each table: none of them may be quoted without it."""
    name = notes.benchmark(match.a.summary)
    return f"{name} · {notes.label(match.a.summary).removeprefix(f'{name}: ')}"


def _table(title: str, head: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.title, table.title_justify, table.title_style = _text(title), "left", ""
    for i, name in enumerate(head):
        ends = i in (0, len(head) - 1)
        table.add_column(_text(name), justify="left" if ends else "right", overflow="fold", no_wrap=i == 0)
    return table


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(text, style="yellow" if " · " in text else "")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, highlight=False, markup=False)
