"""Does this installation give the numbers it should?  Golden pictures, prompts and values, compared in seconds.

    checks = t2imetrics.selftest.run(weights="published")
    t2imetrics.selftest.require(checks)            # SelftestError, one line, if one failed

Nothing is downloaded.  What is compared, and what it catches: `metrics/SELFTEST.md`.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2imetrics._golden import pixels, texts, values
from t2imetrics._golden.values import Rules, State
from t2imetrics._registry import BUILTIN, load
from t2imetrics._registry import names as known_names
from t2imetrics._scorer import Scorer
from t2imetrics._weights import OFFLINE_HINT
from t2imetrics.errors import MetricError, UnknownMetricError, WeightsError, shorten


class SelftestError(MetricError):
    """A self-test found numbers that are not what they should be."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: `pixels`, `tokens`, or a metric.
        what: what of it, e.g. `preprocessing A, 224 px` or `miniature weights`.
        state: `ok`; `failed`; `recorded`: nothing to compare with yet, values were kept for the next time;
            `skipped`: not possible here.
        detail: one line; of a failed check what differs, what it likely means and what to do.
    """

    name: str
    what: str
    state: State
    detail: str

    @property
    def ok(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self.state != "failed"


def run(
    names: Sequence[str] | None = None,
    weights: str | Path = "miniature",
    device: str = "auto",
    cheap: bool = False,
    scorers: Mapping[str, Scorer] | None = None,
    machine: bool = True,
) -> list[Check]:
    """Check preparation of pictures, tokenizers, and metrics with their weights; always in the same order.

    A check that fails, for whatever reason, is a failed `Check`, never an exception.

    Args:
        names: metrics to check; None takes all built-in ones with weights, and skips those whose weights are not here.
        weights: `miniature`; `published` or a folder, which are checked after the miniature's.
        device: as for `t2imetrics.load`.
        cheap: without loading anything: pictures, tokenizers, and one row of each metric in `scorers`.
        scorers: metrics that are loaded already; only these are checked then, and no weights are read.
        machine: whether pictures and tokenizers are checked; False where a call before this one has done it.

    Raises:
        UnknownMetricError: a name that is no metric.
    """
    for name in names or ():
        if name not in known_names() and name not in (scorers or {}):
            raise UnknownMetricError(name, known_names())
    checks: list[Check] = []
    if machine:
        checks += [_check("pixels", what, fault) for what, fault in pixels.checks().items()]
        checks += [_check("tokens", what, fault) for what, fault in texts.checks().items()]
    rules = Rules(cheap, may_record=all(check.ok for check in checks))
    if scorers is not None:
        given = [(name, scorer) for name, scorer in scorers.items() if names is None or name in names]
        return checks + [_compared(name, _described(scorer), scorer, rules) for name, scorer in given]
    if cheap:
        return checks
    for source in dict.fromkeys(("miniature", str(weights))):
        checks += _loaded(names, source, device, rules, required=names is not None and source == str(weights))
    return checks


def require(checks: Sequence[Check]) -> None:
    """SelftestError that names the failed checks, in one line, where there are any."""
    failed = [check for check in checks if not check.ok]
    if failed:
        named = ", ".join(f"{check.name} ({check.what})" for check in failed)
        raise SelftestError(f"self-test failed: {named}; first: {failed[0].detail}")


# --- one check -------------------------------------------------------------------------------------------------


def _check(name: str, what: str, fault: Callable[[], str]) -> Check:
    try:
        found = fault()
    except Exception as error:  # a library that cannot be imported is what a self-test is for
        found = _reason(error)
    return Check(name, what, "failed" if found else "ok", found or "equal to the golden values")


def _loaded(names: Sequence[str] | None, source: str, device: str, rules: Rules, required: bool) -> Iterator[Check]:
    """Load metrics one after the other and compare each; missing weights fail only where they are `required`."""
    shelf: dict[Any, Any] = {}
    for name in values.weighted() if names is None else names:
        what = f"{source} weights"
        try:
            with no_downloads():
                scorer = load(name, source, device, batch_size=8, workers=0, shelf=shelf)
        except Exception as error:
            if isinstance(error, WeightsError) and absent(error) and not required:
                yield Check(name, what, "skipped", f"no weights here: {str(error).partition(': ')[0]}")
            else:
                yield Check(name, what, "failed", _reason(error))
            continue
        shipped = source == "miniature" and name in BUILTIN
        yield _compared(name, what, scorer, replace(rules, must_be_shipped=shipped))


def _compared(name: str, what: str, scorer: Scorer, rules: Rules) -> Check:
    try:
        outcome = values.compare(scorer, rules)
    except Exception as error:
        return Check(name, what, "failed", _reason(error))
    return Check(name, what, outcome.state, outcome.detail)


def _described(scorer: Scorer) -> str:
    return scorer.card.weights.name if scorer.card.weights else "no weights"


def _reason(error: Exception) -> str:
    """One line; errors that nobody raised on purpose are named."""
    text = shorten(error, 300)
    return text if isinstance(error, MetricError) else f"{type(error).__name__}: {text}"


# --- no downloads ----------------------------------------------------------------------------------------------


#: What errors about weights that are simply not here say, as against those about damaged or changed ones.
ABSENT = (OFFLINE_HINT, " holds no ", " has no miniature weights")


def absent(error: WeightsError) -> bool:
    """Whether weights are not on this machine, or do not exist."""
    return any(words in str(error) for words in ABSENT)


class _Refused(urllib.request.BaseHandler):
    """Answers any request for a URL with an error."""

    def default_open(self, request: urllib.request.Request) -> None:
        raise OSError(f"a self-test downloads nothing ({request.full_url})")


@contextmanager
def no_downloads() -> Iterator[None]:
    """Within it the Hugging Face client and urllib (torch.hub, open_clip) fetch nothing in this process."""
    from huggingface_hub import constants

    offline, opener = constants.HF_HUB_OFFLINE, getattr(urllib.request, "_opener", None)
    constants.HF_HUB_OFFLINE = True
    urllib.request.install_opener(urllib.request.build_opener(_Refused))
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        urllib.request.install_opener(opener)
