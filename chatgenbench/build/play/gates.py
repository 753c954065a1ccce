"""What a role-played chat must keep to.  Each gate has a name, which is the reason when a chat does not pass it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from chatgenbench.build import language, words
from chatgenbench.build.minhash import normalise
from chatgenbench.schema import ModelRecord

#: Gates in the order in which they are tried, each with what a chat that fails it does.
REASONS = {
    "unfit": "the language model cannot take the request (roleplay.jsonl has its words: too long, perhaps)",
    "not-json": "the language model gave no chat in the form asked for",
    "empty": "it says nothing",
    "turns": "it has fewer or more turns than its kind asks for",
    "refusal": "the language model refused to play",
    "assistant-voice": "it speaks as the assistant, not as the person",
    "length": "a message has too few or too many words",
    "leaks-model-name": "it names the model, its file or its trigger words",
    "repeats-itself": "it says the same words again and again, as small models do",
    "copies-prompt": "it repeats the prompt word by word",
    "unsafe-words": "it holds words that no prompt may hold either",
    "blocklist": "it holds a word of the blocklist",
    "language": "it is in no accepted language",
    "too-far": "it means something else than the prompt (sentence embeddings)",
    "too-similar": "it is the prompt again in other words (sentence embeddings)",
    "facts": "what the picture must show cannot be told from it",
}
_REFUSAL = re.compile(
    r"\b(as an ai|language model|i can(?:'|no)?t (?:assist|help|provide|create|fulfil|generate)|i(?:'m| am) (?:sorry|"
    r"unable)[, ]+(?:but )?(?:i|to)|cannot (?:assist|comply|provide))\b", re.IGNORECASE,
)  # fmt: skip
_ASSISTANT = re.compile(
    r"^\W*(here(?:'s| is| are)|sure[,!]|certainly|of course[,!]|as requested|prompt:|json)|\bthe user\b|\brole.?play",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "over",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "this",
        "to",
        "under",
        "up",
        "very",
        "was",
        "were",
        "while",
        "with",
        "without",
        "who",
        "which",
        "his",
        "her",
        "he",
        "she",
        "they",
        "you",
        "your",
        "i",
        "me",
        "my",
        "we",
        "our",
        "not",
        "no",
        "all",
        "one",
        "two",
        "some",
        "more",
        "most",
        "best",
        "high",
        "quality",
        "detailed",
        "detail",
        "highly",
        "style",
        "image",
        "picture",
        "photo",
        "view",
        "background",
        "scene",
        "like",
        "so",
        "just",
        "can",
        "would",
        "please",
        "want",
        "make",
    ]
)


@dataclass(frozen=True)
class Gates:
    """Bounds.

    `min_words`, `max_words` and `max_chars` are of each message.  `longest_copy` is the longest run of words that a
    chat may share with its prompt, `copied_share` the share of the prompt's runs of four words, `repeated_share` the
    share of the chat's own runs of three words that came before in it.  `floor` and `ceiling` bound the cosine of chat
    and prompt (all-MiniLM-L6-v2).  `facts_share` is the share of key facts that must be told, by word stems, from the
    chat (`words`) or from what a language model understands of it (`llm`).  `blocklist` holds words and phrases that no
    chat may hold.
    """

    languages: tuple[str, ...] = ("en",)
    min_words: int = 2
    max_words: int = 120
    max_chars: int = 4000
    longest_copy: int = 7
    copied_share: float = 0.4
    repeated_share: float = 0.3
    floor: float = 0.25
    ceiling: float = 0.95
    facts: Literal["llm", "words", "off"] = "llm"
    facts_share: float = 0.34
    blocklist: tuple[str, ...] = ()


def form(turns: Sequence[str] | None, wanted: tuple[int, int], gates: Gates) -> str | None:
    """Objection to the form of a chat with `wanted` (fewest, most) turns of the person, or None."""
    if turns is None:
        return "not-json"
    if any(len(turn) > gates.max_chars for turn in turns):  # first, as patterns may be slow on long words
        return "length"
    if not turns or not all(turn.strip() for turn in turns):
        return "empty"
    if not wanted[0] <= len(turns) <= wanted[1]:
        return "turns"
    if any(_REFUSAL.search(turn) for turn in turns):
        return "refusal"
    if any(_ASSISTANT.search(turn) for turn in turns):
        return "assistant-voice"
    lengths = [len(_WORD.findall(turn)) for turn in turns]
    return None if gates.min_words <= min(lengths) and max(lengths) <= gates.max_words else "length"


def content(text: str, prompt: str, model: ModelRecord | None, gates: Gates) -> str | None:
    """Objection to what a chat says, as far as words alone tell, or None."""
    if model is not None and names_model(text, prompt, model):
        return "leaks-model-name"
    if repeated(text) > gates.repeated_share:
        return "repeats-itself"
    if copies(text, prompt, gates):
        return "copies-prompt"
    if words.flags(text):
        return "unsafe-words"
    if words.holds(text, gates.blocklist):
        return "blocklist"
    told = language.of(text)
    return None if told in ("", *gates.languages) else "language"


def names_model(text: str, prompt: str, model: ModelRecord) -> bool:
    """Whether a chat names the model, its file stem or a trigger word that is no word of the prompt."""
    flat = _flat(text)
    names = {_flat(name) for name in (model.name, model.file_stem, model.name.split(" – ")[0])}
    triggers = {_flat(word) for word in model.trigger_words} - {_flat(word) for word in _words(prompt)}
    return any(len(name) >= 4 and name in flat for name in names | {t for t in triggers if len(t) >= 5})


def repeated(text: str) -> float:
    """Share of a chat's runs of three words that came before in it, 0 to 1."""
    said = _words(text)
    return 1 - len(_runs(said, 3)) / (len(said) - 2) if len(said) > 2 else 0.0


