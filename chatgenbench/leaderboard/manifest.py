"""manifest.json: what a submission says of itself.  Its JSON Schema is `manifest.schema.json` beside this file."""

from __future__ import annotations

import json
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from chatgenbench.schema import Noun

FORMAT = 1
#: Names of the files in a submission's folder.
CSV, MANIFEST, VERIFICATION, GALLERY = "submission.csv", "manifest.json", "verification.json", "gallery"


def _seen(text: str) -> str:
    """Refuse what cannot be seen: such characters turn text round or make two names look alike."""
    if not text.isprintable():
        raise ValueError("holds a character that cannot be seen: take it out")
    return text


def _seen_lines(text: str) -> str:
    _seen(text.replace("\n", " "))
    return text


Seen = Annotated[str, AfterValidator(_seen)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_seen)]
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), AfterValidator(_seen_lines)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Link = Annotated[str, StringConstraints(pattern=r"^(https://[^\s<>\"'\\^`{|}]{1,500})?$")]


class Part(Noun):
    """A part of the manifest: unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Who(Part):
    """The system and whose it is.  `name` and `revision` together name one entry of the board."""

    name: Line
    revision: Line
    authors: tuple[Line, ...] = Field(min_length=1, max_length=50)
    link: Link = ""
    licence: Line
    training_data: Text

    @property
    def plain(self) -> str:
        """The name without differences that a reader might overlook: of case, width and ligatures."""
        return unicodedata.normalize("NFKC", self.name).casefold()


class What(Part):
    """The benchmark the run was on."""

    name: Line
    version: Line
    hash: Sha256
    items: int = Field(ge=1)


class How(Part):
    """What the run was made with: seed, text that picture metrics read, weights, machine and versions."""

    seed: int = Field(ge=0)
    text: Literal["gold", "input", "plan"]
    weights: Seen = Field(max_length=200)
    drawn: bool
    scoring: int
    device: Seen = Field(max_length=200)
    dtype: Seen = Field(default="", max_length=50)
    engine: Seen = Field(default="", max_length=500)
    versions: dict[Seen, Seen] = Field(default_factory=dict, max_length=100)


class Cost(Part):
    """Per item, as the submitter states it; None: not stated."""

    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Claim(Part):
    """One metric over all rows or a slice: value and 95 % interval, which is missing for what has none."""

    value: float = Field(allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    n: int = Field(ge=1)
    title: Seen = Field(max_length=100)
    unit: Seen = Field(max_length=100)
    higher_is_better: bool


class Table(Part):
    """The CSV that belongs to this manifest."""

    sha256: Sha256
    rows: int = Field(ge=1)
    size: int = Field(ge=1)


class Shot(Part):
    """One thumbnail of the gallery, `gallery/SHA256.jpg`."""

    item: str = Field(min_length=1, max_length=400)
    sha256: Sha256


class Manifest(Part):
    """The whole manifest.  `key` is the submitter's public Ed25519 key, `signature` that of `signed()`, both hex."""

    format: Literal[1] = 1
    system: Who
    benchmark: What
    run: How
    cost: Cost = Cost()
    table: Table
    metrics: dict[str, Claim] = Field(max_length=200)
    slices: dict[str, dict[str, Claim]] = Field(default_factory=dict, max_length=2000)
    gallery: tuple[Shot, ...] = Field(default=(), max_length=200)
    created: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    key: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    signature: str = Field(default="", pattern=r"^([0-9a-f]{128})?$")


def schema_text() -> str:
    """The JSON Schema (2020-12) of the manifest, as `manifest.schema.json` holds it."""
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"
