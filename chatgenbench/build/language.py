"""The language of a prompt or chat."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

#: Fewer letters than this say too little: the language is unknown.
MIN_LETTERS = 12
#: How sure (0..1) the identifier must be before text in plain ASCII counts as anything but English.  Lists of tags,
#: names and invented trigger words look like every language a little; real sentences and lists in other languages
#: stay above it.
SURE = 0.35
#: Languages that are told apart (ISO 639-1): those that people write prompts in.  Small neighbours of the big ones
#: would only take their share of short texts.
LANGUAGES = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tl", "tr", "uk", "vi", "zh",
)  # fmt: skip

_TAG = re.compile(r"<[^<>]*>")
# possessive, and addresses are told apart without a pattern: a long word must not cost the square of its length
_WEIGHT = re.compile(r":\s*+-?(?:\d++(?:\.\d++)?|\.\d++)(?=\s*[)\]])")
_CODE = re.compile(r"\b\w*\d\w*\b")
_MARKS = re.compile(r"[^\w\s,.'’!?、。，-]|_")


def of(text: str) -> str:
    """ISO 639-1 code of the language that a text is written in; "" when it has under `MIN_LETTERS` letters.

    Tags in angle brackets, weights, brackets, addresses and words with digits are left out.  A text in plain ASCII that
    resembles no other language clearly is English.
    """
    bare = _bare(text)
    if sum(letter.isalpha() for letter in bare) < MIN_LETTERS:
        return ""
    code, sure = _identifier().classify(bare)
    return "en" if bare.isascii() and sure < SURE else str(code)


def _bare(text: str) -> str:
    for pattern in (_TAG, _WEIGHT):
        text = pattern.sub(" ", text)
    text = " ".join(word for word in text.split() if "://" not in word and "@" not in word)
    for pattern in (_CODE, _MARKS):
        text = pattern.sub(" ", text)
    return " ".join(text.split())


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
