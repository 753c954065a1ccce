"""The bundled records: openly licensed, complete or dropped with a reason, the same every time."""

from __future__ import annotations

from collections import Counter

from chatgenbench.build import bundled
from chatgenbench.build.filters import Limits, check_record
from chatgenbench.build.records import Drop, Record


def test_records_are_complete_or_say_what_is_missing() -> None:
    found = list(bundled.records())
    kept = [r for r in found if isinstance(r, Record)]
    assert Counter(r.reason for r in found if isinstance(r, Drop)) == {
        "no-sampler": 628, "lora-unknown": 492, "no-cfg": 32, "no-steps": 20, "wildcards": 12,
    }  # fmt: skip
    assert len(kept) == 432
    assert len({r.id for r in found}) == len(found) == 1616
    assert all(r.redistributable and r.licence == "CC0-1.0" and not r.url for r in kept)
    assert not any("{p}" in r.plan.prompt or "###" in r.plan.prompt or "{np}" in r.plan.negative_prompt for r in kept)
    assert found == list(bundled.records())


def test_most_pass_the_filters_and_every_model_is_in_the_catalog() -> None:
    kept = [r for r in bundled.records() if isinstance(r, Record)]
    objections = Counter(check_record(r, Limits()) for r in kept)
    assert objections == {None: 424, "explicit-words": 8}
    used = {r.plan.model for r in kept}
    catalog = bundled.catalog(used)
    assert used <= {m.id for m in catalog}
    assert len({m.id for m in catalog}) == len(catalog) == len(used) + 200
    assert all(m.sha256 == "" and not m.files for m in catalog)