def copies(text: str, prompt: str, gates: Gates) -> bool:
    """Whether a chat repeats a long run of the prompt's words, or many short ones."""
    said, meant = _words(text), _words(normalise(prompt))
    runs = _runs(meant, 4)
    shared = len(runs & _runs(said, 4)) / len(runs) if runs else 0.0
    # a prompt of a few words can hardly be said without them: its whole may be as long as the longest run allowed
    return bool(_runs(meant, gates.longest_copy + 1) & _runs(said, gates.longest_copy + 1)) or (
        len(meant) > gates.longest_copy and shared > gates.copied_share
    )


def closeness(cosine: float, gates: Gates) -> str | None:
    """Objection to the cosine of chat and prompt, or None."""
    if cosine < gates.floor:
        return "too-far"
    return "too-similar" if cosine > gates.ceiling else None


def key_facts(prompt: str, most: int = 8) -> list[str]:
    """What a picture must show: the first content words of the prompt, without tags, weights and quality words."""
    found = [word for word in _words(normalise(prompt)) if len(word) > 2 and word not in _STOP and not word.isdigit()]
    return list(dict.fromkeys(found))[:most]


def told(facts: Sequence[str], text: str) -> float:
    """Share of the facts whose stem a text holds, 0 to 1; 1 when there are none."""
    stems = {_stem(word) for word in _words(text)}
    return sum(_stem(fact) in stems for fact in facts) / len(facts) if facts else 1.0


@lru_cache(maxsize=1)
def _encoder() -> Any:
    from chatgenbench.systems.sentences import SentenceEncoder

    return SentenceEncoder()


def cosine(one: str, other: str) -> float:
    """Cosine of two texts, -1 to 1."""
    first, second = _encoder().encode([one, other])
    return round(float(first @ second), 4)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _runs(found: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(found[i : i + size]) for i in range(len(found) - size + 1)}


def _flat(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _stem(word: str) -> str:
    """A crude English stem: enough to take foxes for fox and painted for painting."""
    for ending in ("ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "ly", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
