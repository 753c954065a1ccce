"""Cells that lie, break spreadsheets or break programs: each is named with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatgenbench.leaderboard.manifest import CSV
from tests.leaderboard.boards import Shop, column, has, problems_of, read_cells, resign, set_cell, write_cells

#: Line 3 of the sound submission is an ok row, line 2 a failed one.
OK, FAILED = 3, 2
HUGE = "1" + "0" * 400

CELLS = [
    # spreadsheets run what begins like this
    *((OK, "prompt", f"{sign}cmd|' /C calc'!A0", "formula") for sign in "=+-@"),
    (OK, "prompt", "\t=1+1", "formula"),
    (OK, "prompt", "\n=1+1", "formula"),
    (OK, "negative_prompt", '=HYPERLINK("https://evil.example","x")', "formula"),
    (OK, "model", "=1+1", "formula"),
    (OK, "sampler", "@SUM(A1:A9)", "formula"),
    (OK, "ranking", "=inkSketch_v1", "formula"),
    (FAILED, "reason", "=WEBSERVICE(A1)", "formula"),
    # characters that terminals and pages act on
    (OK, "prompt", "a\x1b[31mb", "control character"),
    (OK, "prompt", "a\x07b", "control character"),
    (OK, "negative_prompt", "a\x9bb", "control character"),
    (FAILED, "reason", "a\x08b", "control character"),
    # ids
    (OK, "id", "i999-single", "no item"),
    (OK, "id", "", "no item"),
    (OK, "id", "../../etc/passwd", "no item"),
    (OK, "id", "<script>alert(1)</script>", "no item"),
    (OK, "id", "I0-MULTIMODAL", "no item"),
    (OK, "id", " i0-multimodal", "no item"),
    (OK, "id", "i0-single", "in line 2 already"),
    # outcomes
    (OK, "outcome", "OK", "no outcome"),
    (OK, "outcome", "infra-failed", "no outcome"),
    (OK, "outcome", "", "no outcome"),
    (OK, "outcome", "system-failed", "a picture where there can be none", "image_sha256"),
    (OK, "reason", "it went well", "still has a reason"),
    (FAILED, "outcome", "ok", "is empty", "model"),
    (FAILED, "prompt", "half a plan", "no plan"),
    # arguments
    (OK, "steps", "99.0", "no whole number"),
    (OK, "steps", "0x20", "no whole number"),
    (OK, "steps", "+20", "no whole number"),
    (OK, "steps", "1e3", "no whole number"),
    (OK, "steps", "\u0662\u0660", "no whole number"),
    (OK, "steps", "0", "greater than or equal to 1"),
    (OK, "steps", "501", "less than or equal to 500"),
    (OK, "steps", HUGE, "no whole number"),
    (OK, "cfg_scale", "nan", "no plain number"),
    (OK, "cfg_scale", "inf", "no plain number"),
    (OK, "cfg_scale", "1e308", "no plain number"),
    (OK, "cfg_scale", "3,5", "no plain number"),
    (OK, "cfg_scale", "-1", "greater than or equal to 0"),
    (OK, "width", "4", "greater than or equal to 8"),
    (OK, "height", "100000", "less than or equal to 4096"),
    (OK, "seed", "-5", "greater than or equal to 0"),
    (OK, "seed", "99999999999999999999", "no whole number"),
    (OK, "seed", "", "is empty"),
    (OK, "clip_skip", "13", "less than or equal to 12"),
    (OK, "lora_weight", "99", "less than or equal to 4"),
    (OK, "sampler", "Not A Sampler", "sampler"),
    (OK, "model", "noSuchModel_v1", "not in the catalog"),
    (OK, "model", "../../../etc/passwd", "not in the catalog"),
    (OK, "model", "", "is empty"),
    # hashes
    (OK, "image_sha256", "", "is empty"),
    (OK, "image_sha256", "AB" * 32, "no sha256"),
    (OK, "image_sha256", "ab" * 31, "no sha256"),
    (OK, "image_phash", "zz00000000000000", "no perceptual hash"),
    (OK, "image_phash", "", "is empty"),
    (FAILED, "image_sha256", "ab" * 32, "a picture where there can be none"),
    (OK, "seconds", "-0x1", "no plain number"),
    (OK, "tokens", "many", "no whole number"),
    # scores
    *((OK, "bertscore", value, "no score") for value in ("nan", "inf", "-inf", "1e308", "", "NaN", "0.5 ", "1_0", "½")),
    (OK, "bertscore", "1.5", "out of the metric's range"),
    (OK, "clipscore", "-3", "out of the metric's range"),
    (OK, "selection_top1", "0.5", "neither 0 nor 1"),
    (OK, "selection_mrr", "1.2", "no share"),
    (OK, "arguments_mean", "1", "not the mean of the five"),
    (OK, "arguments_joint", "1", "does not follow from the five"),
    (OK, "selection_top5", "0", "among its first five"),
    (FAILED, "selection_top1", "1", "for a failed row"),
    (4, "clipscore", "99", "for a failed row"),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", CELLS, ids=[f"{n}-{case[1]}-{case[3][:24].replace(' ', '_')}" for n, case in enumerate(CELLS)]
)
def test_a_cell_is_refused_where_it_stands(case: tuple[object, ...], spoilt: Path, shop: Shop) -> None:
    line, name, value, what, *where = case
    assert isinstance(line, int)
    set_cell(spoilt, line, str(name), str(value))
    resign(spoilt, shop.key)
    found = problems_of(spoilt, shop)
    assert has(found, CSV, line, str(where[0] if where else name), str(what)), [str(p) for p in found]
    assert all(str(problem).isprintable() for problem in found)


def test_every_wrong_cell_is_told_at_once(spoilt: Path, shop: Shop) -> None:
    cells = read_cells(spoilt)
    for line, name, value in ((3, "steps", "many"), (5, "bertscore", "nan"), (6, "prompt", "=1"), (7, "width", "4")):
        cells[line - 1][column(cells, name)] = value
    write_cells(spoilt, cells)
    resign(spoilt, shop.key)
    found = {(p.line, p.column) for p in problems_of(spoilt, shop)}
    assert {(3, "steps"), (5, "bertscore"), (6, "prompt"), (7, "width")} <= found


def test_a_picture_of_another_row_is_noticed(spoilt: Path, shop: Shop) -> None:
    cells = read_cells(spoilt)
    at = column(cells, "image_sha256")
    cells[4][at] = cells[2][at]
    write_cells(spoilt, cells)
    resign(spoilt, shop.key)
    assert has(problems_of(spoilt, shop), CSV, 5, "image_sha256", "line 3 has the same picture for another plan")


def test_two_pictures_of_one_plan_are_noticed(spoilt: Path, shop: Shop) -> None:
    cells = read_cells(spoilt)
    first, last = column(cells, "prompt"), column(cells, "image_sha256")
    cells[5][first : last - 1] = cells[4][first : last - 1]
    write_cells(spoilt, cells)
    resign(spoilt, shop.key)
    assert has(problems_of(spoilt, shop), CSV, 6, "image_sha256", "another picture for the same plan and seed")


def test_html_in_text_is_data(spoilt: Path, shop: Shop) -> None:
    """Markup in a prompt is no fault: pages escape it."""
    set_cell(spoilt, OK, "prompt", "<img src=x onerror=alert(1)></script>")
    resign(spoilt, shop.key)
    assert not [p for p in problems_of(spoilt, shop) if p.file == CSV]
