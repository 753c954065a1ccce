"""Whether choosing is worth it: which runs are paired, what the difference is, and what the page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatgenbench.report import write_comparison
from chatgenbench.report.choosing import METRICS, choices
from chatgenbench.report.data import RunData, read_run
from tests.report import report_world as world


@pytest.fixture(scope="module")
def staged(made: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Runs of stages; a higher seed makes a worse run."""
    root = tmp_path_factory.mktemp("staged")
    names = {
        "search": ("chat | hybrid | model-args", 0), "fixed": ("chat | fixed:inkSketch_v1 | model-args", 3),
        "weaker": ("chat | fixed:glossyToy_v3 | model-args", 5),
        "written": ("magicprompt | hybrid | model-args", 0), "popular": ("chat | hybrid | popular-args", 0),
    }  # fmt: skip
    return {
        key: world.write_run(root / key, made.benchmark, made.pool, system, world.gold_answer, 10, seed)
        for key, (system, seed) in names.items()
    }


def runs(made: Any, staged: dict[str, Any], *names: str) -> list[RunData]:
    return [read_run(staged[name], made.benchmark, made.pool.path) for name in names]


def test_only_runs_that_differ_in_the_chooser_alone_are_paired(made: Any, staged: dict[str, Any]) -> None:
    found = choices(runs(made, staged, "search", "fixed", "written", "popular"))
    assert {(c.stages, c.chooser, c.fixed) for c in found} == {("chat | … | model-args", "hybrid", "inkSketch_v1")}
    assert [c.metric for c in found] == list(METRICS)
    assert choices(runs(made, staged, "written", "fixed")) == []
    assert choices(runs(made, staged, "fixed")) == []
    search, fixed = runs(made, staged, "search", "fixed")
    alien = {**search.manifest, "identity": {**search.manifest["identity"], "system_spec": "http://localhost:1/plan"}}
    lone = {**search.manifest, "identity": {**search.manifest["identity"], "system_spec": "hybrid"}}
    assert len(choices([replace(search, manifest=lone), fixed])) == len(METRICS)
    assert choices([replace(search, manifest=alien), fixed]) == []  # a server may call itself anything


def test_the_difference_is_that_of_the_rows_and_is_judged_in_its_direction(made: Any, staged: dict[str, Any]) -> None:
    search, fixed = runs(made, staged, "search", "fixed")
    for choice in choices([fixed, search]):
        rows = [search.scores[i][choice.metric] - fixed.scores[i][choice.metric] for i in search.scores]
        assert choice.difference == pytest.approx(float(np.mean(rows)))
        assert choice.low <= choice.difference <= choice.high
        assert choice.n == len(rows)
        assert choice.p_holm >= choice.p_value
    clip = next(c for c in choices([search, fixed]) if c.metric == "clipscore")
    assert clip.difference > 0
    assert clip.verdict == ("choosing is better" if clip.p_holm < 0.05 else "no difference beyond chance")


def test_the_strongest_of_several_fixed_models_is_named(made: Any, staged: dict[str, Any], tmp_path: Path) -> None:
    found = choices(runs(made, staged, "search", "fixed", "weaker"))
    for metric in METRICS:
        (strongest,) = [c for c in found if c.metric == metric and c.strongest]
        assert strongest.difference * strongest.sign == min(c.difference * c.sign for c in found if c.metric == metric)
    assert {c.rivals for c in found} == {2}
    assert [(c.strongest, c.metric) for c in found] == [(first, m) for first in (True, False) for m in METRICS]
    folders = [staged[name] for name in ("search", "fixed", "weaker")]
    page = write_comparison(folders, made.benchmark, [made.pool.path] * 3, tmp_path / "a.html").read_text("utf-8")
    assert page.count("strongest of 2") == len(METRICS)
    assert "picked where it is judged" in page
    alone = write_comparison(folders[:2], made.benchmark, [made.pool.path] * 2, tmp_path / "b.html").read_text("utf-8")
    assert "strongest" not in alone


def test_the_page_has_the_section_where_there_is_something_to_say(
    made: Any, staged: dict[str, Any], tmp_path: Path
) -> None:
    both = [staged["search"], staged["fixed"]]
    page = write_comparison(both, made.benchmark, [made.pool.path] * 2, tmp_path / "a.html").read_text("utf-8")
    assert "Is choosing a model worth it?" in page
    assert "<td>inkSketch_v1</td>" in page
    alone = write_comparison(both[:1], made.benchmark, [made.pool.path], tmp_path / "b.html").read_text("utf-8")
    assert "Is choosing a model worth it?" not in alone
