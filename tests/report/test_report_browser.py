"""report.html in a browser: filters, sorts, pages, links to rows, and is clean for screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.report import write_report
from chatgenbench.schema import Failure, Item, Plan
from tests.browsers import offline
from tests.report import report_world as world

PAIRS = 30
SIZES = {"desktop": {"width": 1280, "height": 1600}, "phone": {"width": 390, "height": 844}}


def answer(item: Item, gold: Plan) -> Plan | Failure:
    """Fails on every seventh pair, and takes the first model for all others, once with a prompt that must scroll."""
    if int(item.id[1:].partition("-")[0]) % 7 == 0:
        return Failure(reason="answer is not JSON & <b>bold</b>")
    long = ", and one more thing" * 60 if item.id.startswith("i13-") else ""
    return gold.model_copy(update={"model": world.MODELS[0], "prompt": f"my {gold.prompt}{long}"})


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of one run of 60 rows with failures and a ladder: pictures inside it, and beside it."""
    root = tmp_path_factory.mktemp("browser")
    benchmark = world.write_benchmark(root / "benchmark", PAIRS)
    pool = world.Pool(root / "pool")
    folder = world.write_run(root / "run", benchmark, pool, "mine", answer, None, 1)
    world.write_ladder(folder, benchmark, pool)
    return {
        "inside": write_report(folder, benchmark, pool.path),
        "beside": write_report(folder, benchmark, pool.path, root / "other" / "big.html", embedded=10),
    }


@pytest.fixture
def view(browser: Any) -> Iterator[Any]:
    with offline(browser, viewport=SIZES["desktop"]) as page:
        yield page


def opened(view: Any, path: Path, fragment: str = "") -> Any:
    view.goto("about:blank")
    view.goto(path.as_uri() + fragment)
    view.wait_for_selector("html[data-ready]")
    return view


def where(view: Any) -> str:
    return str(view.locator(".where").first.inner_text())


def shown(view: Any) -> list[str]:
    return list(view.locator(".card h3").all_inner_texts())


def scores(view: Any, title: str) -> list[float]:
    found = view.locator(f".card > dl.scores > div:has(dt:has-text('{title}')) dd").all_inner_texts()
    return [float(text) for text in found]


def test_all_rows_are_paged(view: Any, pages: dict[str, Path]) -> None:
    opened(view, pages["inside"])
    assert where(view) == "1–24 of 60 items"
    first = shown(view)
    view.get_by_role("button", name="Next →").first.click()
    assert where(view) == "25–48 of 60 items"
    assert not set(first) & set(shown(view))
    assert view.url.endswith("#page=2")
    view.get_by_role("button", name="Next →").last.click()
    assert where(view) == "49–60 of 60 items"
    assert view.get_by_role("button", name="Next →").first.is_disabled()


def test_filters_sorts_and_search_keep_their_state_in_the_address(view: Any, pages: dict[str, Path]) -> None:
    opened(view, pages["inside"])
    view.locator("select[name=kind]").select_option("single")
    assert where(view) == "1–24 of 30 items"
    view.locator("select[name=sort]").select_option("clipscore")
    view.wait_for_function("() => location.hash.includes('sort=clipscore')")
    falling = scores(view, "CLIP score")
    assert falling == sorted(falling, reverse=True)
    view.locator("select[name=order]").select_option("low")
    view.wait_for_function("() => location.hash.includes('order=low')")
    rising = scores(view, "CLIP score")
    assert rising == sorted(rising)
    view.locator("input[name=text]").fill("my THING 12,")
    view.wait_for_function("() => document.querySelector('.where').textContent === '1–1 of 1 items'")
    assert shown(view) == ["i12-single"]
    address = view.url
    opened(view, pages["inside"], address.partition("report.html")[2])
    assert shown(view) == ["i12-single"]
    assert view.locator("select[name=kind]").input_value() == "single"
    view.get_by_role("button", name="Show all rows").click()
    assert where(view) == "1–24 of 60 items"


