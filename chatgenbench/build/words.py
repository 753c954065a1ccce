"""Words that a text must not hold: our lists, and how they are matched.

The lists lie in `words/`, one word or phrase a line, each with a header that says what it is and why.
They find what is plainly written; the hub's own flags and levels are asked as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from chatgenbench.errors import UserError

FOLDER = Path(__file__).parent / "words"
#: What `flags` can answer, in its order.
NAMES = ("minors", "real-person", "explicit", "toxic")

_WEIGHT = re.compile(r":\s*+-?(?:\d++(?:\.\d++)?|\.\d++)\s*+(?=[)\]>])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"[a-z0-9@$]+|[^\W_]+")
_AGE = re.compile(
    r"\b(?:1[0-7]|[1-9])[\s_-]*(?:y[\s./]?o|years?[\s_-]*olds?|yrs?[\s_-]*old)\b"
    r"|\b(?:age|aged)[\s_:-]*(?:1[0-7]|[1-9])\b(?![\d.])"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven)teen)[\s_-]+years?[\s_-]+old\b"
)
_LEET = (str.maketrans("01345789@$", "oieastbgas"), str.maketrans("01345789@$", "oleastbgas"))

Phrases = dict[str, tuple[tuple[str, ...], ...]]


class Matcher:
    """Finds any of some phrases in a text, on word boundaries.

    Case, accents, width, underscores, hyphens, prompt weights and escapes do not matter; digits that stand for letters
    (`n4ked`), letters set apart (`n u d e`) and words run together in camel case are seen through.  With `joined`,
    a phrase also matches written as one word (`taylorswift`).
    """

    def __init__(self, phrases: Iterable[str], joined: bool = False) -> None:
        by_first: dict[str, set[tuple[str, ...]]] = {}
        for phrase in phrases:
            words = tuple(_TOKEN.findall(plain(phrase)))
            for form in {words, ("".join(words),)} if joined else {words}:
                if form:
                    by_first.setdefault(form[0], set()).add(form)
        self._by_first: Phrases = {first: tuple(sorted(forms)) for first, forms in by_first.items()}

    def found(self, views: Iterable[tuple[str, ...]]) -> bool:
        """Whether any reading of a text, as `views_of` gives them, holds a phrase."""
        return any(self._in(view) for view in views)

    def _in(self, words: tuple[str, ...]) -> bool:
        for place, word in enumerate(words):
            for form in self._by_first.get(word, ()):
                if words[place : place + len(form)] == form:
                    return True
        return False


def flags(text: str) -> tuple[str, ...]:
    """Which of `NAMES` the text deserves, in that order; () if none.

    `minors`: a word that sexualises minors, or a word or age of a minor next to a suggestive, explicit or hateful one.
    `real-person`: a widely known person's name.  `explicit`: sexual, gory or hateful words.
    `toxic`: slurs and insults; meant for chats, as prompts of harmless pictures hold many an insult.
    """
    views = tuple(views_of(text))
    hit = {name: _list(name).found(views) for name in ("people", "explicit", "slurs", "insults", "minors_always")}
    bad = hit["explicit"] or hit["slurs"]
    minors = hit["minors_always"] or (
        (bad or _list("suggestive").found(views)) and (_list("minors").found(views) or names_age_of_minor(text))
    )
    answers = (minors, hit["people"], bad, hit["slurs"] or hit["insults"])
    return tuple(name for name, answer in zip(NAMES, answers, strict=True) if answer)


def names_age_of_minor(text: str) -> bool:
    """Whether the text says an age of 1 to 17 years."""
    return _AGE.search(plain(text).replace("\\", "")) is not None


def holds(text: str, blocklist: tuple[str, ...]) -> bool:
    """Whether the text holds a word or phrase of the blocklist."""
    return bool(blocklist) and _blocked(blocklist).found(views_of(text))


def read_blocklist(path: Path) -> tuple[str, ...]:
    """The words and phrases of a file, one a line; empty lines and those that begin with # are passed over.

    Raises:
        UserError: the file cannot be read, or a line has no letter or digit to look for.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"--blocklist {path} cannot be read ({why}): name a text file with one word a line") from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#") and not _TOKEN.search(plain(line)):
            raise UserError(
                f"--blocklist {path}, line {number} has no letter or digit: write a word or remove the line"
            )
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def views_of(text: str) -> Iterator[tuple[str, ...]]:
    """The readings of a text as words: as written, camel case apart, digits as letters, letters set apart as words."""
    text = text.replace("\\", "")
    words = tuple(_TOKEN.findall(plain(_WEIGHT.sub(" ", text))))
    yield words
    if _CAMEL.search(text):
        yield tuple(_TOKEN.findall(plain(_CAMEL.sub(" ", _WEIGHT.sub(" ", text)))))
    if any(_mixed(word) for word in words):
        for table in _LEET:
            yield tuple(word.translate(table) if _mixed(word) else word for word in words)
    apart = _set_apart(words)
    if apart:
        yield from ((word,) for word in apart)


def plain(text: str) -> str:
    """Lower case without accents, compatibility forms, soft hyphens or zero-width characters; '_' becomes a space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
        text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    return text.casefold().replace("_", " ")


def _mixed(word: str) -> bool:
    return not word.isalpha() and not word.isdigit()


def _set_apart(words: tuple[str, ...]) -> list[str]:
    """Runs of three or more single letters, each as one word."""
    runs, run = [], ""
    for word in (*words, ""):
        if len(word) == 1 and word.isalpha():
            run += word
            continue
        if len(run) > 2:
            runs.append(run)
        run = ""
    return runs


@lru_cache(maxsize=16)
def _list(name: str) -> Matcher:
    lines = (FOLDER / f"{name}.txt").read_text("utf-8").splitlines()
    return Matcher((line for line in lines if line and not line.startswith("#")), joined=name == "people")


@lru_cache(maxsize=4)
def _blocked(blocklist: tuple[str, ...]) -> Matcher:
    return Matcher(blocklist)
