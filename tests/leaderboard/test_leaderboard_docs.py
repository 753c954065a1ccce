"""What the documents and the schema say is what the program does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import chatgenbench.leaderboard
from chatgenbench.leaderboard import choice
from chatgenbench.leaderboard.columns import COLUMNS
from chatgenbench.leaderboard.manifest import MANIFEST, Manifest, schema_text
from chatgenbench.leaderboard.record import PHASH_BITS, STRAY, TOLERANCES
from chatgenbench.leaderboard.results import LEVELS

TEXT = (Path(__file__).parents[2] / "docs" / "SUBMISSIONS.md").read_text("utf-8")


def test_every_column_is_documented() -> None:
    for column in COLUMNS:
        meaning = column.meaning.replace("|", "\\|")
        assert f"| `{column.name}` | {column.kind} | {meaning} | {column.empty} |" in TEXT


def test_every_field_level_and_tolerance_is_documented() -> None:
    for name in Manifest.model_fields:
        assert f"`{name}`" in TEXT
    for level in LEVELS:
        assert f"\n| {level} | " in TEXT
    for metric, tolerance in TOLERANCES.items():
        assert f"\n| `{metric}` | {tolerance:g}" in TEXT
    assert f"at most {PHASH_BITS} of the 64 bits" in TEXT


@pytest.mark.parametrize(("rows", "rerun"), [(360, 12), (360, 50), (360, 100), (15_000, 50), (15_000, 300)])
def test_the_probabilities_are_those_of_the_formula(rows: int, rerun: int) -> None:
    told = [f"{choice.chance(rows, max(1, round(rows * share)), rerun):.3f}" for share in (0.01, 0.02, 0.05, 0.1)]
    assert f"\n| {rows:,} | {rerun} | {' | '.join(told)} |" in TEXT


@pytest.mark.parametrize(("rows", "rerun"), [(360, 50), (360, 100), (15_000, 100), (15_000, 300)])
def test_the_probabilities_with_another_engine_are_too(rows: int, rerun: int) -> None:
    stray = int(STRAY * rerun)
    told = [f"{choice.chance(rows, round(rows * share), rerun, stray):.3f}" for share in (0.05, 0.1, 0.2)]
    assert f"\n| {rows:,} | {rerun} | {stray} | {' | '.join(told)} |" in TEXT


def test_the_schema_file_is_current_and_fits_a_submission(sound: Path) -> None:
    path = Path(chatgenbench.leaderboard.__file__).with_name("manifest.schema.json")
    assert path.read_text("utf-8") == schema_text()
    schema = json.loads(schema_text())
    told = TypeAdapter(dict[str, object]).validate_json((sound / MANIFEST).read_bytes())
    assert set(told) == set(schema["properties"])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(told, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "sponsor": "x"}, schema)
