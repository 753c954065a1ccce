"""report.html and comparison.html: one file, offline, honest, and safe whatever the data hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.errors import BenchmarkError, RunFolderError, UserError
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import numbers, write_comparison, write_report
from chatgenbench.report.cost import per_answer
from chatgenbench.report.data import read_run
from chatgenbench.report.page import embed_json
from chatgenbench.schema import Failure
from tests.report import report_world as world


class Page(HTMLParser):
    """A parsed page: tags with attributes, the text of scripts, and all other text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.html = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(made: Any, name: str, tmp_path: Path) -> Page:
    return Page(write_report(made.runs[name], made.benchmark, made.pool.path, tmp_path / "page.html"))


def comparison(made: Any, names: list[str], path: Path) -> Page:
    runs = [made.runs[n] for n in names]
    return Page(write_comparison(runs, made.benchmark, [made.pool.path] * len(runs), path))


def check_sealed(page: Page) -> None:
    """Nothing is fetched, no attribute runs code, and only the page's own script may run."""
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"\s*(https?:|//|javascript:)", attributes.get(name) or ""), (tag, name)
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    assert not page.all("link")
    assert "url(" not in page.html
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


def test_report_shows_every_headline_number_with_interval_and_label(made: Any, tmp_path: Path) -> None:
    page = report(made, "weak", tmp_path)
    summary = json.loads(made.runs["weak"].summary.read_text())
    for metric in HEADLINE:
        entry = summary["metrics"][metric]
        assert numbers.format_for([entry]).value(entry) in page.text
        assert numbers.format_for([entry]).interval(entry) in page.text
    assert len(page.all("svg")) == len(HEADLINE)
    assert page.html.count(world.LABEL) >= len(page.all("table"))
    assert "10 of 12 items, stratified" in page.text
    check_sealed(page)


def test_report_tells_failures_truncation_and_provenance(made: Any, tmp_path: Path) -> None:
    text = report(made, "weak", tmp_path).text
    for part in ("answer is not JSON", "refused by the endpoint", "DPM adaptive -> DPM++ 2M (8×)", "1.3%",
                 "ab" * 32, "transformers", "2026-01-02T03:04:05+00:00", made.benchmark.hash):  # fmt: skip
        assert part in text


def test_fid_is_sliced_by_split_only(made: Any, tmp_path: Path) -> None:
    page = report(made, "oracle", tmp_path)
    by_split, by_kind = page.text.partition("By split")[2].partition("By kind")[::2]
    assert "FID ↓" in by_split
    assert "FID ↓" not in by_kind.partition("Failures")[0]
    assert "stand in the table of splits only" in page.text


def test_hostile_texts_stay_texts(made: Any, tmp_path: Path) -> None:
    page = report(made, "hostile", tmp_path)
    check_sealed(page)
    assert len(page.scripts) == 3
    assert not page.all("b")
    index, part = (json.loads(script) for script in page.scripts[:2])
    one = part[index["ids"].index("i1-multimodal")]
    plan = {name: "".join(own) for name, (own, _) in zip(index["plan"], one["plan"], strict=True)}
    assert plan["prompt"] == plan["negative prompt"] == plan["model"] == world.HOSTILE
    assert part[index["ids"].index("i0-single")]["absent"].endswith(world.HOSTILE)


def test_hostile_names_stay_texts_in_a_comparison(made: Any, tmp_path: Path) -> None:
    page = comparison(made, ["oracle", "hostile"], tmp_path / "page.html")
    check_sealed(page)
    assert len(page.scripts) == 1
    assert "<b>evil</b>" in page.text
    assert world.HOSTILE in page.text


