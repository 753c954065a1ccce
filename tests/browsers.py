"""A real browser for tests of pages: fixtures to import, and pages that report what goes wrong in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; tests that ask for it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what its scripts, its policy and its dialogs complained about."""
    context = browser.new_context(**options)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append("a dialog"), dialog.dismiss()))
    yield page, troubles
    context.close()


@contextmanager
def offline(browser: Any, **options: Any) -> Iterator[Any]:
    """A page that may complain about nothing, and fetch nothing but files."""
    with watched(browser, reduced_motion="reduce", **options) as (page, troubles):
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else troubles.append(asked.url)
        )
        yield page
    assert troubles == []
