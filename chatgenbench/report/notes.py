"""The sentences that must stand beside the numbers: label, items, text source, intervals, failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chatgenbench.evaluate.certify import certificate_of
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report.numbers import title

Summary = dict[str, Any]
Named = tuple[str, Summary]

FAILED = ("system-failed", "blocked")
MOST_REASONS = 3
#: Rows below which a percentile bootstrap is known to be too narrow.
FEW = 50

TEXTS = {
    "gold": "the demonstration's prompt (gold)",
    "input": "what the person typed (input)",
    "plan": "the system's own prompt (plan), so a system that asks for easy pictures scores well",
}


def label(summary: Summary) -> str:
    """The benchmark's label; says so when miniature weights made the numbers and the label does not."""
    run = summary["run"]
    text = str(run["label"])
    small = any("miniature" in str(w["name"]).lower() for w in run["weights"].values())
    if small and "miniature" not in text.lower():
        return f"{text}; miniature weights" if text else "miniature weights"
    return text


def benchmark(summary: Summary) -> str:
    return str(summary["run"]["benchmark"])


def pictured(summary: Summary) -> bool:
    """Whether the run drew pictures; every run did before it could do without."""
    return bool(summary["run"].get("draw", True))


def headline(runs: Sequence[Named]) -> tuple[str, ...]:
    """The metrics a table shows: those every run has, then those that were asked for beside them."""
    drawn = any(pictured(summary) for _, summary in runs)
    usual = [m for m in HEADLINE if drawn or any(m in summary["metrics"] for _, summary in runs)]
    return (*usual, *dict.fromkeys(m for _, summary in runs for m in summary["run"].get("extra", ())))


def items(summary: Summary) -> str:
    rows, whole = summary["rows"], summary["run"]["items_in_benchmark"]
    return f"all {whole} items" if rows == whole else f"{rows} of {whole} items, stratified"


def text_source(summary: Summary) -> str:
    if not pictured(summary):
        return "no picture was drawn: only the plans are scored"
    source = summary["run"]["text"]
    return f"image metrics read {TEXTS.get(source, source)}"


def intervals(summary: Summary) -> str:
    about = summary["interval"]
    text = f"{about['level']:.0%} intervals: {about['method']}"
    if pictured(summary):
        text += f" (FID and unified: {about['set_resamples']} resamples, centred)"
    return f"{text}; with fewer than {FEW} rows they are rough, often too narrow" if summary["rows"] < FEW else text


def certificate(summary: Summary) -> str | None:
    """What drawing some rows again at another batch size moved; None where it was not asked for."""
    found = certificate_of(summary)
    if found is None:
        return None
    pixels, rows = found["pixels"], found["rows"]
    alone = {rows: "alone", 0: "in pairs"}.get(found["alone"], f"{found['alone']} alone, the others in pairs")
    again = f"{_rows(rows)} drawn again at another batch size ({alone})"
    share = f"{pixels['changed']:.2%}" if pixels["changed"] >= 5e-5 else "less than 0.01%"
    moved = f"no channel of a pixel moved by more than {pixels['max']} of 255, {share} of pixels moved"
    if not pixels["max"]:
        moved = "not one pixel moved"
    entries = summary["metrics"]
    scores = ", ".join(f"{title(m, entries.get(m))} {entry['max']:.2g}" for m, entry in found["scores"].items())
    why = "" if pixels["max"] else " (metrics read pictures in batches, and round too)"
    return f"certified: {again}: {moved}; scores moved by at most {scores}{why}"


def failed(summary: Summary) -> int:
    """Rows whose system gave no usable plan or picture; they stay in the mean with the value their card states."""
    return int(sum(summary["outcomes"].get(k, 0) for k in FAILED))


def troubles(summary: Summary) -> list[str]:
    """What a reader must know of one run before trusting its numbers: failures, approximations, missing rows."""
    lines = []
    if failures := failed(summary):
        kinds = ", ".join(f"{summary['outcomes'][k]} {k}" for k in FAILED if k in summary["outcomes"])
        lines.append(f"{_rows(failures)} failed ({kinds}) and count with each metric's value for failed rows")
        if failures == summary["rows"]:
            lines.append("EVERY row failed: nothing was measured, the numbers are what failing is worth")
    if missing := summary["incomplete"]:
        lines.append(f"incomplete: {_rows(missing)} infra-failed, left out of the numbers; type the same command again")
    if reasons := summary["reasons"]:
        most = "; ".join(f"{count}× {reason}" for reason, count in list(reasons.items())[:MOST_REASONS])
        more = len(reasons) - MOST_REASONS
        lines.append(f"reasons: {most}" + (f"; and {more} more, see the report" if more > 0 else ""))
        if more > 0 and (found := summary.get("failures")):
            lines.append("kinds: " + ", ".join(f"{count} {kind}" for kind, count in found.items()))
    for note, count in summary.get("notes", {}).items():
        lines.append(f"{_rows(count)}: {note}")
    lines += [str(rule) for rule in summary["run"].get("bases", {}).values()]
    for note, count in summary["approximated_samplers"].items():
        lines.append(f"{_pictures(count)} could only be approximated: {note}")
    return lines


def mismatches(runs: Sequence[Named]) -> list[str]:
    """Why the rows of one table may not be compared; empty when they may."""
    checks: dict[str, Callable[[Summary], object]] = {
        "the benchmark": lambda s: s["run"]["benchmark"],
        "how many rows have results": lambda s: (s["rows"], s["incomplete"]),
        "whether pictures were drawn": pictured,
        "the text that image metrics read": lambda s: s["run"]["text"],
        "the metric weights": lambda s: sorted(
            (m, w["name"], w["sha256"] or "", w.get("files") or "") for m, w in s["run"]["weights"].items()
        ),
    }
    return [
        f"not comparable: these runs differ in {what}"
        for what, key in checks.items()
        if any(key(summary) != key(runs[0][1]) for _, summary in runs)
    ]


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"
