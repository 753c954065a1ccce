"""Every reason that the program writes has a kind, by which reports count it."""

from __future__ import annotations

import pytest

from chatgenbench.systems.answers import KINDS, OTHER_KINDS, AnswerError, kind_of


@pytest.mark.parametrize("kind", KINDS)
def test_a_reason_of_the_parser_begins_with_its_kind(kind: str) -> None:
    assert kind_of(str(AnswerError(kind, "no plan: other"))) == kind
    assert kind_of(f"writer: {kind}: 'x'") == kind


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not-answered: no answer within 3 s", "not-answered"),
        ("the system raised ValueError: no-plan: x", "raised"),
        ("the system gave 3 answers to 8 inputs: which belongs to which cannot be known", "miscounted"),
        ("plans.csv has no row with id 'sup-001'", "not-answered"),
        ("plans.csv, line 3, column model: unknown model 'x': did you mean 'y'?", "unknown-model"),
        ("chooser: the system answered with int, not with a Plan", "no-plan"),
        ("not a valid plan: steps: Input should be greater than or equal to 1 (got 0)", "bad-value"),
        ("I do not draw cats", "other"),
        ("", "other"),
    ],
)
def test_other_reasons_have_a_kind_too(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
    assert kind in KINDS | OTHER_KINDS
