"""Who asks for which picture, and how: the assignments of a role-play, drawn from its seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from chatgenbench.build.records import Placed
from chatgenbench.schema import Kind, Noun

FOLDER = Path(__file__).parent
#: Shares of the kinds of input; where a kind is not to be had, the input is single.
SHARES: dict[Kind, float] = {"single": 0.6, "multimodal": 0.2, "history": 0.2}


class Persona(Noun):
    """Somebody who wants pictures."""

    id: str
    name: str
    age: int
    job: str
    mood: str
    language_level: str
    voice: str


class Style(Noun):
    """A way of asking."""

    id: str
    how: str


@dataclass(frozen=True)
class Assignment:
    """One input to be played: `reference` is the training record whose picture the person shows, for `multimodal`."""

    id: str
    record: Placed
    persona: Persona
    style: Style
    kind: Kind
    reference: Placed | None = None


@lru_cache(maxsize=1)
def personas() -> tuple[Persona, ...]:
    """Everyone who can be played."""
    return tuple(Persona.model_validate_json(line) for line in _lines("personas.jsonl"))


@lru_cache(maxsize=1)
def styles() -> tuple[Style, ...]:
    """Every way of asking."""
    return tuple(Style.model_validate_json(line) for line in _lines("styles.jsonl"))


def _lines(name: str) -> list[str]:
    return (FOLDER / name).read_text("utf-8").splitlines()


def assign(records: Iterable[Placed], seed: int, each: int, most: int | None, train: bool = False) -> list[Assignment]:
    """`each` inputs for every test record (and after those, if so asked, every training record), at most `most` in all.

    The first `most` are drawn by the seed, evenly from every test split, so that a small benchmark has all of them too;
    a larger `most` keeps what a smaller one asked.
    A reference picture is of the training split, of the same model where one has a picture, and never of the same
    component: not the gold picture, nothing near it, nothing by its creator.
    """
    asked: list[Placed] = []
    shown: dict[str, list[Placed]] = defaultdict(list)
    for record in records:
        if train or record.split != "train":
            asked.append(record)
        if record.split == "train" and record.picture:
            shown[record.plan.model].append(record)
    turns = _turns(seed, asked)
    slots = [(number, record) for record in asked for number in range(each)]
    slots.sort(key=lambda slot: (slot[1].split == "train", slot[0], turns[slot[1].id]))
    for records_of in shown.values():
        records_of.sort(key=lambda record: record.id)
    everyone = [record for model in sorted(shown) for record in shown[model]]
    return [_assignment(seed, number, record, shown, everyone) for number, record in slots[:most]]


def _turns(seed: int, records: list[Placed]) -> dict[str, tuple[float, int]]:
    """When each record's turn comes: in drawn order within its split, and as far into its split as into the others."""
    drawn: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for record in records:
        drawn[record.split].append((_draw(seed, "order", record.id), record.id))
    return {
        key: ((place + 0.5) / len(order), draw)
        for order in drawn.values()
        for place, (draw, key) in enumerate(sorted(order))
    }


def _assignment(
    seed: int, number: int, record: Placed, shown: dict[str, list[Placed]], everyone: Sequence[Placed]
) -> Assignment:
    key = f"{record.id}-{number + 1}"
    kind = _kind(_draw(seed, "kind", key) / 2**64)
    reference = None
    if kind == "multimodal":
        for among in (shown.get(record.plan.model, []), everyone):
            free = [other for other in among if other.component != record.component]
            if free:
                reference = free[_draw(seed, "reference", key) % len(free)]
                break
        else:
            kind = "single"
    persona = personas()[_draw(seed, "persona", key) % len(personas())]
    style = styles()[_draw(seed, "style", key) % len(styles())]
    return Assignment(key, record, persona, style, kind, reference)


def _kind(point: float) -> Kind:
    for kind, share in SHARES.items():
        if point < share:
            return kind
        point -= share
    return "single"


def _draw(seed: int, what: str, key: str) -> int:
    """A number of 64 bits that depends on nothing else."""
    return int.from_bytes(blake2b(f"{seed}\n{what}\n{key}".encode(), digest_size=8).digest(), "little")
