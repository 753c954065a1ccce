"""What can be wrong with an answer: each kind is the first word of the reason of its row, so that reports count it."""

from __future__ import annotations

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
