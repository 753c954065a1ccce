"""What a dataset says of itself: the card, the datasheet and the chart of its funnel, from the counts of the build."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chatgenbench.build.tables import SPLITS, file_of
from chatgenbench.schema import ARGUMENT_KEYS, Demonstration, FreestyleInput

if TYPE_CHECKING:
    from jinja2 import Environment

    from chatgenbench.benchmark import Manifest

#: Licences that the Hugging Face hub has a name for; any other is "other" with a name of its own.
HUB_LICENCES = frozenset({"apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "mit"})
#: Languages a build accepts unless its settings name others.
LANGUAGES = ("en",)
KINDS = ("single", "multimodal", "history")
#: Reasons named beside a bar of the chart.
NAMED = 3
#: Stages that count freestyle inputs; all others count records.
CHATS = frozenset({"roleplay", "role-play"})


class Tally:
    """Counts of what is published.  `withheld` counts demonstrations whose prompt and picture are left out."""

    def __init__(self) -> None:
        self.splits: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.chats: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.base_models: Counter[str] = Counter()
        self.train_models: Counter[str] = Counter()
        self.test_models: Counter[str] = Counter()
        self.items = self.items_without_picture = self.with_picture = self.withheld = 0

    def demonstration(self, one: Demonstration, whole: bool) -> None:
        self.splits[one.split] += 1
        self.licences[one.licence] += 1
        self.base_models[one.slices.get("base model", "not stated")] += 1
        (self.train_models if one.split == "train" else self.test_models)[one.plan.model] += 1
        self.with_picture += bool(one.picture)
        self.withheld += not whole

    def chat(self, chat: FreestyleInput, gold: Demonstration) -> None:
        self.kinds[gold.split, chat.kind] += 1
        self.chats[gold.split] += 1
        self.items += gold.split != "train"
        self.items_without_picture += gold.split != "train" and not gold.picture

    @property
    def demonstrations(self) -> int:
        return self.splits.total()

    @property
    def models(self) -> int:
        """Models that a demonstration uses."""
        return len(self.train_models.keys() | self.test_models.keys())


def card(facts: Mapping[str, Any], leaks: Mapping[str, Any], tally: Tally, manifest: Manifest) -> str:
    """README.md: YAML header for the hub, then what the dataset holds.  `facts` is the content of `build.json`."""
    return _page("README.md.j2", facts, leaks, tally, manifest)


def datasheet(facts: Mapping[str, Any], leaks: Mapping[str, Any], tally: Tally, manifest: Manifest) -> str:
    """DATASHEET.md: the seven sections of Datasheets for Datasets (arXiv 1803.09010)."""
    return _page("DATASHEET.md.j2", facts, leaks, tally, manifest)


def funnel_chart(funnel: Mapping[str, Mapping[str, Any]]) -> str:
    """An SVG: one bar a stage, what it kept dark, what it lost light, with the commonest reasons."""
    largest = {unit: max((s["seen"] for n, s in funnel.items() if _unit(n) == unit), default=0) for unit in _UNITS}
    bars = []
    for index, (name, stage) in enumerate(funnel.items()):
        scale = 380 / max(1, largest[_unit(name)])
        bars.append(
            {
                "name": name, "y": 56 + 46 * index, "seen": round(stage["seen"] * scale, 2),
                "kept": round(stage["kept"] * scale, 2),
                "text": f"{stage['kept']:,} of {stage['seen']:,} {_unit(name)}", "why": _reasons(stage, NAMED),
            }
        )  # fmt: skip
    template = _environment().get_template("funnel.svg.j2")
    return template.render(bars=bars, height=76 + 46 * len(bars)) + "\n"


_UNITS = ("records", "freestyle inputs")


def _unit(stage: str) -> str:
    return _UNITS[stage in CHATS]


def _reasons(stage: Mapping[str, Any], limit: int | None = None) -> str:
    """Reasons with their counts, the commonest first."""
    pairs = sorted(stage["dropped"].items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{reason} {number:,}" for reason, number in pairs[:limit])
    return text + (", …" if limit is not None and len(pairs) > limit else "")


def _page(template: str, facts: Mapping[str, Any], leaks: Mapping[str, Any], tally: Tally, manifest: Manifest) -> str:
    rows = tally.rows.total()
    licence = manifest.licence.lower()
    text = _environment().get_template(template).render(
        facts=facts, leaks=leaks, tally=tally, manifest=manifest, rows=rows, size=_size(rows), splits=SPLITS,
        kinds=KINDS, file_of=file_of, unit=_unit, reasons=_reasons, argument_keys=ARGUMENT_KEYS,
        hub_licence=licence if licence in HUB_LICENCES else "other",
        settings=json.dumps(facts["settings"], indent=1, ensure_ascii=False, sort_keys=True),
        languages=_languages(facts["settings"]), base_models=_most(tally.base_models), licences=_most(tally.licences),
        train_models=_most(tally.train_models),
    )  # fmt: skip
    return text.rstrip() + "\n"


def _most(counts: Counter[str], limit: int = 20) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _languages(settings: Mapping[str, Any]) -> tuple[str, ...]:
    limits = settings.get("limits")
    found = limits.get("languages") if isinstance(limits, Mapping) else settings.get("languages")
    return tuple(found) if found else LANGUAGES


def _size(rows: int) -> str:
    """The hub's word for so many rows."""
    steps = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((word for limit, word in steps if rows < limit), "1M<n<10M")


def _line(value: Any) -> str:
    """Text for one line of Markdown: nothing in it ends a table cell or begins markup."""
    text = " ".join(str(value).split())
    for sign in "\\`|<>[]*_":
        text = text.replace(sign, {"<": "&lt;", ">": "&gt;"}.get(sign, "\\" + sign))
    return text


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chatgenbench.build"), autoescape=lambda name: (name or "").endswith(".svg.j2"),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["line"] = _line
    environment.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment
