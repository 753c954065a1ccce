"""What a person reads at the end of `eval`."""

from __future__ import annotations

import copy
import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import numbers, print_table


@pytest.fixture
def summaries(made: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(name, json.loads(made.runs[name].summary.read_text())) for name in ("oracle", "weak")]


def printed(summaries: Any, width: int = 120, color: bool = False) -> str:
    file = io.StringIO()
    print_table(
        summaries, Console(file=file, width=width, force_terminal=color, color_system="standard" if color else None)
    )
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 160, 220])
def test_every_value_and_interval_is_whole_at_any_width(summaries: Any, width: int) -> None:
    text = printed(summaries, width)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    for metric in HEADLINE:
        entries = [summary["metrics"][metric] for _, summary in summaries]
        style = numbers.format_for(entries)
        for entry in entries:
            assert style.value(entry) in text
            assert style.interval(entry) in text


def test_no_table_stands_without_its_label(summaries: Any) -> None:
    text = printed(summaries, 80)
    assert text.count("miniature weights; not comparable") == len(re.findall("^system", text, re.M)) > 1


def test_caption_says_what_was_measured(summaries: Any) -> None:
    text = " ".join(printed(summaries).split())
    assert "10 of 12 items, stratified" in text
    assert "demonstration's prompt (gold)" in text
    assert "95% intervals: bootstrap clustered by demonstration" in text


def test_failures_and_approximations_are_told_with_their_reasons(summaries: Any) -> None:
    text = " ".join(printed(summaries).split())
    assert "weak: 2 rows failed (1 system-failed, 1 blocked)" in text
    assert "answer is not JSON" in text
    assert "weak: 8 pictures could only be approximated: DPM adaptive -> DPM++ 2M" in text
    assert "oracle:" not in text


def test_incomplete_run_is_told(summaries: Any) -> None:
    summaries[1][1]["incomplete"] = 3
    text = " ".join(printed(summaries).split())
    assert "weak: incomplete: 3 rows infra-failed, left out of the numbers; type the same command again" in text
    assert "not comparable: these runs differ in how many rows have results" in text


def test_runs_that_read_other_texts_are_not_comparable(summaries: Any) -> None:
    assert "not comparable" not in printed(summaries).replace("not comparable with the paper", "")
    summaries[1][1]["run"]["text"] = "plan"
    assert "not comparable: these runs differ in the text that image metrics read" in printed(summaries, 200)


def test_best_value_is_bold_in_the_metrics_own_direction(summaries: Any) -> None:
    better, worse = (copy.deepcopy(summaries[0][1]) for _ in range(2))
    better["metrics"]["fid"] |= {"value": 3.0, "low": 2.0, "high": 4.0}
    worse["metrics"]["fid"] |= {"value": 9.0, "low": 8.0, "high": 11.0}
    text = printed([("a", better), ("b", worse)], 220, color=True)
    assert "\x1b[1m3.0\x1b[0m" in text
    assert "\x1b[1m9.0\x1b[0m" not in text


def test_single_system_has_no_bold_value(summaries: Any) -> None:
    assert "Bold" not in printed(summaries[:1])


def test_a_systems_name_is_not_markup(summaries: Any) -> None:
    assert "[red]a[/red]" in printed([("[red]a[/red]", summaries[0][1])], 220)


def test_missing_numbers_are_dashes(summaries: Any) -> None:
    summaries[0][1]["metrics"] = {}
    assert numbers.MISSING in printed(summaries[:1], 200)


def test_miniature_weights_are_named_even_if_the_benchmark_does_not(summaries: Any) -> None:
    summaries[0][1]["run"]["label"] = "my own"
    assert "my own; miniature weights" in printed(summaries[:1], 200)
