"""Names, cards, pages and what an import costs."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import t2imetrics
from t2imetrics import _registry
from t2imetrics.errors import InputError, MetricError, OptionError, UnknownMetricError

CARDS = Path(__file__).parents[2] / "metrics" / "cards"


def test_importing_and_reading_cards_loads_no_torch() -> None:
    code = (
        "import sys, t2imetrics; [t2imetrics.card(n) for n in t2imetrics.list()]; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'open_clip', 'scipy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names() -> None:
    expected = [
        "Mean", "MetricCard", "PictureScorer", "Scorer", "Setting", "Suite", "Weights", "card", "card_text", "errors",
        "list", "load",
    ]  # fmt: skip
    assert sorted(t2imetrics.__all__) == sorted(expected)
    assert all(hasattr(t2imetrics, name) for name in expected)
    assert t2imetrics.list()[:3] == ("bertscore", "sbert", "selection")


@pytest.mark.parametrize("name", _registry.BUILTIN)
def test_every_card_is_complete_and_its_page_states_it(name: str) -> None:
    card = t2imetrics.card(name)
    assert card.name == name
    assert card.lower < card.upper
    assert "arXiv" in card.source
    assert (card.text_limit is not None) == (card.reads in ("texts", "images+text"))
    assert (card.text is not None) == (card.reads == "images+text")
    assert math.isnan(card.failed_value) == (card.reduction == "set")
    assert math.isnan(card.failed_value) or card.lower <= card.failed_value <= card.upper
    page = t2imetrics.card_text(name)
    assert page.startswith(f"# {card.title}\n")
    assert card.table() in page, f"metrics/cards/{name}.md must hold this table:\n{card.table()}"


def test_no_page_without_a_metric() -> None:
    assert {path.stem for path in CARDS.glob("*.md")} == set(_registry.BUILTIN)


def test_an_unknown_name_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UnknownMetricError, match="unknown metric 'clip_score': did you mean 'clipscore'"):
        t2imetrics.card("clip_score")
    with pytest.raises(UnknownMetricError, match="choose from aesthetic, arguments, bertscore"):
        t2imetrics.load("zzz")


@pytest.fixture
def others(monkeypatch, tmp_path):
    """Entry points of another package: one good metric, one that is none, one that cannot be imported."""
    (tmp_path / "their_metrics.py").write_text(
        "import numpy as np\nimport t2imetrics\nfrom dataclasses import replace\n"
        "class Length(t2imetrics.Scorer):\n"
        "    card = replace(t2imetrics.card('selection'), name='length', title='length', upper=1e9)\n"
        "    def __init__(self, setting, per=1.0): self.per = per\n"
        "    def score(self, rows, against): return np.array([len(t) / self.per for t in against])\n"
        "nothing = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    point = lambda name, value: EntryPoint(name, value, _registry.GROUP)  # noqa: E731
    points = [
        point("length", "their_metrics:Length"), point("none", "their_metrics:nothing"),
        point("gone", "no_such_module:X"), point("fid", "their_metrics:Length"),
    ]  # fmt: skip
    monkeypatch.setattr(_registry, "entry_points", lambda group: points)
    _registry._external.cache_clear()
    yield
    _registry._external.cache_clear()


def test_metrics_of_other_packages_are_found_and_cannot_replace_ours(others) -> None:
    assert t2imetrics.list()[-3:] == ("gone", "length", "none")
    assert t2imetrics.card("fid").title == "FID"
    assert t2imetrics.load("length", per=2.0).score([1], ["abcd"]).tolist() == [2.0]
    with pytest.raises(MetricError, match="no option 'pre': did you mean 'per'"):
        t2imetrics.load("length", pre=2.0)
    with pytest.raises(MetricError, match=r"'none' is not a t2imetrics\.Scorer class"):
        t2imetrics.load("none")
    with pytest.raises(MetricError, match="'gone' of another package cannot be imported"):
        t2imetrics.card("gone")
    assert t2imetrics.card_text("length").startswith("# length\n\n| | |")


def test_a_metric_without_options_says_so_and_one_without_text_has_no_tokens() -> None:
    with pytest.raises(MetricError, match="'sbert' has no option 'layer': it takes none"):
        t2imetrics.load("sbert", layer=3)
    with pytest.raises(MetricError, match="reads no text"):
        t2imetrics.load("selection").tokens(["a"])


def test_arguments_of_another_type_are_told() -> None:
    with pytest.raises(UnknownMetricError, match="unknown metric 'None'"):
        t2imetrics.load(None)  # type: ignore[arg-type]
    for option in ({"batch_size": "8"}, {"batch_size": True}, {"workers": 1.5}):
        with pytest.raises(OptionError, match=f"{next(iter(option))} must be a whole number"):
            t2imetrics.Setting(**option)


def test_the_mean_of_a_card_must_survive_a_failed_row() -> None:
    with pytest.raises(InputError, match="card 'dino': failed_value of a mean must be a number, got nan"):
        dataclasses.replace(t2imetrics.card("dino"), failed_value=float("nan"))