def test_json_in_a_page_cannot_end_its_script() -> None:
    text = embed_json({"a": world.HOSTILE, "b": "\ud800"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["a"] == world.HOSTILE
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed_json(float("nan"))


def test_pages_are_the_same_to_the_last_byte(made: Any, tmp_path: Path) -> None:
    first = report(made, "weak", tmp_path).html
    assert report(made, "weak", tmp_path).html == first
    names = ["oracle", "weak"]
    assert comparison(made, names, tmp_path / "c.html").html == comparison(made, names, tmp_path / "c.html").html


def test_report_goes_into_the_run_folder(made: Any) -> None:
    assert write_report(made.runs["oracle"], made.benchmark, made.pool.path) == made.runs["oracle"].report


def test_labelled_controls_and_described_pictures(made: Any, tmp_path: Path) -> None:
    page = report(made, "weak", tmp_path)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(svg["role"] == "img" and world.LABEL in (svg["aria-label"] or "") for svg in page.all("svg"))
    wall = comparison(made, ["oracle", "weak"], tmp_path / "c.html")
    assert all(image["alt"] for image in wall.all("img"))


def test_comparison_links_reports_by_relative_path(made: Any) -> None:
    page = comparison(made, ["oracle", "weak"], made.root / "out" / "comparison.html")
    links = {a["href"] for a in page.all("a")}
    assert {"oracle/report.html", "weak/report.html"} <= links


def test_comparison_marks_the_best_and_sorts_by_full_numbers(made: Any, tmp_path: Path) -> None:
    page = comparison(made, ["weak", "oracle"], tmp_path / "c.html")
    whole = page.html.partition("</tbody>")[0]
    weak, oracle = re.findall(r'<tr><th scope="row".*?</tr>', whole, re.S)
    assert weak.count('class="number best"') == 0
    assert oracle.count('class="number best"') == len(HEADLINE)
    value = json.loads(made.runs["oracle"].summary.read_text())["metrics"]["clipscore"]["value"]
    assert f'data-sort="{value}"' in oracle


def test_comparison_wall_shows_each_systems_picture_and_why_one_is_missing(made: Any, tmp_path: Path) -> None:
    page = comparison(made, ["oracle", "weak"], tmp_path / "c.html")
    alts = [image["alt"] for image in page.all("img")]
    assert "demonstration of item i0-single" in alts
    assert "drawn by oracle for item i0-single" in alts
    assert "drawn by weak for item i0-single" not in alts
    assert "system-failed: answer is not JSON" in page.text


def test_comparison_says_what_an_answer_costs(made: Any, tmp_path: Path) -> None:
    run = world.write_run(tmp_path / "priced", made.benchmark, made.pool, limit=4)
    rows = [json.loads(line) for line in run.plans.read_text().splitlines()]
    for row, usd in zip(rows, (0.02, 0.04), strict=False):
        row["usd"] = usd
    run.plans.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_run(run, made.benchmark, made.pool.path)
    assert per_answer(read) == ["10 ms", "–", "–", "–", "–", "US$ 0.03 (2 of 4 rows)"]
    page = Page(write_comparison([run, made.runs["oracle"]], made.benchmark, [made.pool.path] * 2, tmp_path / "c.html"))
    assert "US$ 0.03 (2 of 4 rows)" in page.text
    assert "Device seconds" in page.text


def test_comparison_of_other_items_is_flagged(made: Any, tmp_path: Path) -> None:
    shorter = world.write_run(tmp_path / "short", made.benchmark, made.pool, limit=6)
    runs = [made.runs["oracle"], shorter]
    page = Page(write_comparison(runs, made.benchmark, [made.pool.path] * 2, tmp_path / "c.html"))
    assert "not comparable: these runs differ in how many rows have results" in page.text
    assert "oracle (short)" in page.text


def test_incomplete_run_still_has_a_page_that_says_so(made: Any, tmp_path: Path) -> None:
    run = world.write_run(tmp_path / "part", made.benchmark, made.pool, limit=10, unanswered=["i2-single"])
    page = Page(write_report(run, made.benchmark, made.pool.path))
    assert "incomplete: 1 row infra-failed" in page.text
    assert "not answered yet" in page.text


def test_run_where_everything_failed_has_a_page(made: Any, tmp_path: Path) -> None:
    run = world.write_run(
        tmp_path / "none", made.benchmark, made.pool, "broken", lambda item, gold: Failure(reason="no")
    )
    page = Page(write_report(run, made.benchmark, made.pool.path))
    assert "12 rows failed" in page.text


def test_run_without_any_answer_has_a_page(made: Any, tmp_path: Path) -> None:
    ids = [item.id for item in made.benchmark.items]
    run = world.write_run(tmp_path / "empty", made.benchmark, made.pool, unanswered=ids)
    assert "No row has a result yet" in Page(write_report(run, made.benchmark, made.pool.path)).text
    page = Page(write_comparison([run], made.benchmark, [made.pool.path], tmp_path / "c.html"))
    assert "oracle" in page.text


def test_mistakes_are_one_line(made: Any, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run\.json is missing"):
        write_report(RunFolder(tmp_path), made.benchmark, made.pool.path)
    with pytest.raises(UserError, match="nothing to compare"):
        write_comparison([], made.benchmark, [], tmp_path / "c.html")
    run = world.write_run(tmp_path / "lost", made.benchmark, made.pool)
    run.scores.unlink()
    with pytest.raises(RunFolderError, match=r"scores\.parquet cannot be read: type the run's eval command again"):
        write_report(run, made.benchmark, made.pool.path)
    other = world.write_benchmark(tmp_path / "other", pairs=2)
    with pytest.raises(BenchmarkError, match="another version"):
        write_report(made.runs["oracle"], other, made.pool.path)
