"""Ladder, failures, cost: every number of the page links to the rows it was made of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from chatgenbench.report import cost, links, write_report
from chatgenbench.report.cards import gallery
from chatgenbench.report.data import RunData, read_run
from chatgenbench.report.failures import failure_rows, kind_rows
from chatgenbench.report.html import every_metric, slice_tables
from chatgenbench.report.index import index
from chatgenbench.report.rungs import derived, ladder_view
from chatgenbench.schema import Failure, Item, Plan
from tests.report import report_world as world
from tests.report.conftest import weak
from tests.report.test_report_pages import Page, check_sealed


def mixed(item: Item, gold: Plan) -> Plan | Failure:
    """Fails where `weak` does, and takes the first model whatever was wanted."""
    answer = weak(item, gold)
    return answer if isinstance(answer, Failure) else answer.model_copy(update={"model": world.MODELS[0]})


@pytest.fixture(scope="module")
def laddered(made: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A run with failures and a ladder, and its ladder.json."""
    folder = world.write_run(
        tmp_path_factory.mktemp("ladder") / "mixed", made.benchmark, made.pool, "mixed", mixed, 10, 1
    )
    world.write_ladder(folder, made.benchmark, made.pool)
    return folder, json.loads((folder.path / "ladder.json").read_text())


def run_of(made: Any, name: str) -> RunData:
    return read_run(made.runs[name], made.benchmark, made.pool.path)


def matching(run: RunData, benchmark: Any, link: str, more: Any = ()) -> int:
    """How many rows a link leads to, counted the way gallery.js counts them."""
    found = index(run, benchmark, gallery(run, benchmark), more)
    facets = {f["key"]: f for f in found["facets"]}
    columns = {c["key"]: c for c in found["columns"]}
    wanted: dict[str, list[str]] = {}
    for key, value in parse_qsl(link.removeprefix("#"), keep_blank_values=True):
        wanted.setdefault(key, []).append(value)
    rows = set(range(len(found["ids"])))
    for key, values in wanted.items():
        if key in facets:
            codes = {facets[key]["values"].index(v) for v in values if v in facets[key]["values"]}
            rows &= {k for k in rows if facets[key]["codes"][k] in codes}
        elif key in columns:
            rows &= {k for k in rows if columns[key]["values"][k] == float(values[0])}
        elif key == "item":
            rows &= {found["ids"].index(v) for v in values}
        else:
            assert key in ("sort", "order"), key
            assert key == "order" or values[0] in columns
    return len(rows)


def test_links_quote_what_a_fragment_cannot_hold() -> None:
    link = links.rows(("reason", "a&b=c #d ü"), ("outcome", "blocked"))
    assert link == "#reason=a%26b%3Dc%20%23d%20%C3%BC&outcome=blocked"
    assert dict(parse_qsl(link[1:])) == {"reason": "a&b=c #d ü", "outcome": "blocked"}


def test_every_failure_links_to_its_rows_and_says_what_it_scored(made: Any) -> None:
    run = run_of(made, "weak")
    rows = failure_rows(run)
    assert {(r["outcome"], r["reason"], r["count"]) for r in rows} == {
        ("system-failed", "answer is not JSON", 1), ("blocked", "refused by the endpoint", 1),
    }  # fmt: skip
    for row in rows:
        assert matching(run, made.benchmark, row["link"]) == row["count"]
        assert matching(run, made.benchmark, row["examples"][0]["link"]) == 1
        assert "BERTScore" in row["scored"]
        assert "Model top-1 0.0%" in row["scored"]


def test_every_kind_of_failure_links_to_its_rows_and_an_example(made: Any) -> None:
    run = run_of(made, "weak")
    [row] = kind_rows(run)
    assert (row["kind"], row["count"]) == ("other", 2)
    assert matching(run, made.benchmark, row["link"]) == 2
    assert matching(run, made.benchmark, row["example"]["link"]) == 1


def test_shares_and_slices_link_to_exactly_their_rows(made: Any) -> None:
    run = run_of(made, "weak")
    top1 = next(v for v in every_metric(run) if v["name"] == "selection_top1")
    assert [text for text, _ in top1["right_wrong"]] == ["8 right", "2 wrong"]
    assert [matching(run, made.benchmark, link) for _, link in top1["right_wrong"]] == [8, 2]
    for table in slice_tables(run):
        for row in table["rows"]:
            assert matching(run, made.benchmark, row["link"]) == row["n"]


def test_cost_counts_pictures_once_and_links_approximations(made: Any) -> None:
    run = run_of(made, "weak")
    found = cost.cost(run, made.benchmark)
    lines = dict(found["lines"])
    assert lines["Pictures"] == "8 rows share 8 different pictures: 8 drawn, 0 from the pool"
    assert lines["Planning"] == "100 ms for 10 rows"
    assert lines["Tokens"] == "not told"
    assert sum(c["rows"] for c in found["checkpoints"]) == 8
    for row in (*found["checkpoints"], *found["approximated"]):
        assert matching(run, made.benchmark, row["link"]) == row["rows"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.0123, "12.3 ms"), (0.9996, "1 s"), (99.9, "99.9 s"), (100, "1 min 40 s"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert cost.duration(seconds) == text


def test_a_ladder_is_a_table_with_charts_and_regret(made: Any, laddered: Any, tmp_path: Path) -> None:
    folder, ladder = laddered
    run = read_run(folder, made.benchmark, made.pool.path)
    view = ladder_view(run, ladder)
    assert view["unplanned"] == matching(run, made.benchmark, view["unplanned_link"]) == 2
    assert [row["title"] for row in view["rows"]][:3] == ["BERTScore", "Model top-1", "Arguments"]
    assert [chart["title"] for chart in view["charts"]] == ["CLIP score", "HPS v2", "ImageReward", "CLIP image"]
    clipscore = next(row for row in view["rows"] if row["title"] == "CLIP score")
    assert [matching(run, made.benchmark, cell["link"], derived(ladder)) for cell in clipscore["cells"]] == [10] * 4
    assert clipscore["cells"][0]["link"] == "#sort=lost_gold-prompt_clipscore&order=high"
    regret = view["regret"]
    assert [row["name"] for row in regret["rows"]] == ["all rows with a plan", "right", "wrong"]
    for row in (*regret["rows"], *regret["models"]):
        assert matching(run, made.benchmark, row["link"], derived(ladder)) == row.get("n", row.get("rows"))
    page = Page(write_report(folder, made.benchmark, made.pool.path, tmp_path / "page.html"))
    check_sealed(page)
    assert "Regret of the chosen models" in page.text
    assert "2 rows have no plan" in page.text
    assert page.html.count(world.LABEL) >= len(page.all("table"))


def test_a_report_says_how_to_get_a_ladder_and_when_it_is_old(made: Any, laddered: Any, tmp_path: Path) -> None:
    page = Page(write_report(made.runs["weak"], made.benchmark, made.pool.path, tmp_path / "page.html"))
    assert re.search(r"not known yet: type\s+the run's eval command again with\s+--ladder", page.text)
    folder, ladder = laddered
    old = ladder | {"of": ladder["of"] | {"state": "another"}}
    (folder.path / "ladder.json").write_text(json.dumps(old))
    page = Page(write_report(folder, made.benchmark, made.pool.path, tmp_path / "page.html"))
    (folder.path / "ladder.json").write_text(json.dumps(ladder))
    assert "of an earlier state of this run" in page.text
    assert "Regret" not in page.text


def test_a_larger_run_has_its_pictures_beside_the_page(made: Any, tmp_path: Path) -> None:
    page = Page(write_report(made.runs["weak"], made.benchmark, made.pool.path, tmp_path / "page.html", embedded=5))
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "img-src data: 'self' file:;" in policy
    sources = [entry[0] for entry in json.loads(page.scripts[0])["pictures"]]
    assert sources
    assert all((tmp_path / source).is_file() and source.startswith("page_files/") for source in sources)
    again = write_report(made.runs["weak"], made.benchmark, made.pool.path, tmp_path / "page.html", embedded=5)
    assert again.read_text("utf-8") == page.html
