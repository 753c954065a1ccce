"""The site: sorts, filters, slices, charts, keyboard, phone; hostile text stays text; small, and works offline."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.manifest import Cost
from chatgenbench.leaderboard.rank import rank
from chatgenbench.leaderboard.results import Entry, Results
from chatgenbench.leaderboard.site import build_site
from chatgenbench.schema import Failure, Item, Plan
from tests.browsers import offline
from tests.leaderboard.boards import Shop, make_shop, weak
from tests.report.report_world import HOSTILE

#: Screenshots to be looked at.
ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
SIZES = {"desktop": {"width": 1280, "height": 1600}, "phone": {"width": 360, "height": 780}}


def hostile(item: Item, gold: Plan) -> Plan | Failure:
    """Every text a system controls holds markup."""
    if item.id == "i0-single":
        return Failure(reason=HOSTILE)
    return gold.model_copy(update={"prompt": HOSTILE, "negative_prompt": HOSTILE})


def echo(item: Item, gold: Plan) -> Plan | Failure:
    return gold.model_copy(update={"model": "inkSketch_v1"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("site"), 12)


@pytest.fixture(scope="module")
def results(place: Shop) -> Results:
    line = HOSTILE.replace("\u2028", " ")[:190]
    board = place.board(
        place.submission("echo", echo, seed=1, key=place.maintainer, cost=Cost(seconds=0.001)),
        place.submission("mine", seed=0, cost=Cost(seconds=2.5, usd=0.01)),
        place.submission("mine", weak, seed=2, revision="second try", cost=Cost(seconds=0.5, usd=0.001)),
        place.submission(
            line, hostile, seed=3, revision=line, key=Ed25519PrivateKey.generate(), authors=(line,), licence=line,
            training_data=HOSTILE, cost=Cost(seconds=40.0),
        ),
    )  # fmt: skip
    (board.folder / "<b>broken").mkdir()
    return rank(board, place.benchmark)


@pytest.fixture(scope="module")
def site(results: Results, place: Shop) -> Path:
    return build_site([results], place.root / "board-0" / "submissions", place.root / "site")


def many(results: Results, number: int) -> Results:
    """A board of so many entries."""
    entries: list[Entry] = []
    for n in range(number):
        one = results.entries[n % len(results.entries)]
        entries.append(
            one.model_copy(update={"slug": f"entry-{n}", "system": f"system number {n}", "revision": f"{n}.0"})
        )
    return results.model_copy(update={"entries": tuple(entries)})


def test_fifty_entries_are_small(results: Results, tmp_path: Path) -> None:
    page = build_site([many(results, 50)], tmp_path / "none", tmp_path / "site")
    assert page.stat().st_size < 300_000


def test_equal_boards_have_equal_sites(results: Results, place: Shop, site: Path, tmp_path: Path) -> None:
    again = build_site([results], place.root / "board-0" / "submissions", tmp_path / "site")
    names = sorted(p.relative_to(site.parent) for p in site.parent.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again.parent) for p in again.parent.rglob("*") if p.is_file())
    assert all((site.parent / name).read_bytes() == (again.parent / name).read_bytes() for name in names)


def test_only_a_site_is_replaced(results: Results, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds something else"):
        build_site([results], tmp_path, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "a.tex").read_text() == "years of work"
    build_site([results], tmp_path, tmp_path / "site")
    (tmp_path / "site" / "old.html").write_text("of another day")
    build_site([results], tmp_path, tmp_path / "site")
    assert not (tmp_path / "site" / "old.html").exists()


def test_nothing_is_fetched_from_elsewhere_and_markup_is_text(site: Path) -> None:
    for page in site.parent.rglob("*.html"):
        text = page.read_text("utf-8")
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "default-src 'none'" in html.unescape(text)
        assert not [word for word in ('src="http', "url(http", "@import", "//cdn") if word in text]


def test_a_gallery_picture_that_was_changed_is_not_shown(results: Results, place: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    shutil.copytree(place.root / "board-0" / "submissions", folder)
    entry = next(e for e in results.entries if e.gallery)
    picture = folder / entry.slug / "gallery" / f"{entry.gallery[0].sha256}.jpg"
    picture.write_bytes(b"<svg onload=alert(1)>")
    page = build_site([results], folder, tmp_path / "site")
    text = (page.parent / "s" / f"{entry.slug}.html").read_text("utf-8")
    assert "the picture is not what was signed" in text
    assert (
        not (page.parent / "p" / picture.name).exists()
        or b"<svg" not in (page.parent / "p" / picture.name).read_bytes()
    )


# ------------------------------------------------------------------ in a browser


@pytest.fixture
def view(browser: Any) -> Iterator[Any]:
    with offline(browser, viewport=SIZES["desktop"]) as page:
        yield page


def names(view: Any) -> list[str]:
    return [n.strip() for n in view.locator("table:visible tbody tr:visible th a").all_inner_texts()]


def cells(view: Any, title: str) -> list[str]:
    """What stands in a column of the table that is shown, without the intervals."""
    heads = [text.split("\n")[0] for text in view.locator("table:visible thead th").all_inner_texts()]
    at = next(n for n, text in enumerate(heads) if text.startswith(title))
    rows = view.locator("table:visible tbody tr:visible").all()
    return [row.locator("th, td").nth(at).inner_text().split("\n")[0] for row in rows]


def test_sorting_by_each_metric_moves_rows_and_places(view: Any, site: Path, results: Results) -> None:
    view.goto(site.as_uri())
    assert view.locator("th[aria-sort=descending]:visible").inner_text().startswith("Unified")
    view.get_by_role("tab", name="Plans (step-wise)").click()
    view.get_by_role("button", name="Arguments ↑", exact=True).click()
    values = [float(text.rstrip("%*")) for text in cells(view, "Arguments ↑")]
    assert values == sorted(values, reverse=True)
    by = {e.system: e.cells["arguments_mean"] for e in results.entries}
    assert cells(view, "Place")[0] == f"{by['echo'].rank_low}–{by['echo'].rank_high}"
    view.get_by_role("button", name="Arguments ↑", exact=True).click()
    assert [float(t.rstrip("%*")) for t in cells(view, "Arguments ↑")] == sorted(values)
    view.get_by_role("tab", name="Pictures").click()
    view.get_by_role("button", name="FID ↓").click()
    assert view.locator("th[aria-sort=ascending]:visible").inner_text().startswith("FID")
    fid = [float(text.rstrip("*")) for text in cells(view, "FID")]
    assert fid == sorted(fid)


def test_filters(view: Any, site: Path) -> None:
    view.goto(site.as_uri())
    assert len(names(view)) == 4
    view.get_by_label("reference systems").uncheck()
    assert "echo" not in names(view)
    assert view.get_by_role("status").inner_text() == "3 of 4 entries shown."
    view.get_by_label("Find").fill("SECOND mine")
    assert names(view) == ["mine"]
    view.get_by_label("At least").select_option("checked")
    assert names(view) == []
    assert "loosen the filters" in view.get_by_role("status").inner_text()


def test_slices_show_the_entries_own_numbers(view: Any, site: Path, results: Results) -> None:
    view.goto(site.as_uri())
    view.get_by_role("tab", name="Plans (step-wise)").click()
    whole = cells(view, "BERTScore")
    view.get_by_label("Rows").select_option("kind=single")
    assert set(cells(view, "Place")) == {"–"}
    assert cells(view, "BERTScore") != whole
    best = max(e.slices["kind=single"]["bertscore"].value for e in results.entries)
    view.get_by_role("button", name="BERTScore").click()
    view.get_by_role("button", name="BERTScore").click()
    assert float(cells(view, "BERTScore")[0]) == pytest.approx(best, abs=0.006)
    view.get_by_label("Rows").select_option("")
    assert sorted(cells(view, "BERTScore")) == sorted(whole)


def test_the_tabs_are_for_keyboards_too(view: Any, site: Path) -> None:
    view.goto(site.as_uri())
    view.get_by_role("tab", name="Pictures").focus()
    view.keyboard.press("ArrowRight")
    assert view.evaluate("document.activeElement.textContent") == "Plans (step-wise)"
    assert view.get_by_role("tabpanel").count() == 1
    view.keyboard.press("Tab")
    view.keyboard.press("Tab")
    view.keyboard.press("Enter")
    assert view.locator("th[aria-sort]:visible").count() == 1


def test_charts_tell_their_numbers(view: Any, site: Path) -> None:
    view.goto(site.as_uri())
    view.locator("#metric").select_option("fid")
    assert view.locator("#intervals circle").count() == 4
    assert "lower is better" in view.locator("#intervals svg").get_attribute("aria-label")
    assert view.locator("#scatter circle").count() == 4
    view.locator("#cost").select_option("usd")
    assert view.locator("#scatter circle").count() == 2
    assert "2 entries state no such cost" in view.locator("#scatter-told").inner_text()
    points = view.locator("#scatter .front").get_attribute("points").split()
    assert 1 <= len(points) <= 2


def test_the_oracle_is_left_aside_where_cost_is_weighed(view: Any, results: Results, tmp_path: Path) -> None:
    best, other = (
        results.entries[n].model_copy(update={"slug": f"s{n}", "cost": Cost(seconds=1.0 + n)}) for n in range(2)
    )
    oracle = best.model_copy(update={"system": "oracle", "reference": True, "slug": "o", "cost": Cost(seconds=0.1)})
    board = results.model_copy(update={"entries": (oracle, best, other)})
    view.goto(build_site([board], tmp_path, tmp_path / "site").as_uri())
    assert view.locator("#scatter circle").count() == 3
    ends = view.locator("#scatter .front").get_attribute("points").split()
    assert len(ends) == 1, "the dearer one is not better, and the oracle does not count"
    assert "oracle" in view.locator("#scatter-told").inner_text()


def test_a_board_without_reference_systems_says_so(view: Any, site: Path) -> None:
    view.goto(site.as_uri())
    assert "Not on this board: oracle, stuffing, popular, random" in view.locator("#board").inner_text()


def test_every_entry_has_its_page(view: Any, site: Path) -> None:
    view.goto(site.as_uri())
    view.get_by_role("link", name="mine", exact=True).first.click()
    view.wait_for_load_state()
    assert view.locator("h1").inner_text().startswith("mine")
    assert view.locator("main img").count() > 0
    first = view.locator(".gallery figure").first
    assert first.locator("img").evaluate("(image) => image.getAttribute('width') / image.getAttribute('height')") == 1
    assert first.locator("q").inner_text().startswith("draw me thing 0")
    assert "thing 0, clean style" in first.inner_text()
    broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth).length"
    assert view.evaluate(broken) == 0
    view.get_by_role("link", name="leaderboard").click()
    view.wait_for_load_state()
    assert view.url.endswith("index.html")


def test_hostile_text_is_shown_as_text(view: Any, site: Path, results: Results) -> None:
    entry = next(e for e in results.entries if "script" in e.system)
    view.goto((site.parent / "s" / f"{entry.slug}.html").as_uri())
    assert "<script>alert(1)</script>" in view.locator("h1").inner_text()
    view.goto(site.as_uri())
    assert any("<script>" in name for name in names(view))
    view.get_by_text("Left out: 1").click()
    assert "<b>broken" in view.locator("details li").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_page_scrolls_sideways_and_axe_finds_nothing(size: str, scheme: str, browser: Any, site: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for number, path in enumerate((site, *sorted((site.parent / "s").iterdir()))):
        page.goto(path.as_uri())
        page.screenshot(path=ARTEFACTS / f"leaderboard-{size}-{scheme}-{number}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
    context.close()


def test_without_scripts_the_tables_are_there(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.as_uri())
    assert page.locator("table:visible").count() == 2
    assert page.locator(".controls:visible").count() == 0
    context.close()
