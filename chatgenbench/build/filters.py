"""Which records may become demonstrations, and the names of the reasons why others may not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatgenbench.build import language, words
from chatgenbench.build.records import Record

#: Reasons, in the order in which they are tried, each with what it means.
REASONS = {
    "model-unavailable": "the model is archived, taken down or not public",
    "not-safetensors": "the model has no safetensors file",
    "licence-forbids": "the model's licence fields are missing or do not allow what the build asks for",
    "model-nsfw": "the model is marked as not safe for work, or not marked at all",
    "model-minor": "the model is marked as showing minors, or not marked at all",
    "model-poi": "the model is marked as showing a real person, or not marked at all",
    "picture-nsfw-level": "the picture's browsing level is above the limit, or it was never rated",
    "minors": "the prompt sexualises minors",
    "real-person": "the prompt names a widely known person",
    "blocklist": "the prompt holds a word of the blocklist",
    "explicit-words": "the prompt holds sexual, gory or hateful words",
    "prompt-too-short": "the prompt has too few words",
    "prompt-too-long": "the prompt has too many characters",
    "language": "the prompt is in no accepted language, or too short to tell",
    "engagement": "too few people reacted to the picture",
}
#: The fields of a model that state its licence; none may be missing.
LICENCE_FIELDS = ("allowCommercialUse", "allowDerivatives", "allowNoCredit", "allowDifferentLicense")

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\W\d_]+")
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class Limits:
    """What a record must keep to.

    `min_reactions` counts likes, hearts, laughs and cries.  `max_level` is a browsing level (1 = PG, 2 = PG-13, 4 = R).
    `languages` are ISO 639-1 codes.  `min_prompt_words` and `max_prompt_chars` bound the positive prompt.

    `allow_uses` are commercial uses ("Image", "RentCivit", "Rent", "Sell") that every model must allow; by default none
    is asked for, since a benchmark draws pictures to score them and sells nothing.  `need_derivatives` asks for models
    that may be built upon.  Whatever is asked for, a model that leaves any of the four licence fields unsaid is
    dropped: a missing field is no permission.

    `nsfw_threshold` (0..1): pictures that the classifier scores above it are dropped.  Its makers call scores below 0.2
    safe, above 0.8 unsafe; but it knows photographs, and harmless drawings of bare shoulders reach 0.2 to 0.5.  As only
    pictures rated safe by the hub come this far, 0.5 is the default; 0.2 is stricter and loses many drawn people.
    """

    min_reactions: int = 0
    max_level: int = 1
    languages: tuple[str, ...] = ("en",)
    min_prompt_words: int = 3
    max_prompt_chars: int = 4000
    allow_uses: tuple[str, ...] = ()
    need_derivatives: bool = False
    blocklist: tuple[str, ...] = ()
    nsfw_threshold: float = 0.5


def check(record: Record, flags: Mapping[str, Any], limits: Limits) -> str | None:
    """The first of `REASONS` that speaks against the record, or None when it may stay.

    `flags` is what the hub says of the record's target model (`catalog.Hub.flags`); what it leaves unsaid speaks
    against the model.
    """
    return check_model(flags, limits) or check_record(record, limits)


def check_model(flags: Mapping[str, Any], limits: Limits) -> str | None:
    """The reasons that lie with the model.

    Its `nsfwLevel` is not asked: that is the union over all its pictures, so a model for everything has every bit set.
    `sfwOnly` forbids only what is dropped anyway.
    """
    if flags.get("mode") or flags.get("availability") != "Public":
        return "model-unavailable"
    if flags.get("format") != "SafeTensor":
        return "not-safetensors"
    if not _licence_allows(flags, limits):
        return "licence-forbids"
    for field in ("nsfw", "minor", "poi"):
        if flags.get(field) is not False:
            return f"model-{field}"
    return None


def check_record(record: Record, limits: Limits) -> str | None:
    """The reasons that lie with the picture and its prompt.

    Words are looked for in the prompt and the picture's tags, not in the negative prompt, which names what the picture
    must not show.
    """
    if not 0 < record.level <= limits.max_level:
        return "picture-nsfw-level"
    return _words(record, limits) or _form(record.plan.prompt, limits) or _engagement(record, limits)


def _licence_allows(flags: Mapping[str, Any], limits: Limits) -> bool:
    if any(flags.get(field) is None for field in LICENCE_FIELDS):
        return False
    uses = flags["allowCommercialUse"]
    if isinstance(uses, str) or not set(limits.allow_uses) <= set(uses):
        return False
    return flags["allowDerivatives"] is True or not limits.need_derivatives


def _words(record: Record, limits: Limits) -> str | None:
    text = "\n".join((record.plan.prompt, *record.tags))
    found = words.flags(text)
    for name in ("minors", "real-person"):
        if name in found:
            return name
    if words.holds(text, limits.blocklist):
        return "blocklist"
    return "explicit-words" if "explicit" in found else None


def _form(prompt: str, limits: Limits) -> str | None:
    if len(_WORD.findall(_TAG.sub(" ", prompt))) < limits.min_prompt_words:
        return "prompt-too-short"
    if len(prompt) > limits.max_prompt_chars:
        return "prompt-too-long"
    return None if language.of(prompt) in limits.languages else "language"


def _engagement(record: Record, limits: Limits) -> str | None:
    return "engagement" if record.reactions < limits.min_reactions else None
