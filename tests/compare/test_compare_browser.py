"""Both pages in a real browser: keys, undo, reload, resume; sort, filter, page; accessible in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.compare import VotesFile, write_diff
from tests.browsers import watched
from tests.compare.booths import serving
from tests.compare.conftest import Duel

LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 390)]


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A page that may complain about nothing."""
    with watched(browser, viewport={"width": 1280, "height": 900}) as (page, troubles):
        yield page
    assert troubles == []


def check_look(browser: Any, address: str, shot: Path, prepare: Any = None) -> None:
    """Screenshots in light and dark, wide and narrow; nothing sticks out and axe finds nothing."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for scheme, width in LOOKS:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        if prepare is not None:
            prepare(page, f"{scheme}-{width}")
        page.screenshot(path=str(shot.with_name(f"{shot.name}-{scheme}-{width}.png")))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
        context.close()


def counted(page: Any, text: str) -> None:
    """Wait until the page shows this many votes and takes the next."""
    shown = "document.getElementById('count').textContent === text"
    ready = "!document.body.classList.contains('busy')"
    page.wait_for_function(f"text => {shown} && {ready}", arg=text)


def test_voting_with_keys_undo_reload_and_resume(duel: Duel, tmp_path: Path, tab: Any) -> None:
    match, votes = duel.match(), tmp_path / "votes.jsonl"
    with serving(match, votes) as address:
        tab.goto(address)
        tab.fill("#voter", "ada")
        tab.keyboard.press("Enter")
        counted(tab, "0 of 10")
        for i, key in enumerate(("ArrowLeft", "ArrowRight", "t", "s"), 1):
            tab.keyboard.press(key)
            counted(tab, f"{i} of 10")
        shown = tab.get_attribute("#left", "src")
        tab.keyboard.press("ArrowLeft")
        counted(tab, "5 of 10")
        tab.keyboard.press("u")
        counted(tab, "4 of 10")
        assert tab.get_attribute("#left", "src") == shown
        tab.reload()
        counted(tab, "4 of 10")
        tab.click("#right")
        counted(tab, "5 of 10")
    assert [v.choice for v in VotesFile(votes, match).read()] == ["left", "right", "tie", "skip", "right"]
    with serving(match, votes, voter="ada") as address:
        tab.goto(address)
        counted(tab, "5 of 10")
        for i in range(6, 11):
            tab.keyboard.press("ArrowRight")
            counted(tab, f"{i} of 10")
        assert tab.is_visible("text=That was all")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("u")
        counted(tab, "9 of 10")
        tab.click("#change")
        tab.fill("#voter", "stu")  # keys typed into the name are no votes
        tab.keyboard.press("Enter")
        counted(tab, "0 of 10")
    assert {v.voter for v in VotesFile(votes, match).read()} == {"ada"}


def test_a_server_that_went_away_is_told(duel: Duel, tmp_path: Path, browser: Any) -> None:
    page = browser.new_page()
    with serving(duel.match(), tmp_path / "votes.jsonl", voter="ada") as address:
        page.goto(address)
        counted(page, "0 of 10")
    page.keyboard.press("t")
    page.wait_for_selector("text=The server does not answer")
    page.close()


def test_the_voting_page_looks_right(large: Duel, tmp_path: Path, browser: Any) -> None:
    def begin(page: Any, name: str) -> None:
        page.fill("#voter", name)
        page.keyboard.press("Enter")
        counted(page, "0 of 6")

    with serving(large.match(), tmp_path / "votes.jsonl", items=6) as address:
        check_look(browser, address, tmp_path / "enter")
        check_look(browser, address, tmp_path / "vote", begin)


def test_hostile_chats_stay_text(large: Duel, tmp_path: Path, tab: Any) -> None:
    with serving(large.match(), tmp_path / "votes.jsonl", items=2, voter="ada") as address:
        tab.goto(address)
        counted(tab, "0 of 2")
        assert "<script>alert(1)</script>" in tab.inner_text("#chat")
        assert tab.locator("#chat script, #chat img[src=x]").count() == 0


def rows(page: Any) -> list[str]:
    return [str(text) for text in page.locator("#list h3").all_inner_texts()]


def test_the_diff_page_sorts_filters_and_turns_pages(large: Duel, tmp_path: Path, tab: Any) -> None:
    match = large.match()
    path, _ = write_diff(match, tmp_path / "diff.html", budget=20)
    tab.goto(path.as_uri())
    a, b = match.values("imagereward")
    ids = [p.item.id for p in match.pairs]
    by_size = sorted(range(len(ids)), key=lambda i: -abs(a[i] - b[i]))
    assert rows(tab) == [ids[i] for i in by_size[:12]]
    assert tab.locator(".where").first.inner_text() == "1–12 of 80 rows"
    tab.click("text=Next →")
    assert tab.locator(".where").first.inner_text() == "13–24 of 80 rows"
    assert tab.locator(".trio .gold img").count() == 20 - 12
    tab.select_option("[name=metric]", label="CLIP score")
    a, b = match.values("clipscore")
    assert rows(tab) == [ids[i] for i in sorted(range(len(ids)), key=lambda i: -abs(a[i] - b[i]))[:12]]
    tab.select_option("[name=sort]", "b")
    assert rows(tab) == [ids[i] for i in sorted(range(len(ids)), key=lambda i: a[i] - b[i])[:12]]
    tab.select_option("[name=better]", "b")
    assert tab.locator(".where").first.inner_text().endswith(f"of {int((a < b).sum())} rows")
    tab.select_option("[name=better]", "")
    tab.select_option("[name=split]", "few-shot")
    assert tab.locator(".where").first.inner_text().endswith("of 40 rows")
    tab.select_option("[name=split]", "")
    tab.fill("[name=text]", "i39-single")
    assert rows(tab) == ["i39-single"]
    tab.fill("[name=text]", "no such thing anywhere")
    assert tab.locator(".where").first.inner_text() == "no row matches"
    tab.fill("[name=text]", "")
    tab.select_option("[name=show]", "table")
    assert tab.locator("#list tbody tr").count() == 50
    tab.select_option("[name=sort]", "none")
    tab.click("#list tbody tr:nth-child(3) button")
    assert rows(tab) == [ids[2]]


def test_the_stage_at_fault_is_summed_up_and_leads_to_its_rows(duel: Duel, tmp_path: Path, tab: Any) -> None:
    path, _ = write_diff(duel.match(), tmp_path / "diff.html")
    tab.goto(path.as_uri())
    tab.select_option("[name=metric]", label="Model top-1")
    assert "loses 12 of 12 rows" in tab.inner_text("#blame")
    assert "10 (83%), 10 alone" in tab.inner_text("#blame")
    tab.click("#blame >> text=answer")
    assert sorted(rows(tab)) == ["i0-single", "i1-single"]
    assert "</script><script>alert(1)</script>" in tab.inner_text("#list")


def test_the_diff_page_looks_right(large: Duel, tmp_path: Path, browser: Any) -> None:
    path, _ = write_diff(large.match(), tmp_path / "diff.html", budget=20)
    check_look(browser, path.as_uri(), tmp_path / "diff")
    check_look(browser, path.as_uri(), tmp_path / "table", lambda page, _: page.select_option("[name=show]", "table"))