def test_a_claim_leads_to_its_rows(view: Any, pages: dict[str, Path]) -> None:
    opened(view, pages["inside"])
    kind = view.get_by_role("row", name="other").locator("a").first
    rows = int(kind.inner_text())
    kind.click()
    assert where(view) == f"1–{min(rows, 24)} of {rows} items"
    count = view.locator("#reasons td a").first
    rows = int(count.inner_text())
    count.click()
    assert where(view) == f"1–{rows} of {rows} items"
    assert view.locator(".card .badge").all_inner_texts() == ["system-failed"] * rows
    assert view.get_by_label("reason").input_value() == "answer is not JSON & <b>bold</b>"
    view.locator("#reasons td a").nth(1).click()
    view.wait_for_function("() => location.hash.startsWith('#item=')")
    assert len(shown(view)) == 1
    assert view.locator("#only").inner_text() == f"Only rows where item is {shown(view)[0]}."
    view.go_back()
    assert where(view) == f"1–{rows} of {rows} items"
    regretted = view.get_by_role("row", name="all rows with a plan").locator("a")
    rows = int(regretted.inner_text())
    regretted.click()
    view.wait_for_function("() => location.hash.includes('regret_clipscore')")
    assert where(view) == f"1–{min(rows, 24)} of {rows} items"
    assert "model choice is right or near-twin or wrong" in view.locator("#only").inner_text()
    regret = scores(view, "Regret, CLIP score")[:24]
    assert regret == sorted(regret, reverse=True)


def test_ranges_and_nonsense_in_an_address(view: Any, pages: dict[str, Path]) -> None:
    opened(view, pages["inside"], "#clipscore=40..60&sort=clipscore&order=low")
    assert all(40 <= value <= 60 for value in scores(view, "CLIP score"))
    assert view.locator("#only").inner_text() == "Only rows where CLIP score is 40 to 60."
    opened(view, pages["inside"], "#split=nowhere")
    assert where(view) == "no item matches"
    opened(view, pages["inside"], "#page=99&order=sideways&nothing=1&sort=unknown")
    assert where(view) == "49–60 of 60 items"
    opened(view, pages["inside"], "#failures")
    assert where(view) == "1–24 of 60 items"


def test_the_gallery_is_worked_by_keyboard(view: Any, pages: dict[str, Path]) -> None:
    opened(view, pages["inside"])
    view.locator("select[name=split]").focus()
    view.keyboard.press("ArrowDown")
    view.wait_for_function("() => location.hash.includes('split=')")
    view.get_by_role("button", name="Next →").first.focus()
    view.keyboard.press("Enter")
    assert where(view) == "25–30 of 30 items"
    assert view.evaluate("() => document.activeElement.id") == "h-gallery"


def test_pictures_beside_the_page_are_loaded_when_looked_at(view: Any, pages: dict[str, Path]) -> None:
    asked: list[str] = []
    view.on("request", lambda request: asked.append(request.url))
    opened(view, pages["beside"])
    view.locator(".card img").first.scroll_into_view_if_needed()
    view.wait_for_function("() => document.querySelector('.card img').naturalWidth > 0")
    pictures = [url for url in asked if "/big_files/" in url]
    assert 0 < len(set(pictures)) < len(list((pages["beside"].parent / "big_files").iterdir()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_no_violation_of_accessibility_rules(
    browser: Any, pages: dict[str, Path], tmp_path: Path, scheme: str, size: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(
        viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )  # axe is a script of its own
    view = opened(context.new_page(), pages["inside"], "#outcome=system-failed&outcome=ok&page=2")
    view.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = axe.run(view)
    view.screenshot(path=tmp_path / f"report-{scheme}-{size}.png", full_page=True)
    assert found.violations_count == 0, found.generate_report()
    assert view.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
