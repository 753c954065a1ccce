"""Counters of a build: they add up, or say where they do not."""

from __future__ import annotations

from chatgenbench.build.funnel import Count, problems
from chatgenbench.build.records import Drop


def test_what_goes_through_is_kept_or_counted_by_reason() -> None:
    count = Count()
    assert list(count.through([1, Drop("a", "no-prompt"), 2, Drop("b", "no-prompt"), Drop("c", "no-steps")])) == [1, 2]
    count.noted["served twice"] += 3
    assert count.as_json() == {
        "seen": 5, "kept": 2, "dropped": {"no-prompt": 2, "no-steps": 1}, "noted": {"served twice": 3},
    }  # fmt: skip


def test_numbers_that_do_not_add_up_are_told() -> None:
    sound = {"seen": 5, "kept": 3, "dropped": {"no-prompt": 2}}
    assert problems({"parse": sound, "filter": {"seen": 3, "kept": 3, "dropped": {}}}) == []
    assert problems({"parse": sound, "filter": {"seen": 4, "kept": 4, "dropped": {}}}) == [
        "filter saw 4, but parse kept 3"
    ]
    assert problems({"parse": {"seen": 5, "kept": 3, "dropped": {}}}) == [
        "parse: 5 seen is not 3 kept plus what was dropped"
    ]
