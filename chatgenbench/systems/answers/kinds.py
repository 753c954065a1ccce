"""What can be wrong with an answer: each kind is the first word of the reason of its row, so that reports count it."""

from __future__ import annotations

import re

from chatgenbench.errors import PlanError

#: kind -> what it means.
KINDS = {
    "empty": "nothing was said",
    "too-long": "longer than any plan, or a prompt longer than one may be",
    "refusal": "the model would not do it",
    "html": "a web page instead of an answer",
    "no-plan": "text in which no plan can be found",
    "broken-json": "JSON that not even a forgiving reader can read",
    "cut-off": "it ends in the middle of the plan",
    "two-plans": "more than one plan, or more than one model: which is meant cannot be known",
    "missing": "a plan without one of its parts",
    "bad-value": "a part that is not what it must be, such as words where a number is needed",
    "model-as-sampler": "a model's name where the sampler belongs",
    "unknown-model": "a model that the catalog does not have",
}


class AnswerError(PlanError):
    """An answer that holds no usable plan; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


#: What becomes of rows beside an answer that cannot be read: kind -> what it means.
OTHER_KINDS = {
    "not-answered": "no answer came to this row",
    "answered-twice": "different answers to one row",
    "raised": "the system's own code failed",
    "miscounted": "more or fewer answers than chats: which belongs to which cannot be known",
    "not-drawn": "a plan that cannot be drawn",
    "other": "what the system said of itself, or the machine",
}
_STAGES = re.compile(r"^((writer|chooser|arguer): )+")
#: Words of reasons that begin with no kind.
_TOLD = (
    ("the system raised ", "raised"), ("the system gave ", "miscounted"), ("has no row with id ", "not-answered"),
    ("unknown model ", "unknown-model"), ("not a valid plan: ", "bad-value"), ("the system answered with ", "no-plan"),
    ("the answer cannot be read: ", "no-plan"),
)  # fmt: skip


def kind_of(reason: str) -> str:
    """The kind of failure that a reason tells of: one of `KINDS` or `OTHER_KINDS`."""
    told = _STAGES.sub("", reason)
    kind = told.partition(":")[0]
    if kind in KINDS or kind in OTHER_KINDS:
        return kind
    return next((kind for words, kind in _TOLD if words in told), "other")
