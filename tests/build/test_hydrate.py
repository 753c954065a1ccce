"""Release -> full: nothing lost is the same benchmark; what is gone or changed goes with its items, counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import FILES, load_benchmark
from chatgenbench.build import hydrate as hydrating
from chatgenbench.build.hydrate import hydrate
from chatgenbench.build.publish import publish
from chatgenbench.build.records import Drop, Record
from chatgenbench.errors import InfraError, UserError
from tests.build.published import CREATOR, built, records, source_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hydrate")
    publish(built(root), root / "release")
    publish(built(root), root / "full", "full")
    return root


def _changed(root: Path, changes: dict[str, Callable[[Record], Record | Drop | None]]) -> Any:
    """The source after some of its records changed or went."""
    fetch = source_of(records(root), root)

    def changed(ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        for key, found in fetch(ids):
            now = changes.get(key, lambda r: r)(found)
            if now is not None:
                yield key, now

    return changed


def test_nothing_lost_is_the_builders_own_benchmark(root: Path, tmp_path: Path) -> None:
    told = hydrate(root / "release", tmp_path / "h", source_of(records(root), root))
    assert told == {"seen": 11, "kept": 11, "dropped": {}, "items": 7, "items_lost": 0, "inputs_lost": 0}
    for name in FILES:
        assert (tmp_path / "h" / name).read_bytes() == (root / "full" / name).read_bytes()
    assert load_benchmark(str(tmp_path / "h")).hash == load_benchmark(str(root / "full")).hash
    pictures = {p.name for p in (tmp_path / "h" / "pictures").rglob("*.png")}
    assert pictures == {p.name for p in (root / "full" / "pictures").rglob("*.png")}
    assert not any(CREATOR in p.read_text("utf-8") for p in (tmp_path / "h").glob("*.jsonl"))
    assert "Hydrated: 11 of 11 demonstrations are here; none was lost." in (tmp_path / "h" / "README.md").read_text()


def test_only_what_is_left_out_is_fetched(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydrating, "BATCH", 4)
    asked: list[list[str]] = []
    fetch = source_of(records(root), root)

    def noted(ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        asked.append(ids)
        yield from fetch(ids)

    hydrate(root / "release", tmp_path / "h", noted)
    assert asked == [["civitai-101", "civitai-102"], ["civitai-104", "civitai-105", "civitai-107"],
                     ["civitai-108", "civitai-110"]]  # fmt: skip
    assert (tmp_path / "h" / "demonstrations.jsonl").read_bytes() == (
        root / "full" / "demonstrations.jsonl"
    ).read_bytes()


def test_what_is_gone_or_changed_is_dropped_and_counted(root: Path, tmp_path: Path) -> None:
    other = str(root / records(root)[5][0].picture)

    def prompt(record: Record) -> Record:
        return record.model_copy(update={"plan": record.plan.model_copy(update={"prompt": "now something else"})})

    def negative(record: Record) -> Record:
        return record.model_copy(update={"plan": record.plan.model_copy(update={"negative_prompt": "x"})})

    fetch = _changed(root, {
        "civitai-101": lambda r: Drop(r.id, "picture-gone"),  # the reference picture of in-multimodal
        "civitai-102": lambda r: None,
        "civitai-104": negative,
        "civitai-107": prompt,
        "civitai-108": lambda r: r.model_copy(update={"picture": other}),
        "civitai-110": lambda r: r.model_copy(update={"picture": ""}),
    })  # fmt: skip
    told = hydrate(root / "release", tmp_path / "h", fetch)
    assert told == {
        "seen": 11, "kept": 5, "items": 3, "items_lost": 4, "inputs_lost": 4,
        "dropped": {"gone": 1, "picture-changed": 1, "picture-gone": 1, "picture-missing": 1, "prompt-changed": 2},
    }  # fmt: skip
    loaded = load_benchmark(str(tmp_path / "h"))
    assert [item.id for item in loaded.items] == ["in-civitai-106", "in-civitai-109", "in-history"]
    assert all(d.plan.prompt for d in loaded.demonstrations.values())
    assert json.loads((tmp_path / "h" / "build.json").read_text())["hydration"]["kept"] == 5


def test_a_release_without_pictures(tmp_path: Path) -> None:
    made = records(tmp_path, with_picture=False)
    publish(built(tmp_path, False), tmp_path / "r")
    told = hydrate(tmp_path / "r", tmp_path / "h", lambda ids: iter([(r.id, r) for r, _ in made if r.id in ids]))
    assert told["kept"] == 11
    assert not load_benchmark(str(tmp_path / "h")).manifest.pictures


def test_nothing_is_written_when_no_item_is_left_or_the_network_fails(root: Path, tmp_path: Path) -> None:
    made = [(r.model_copy(update={"redistributable": False}), s) for r, s in records(tmp_path)]
    publish(built(tmp_path, records=made), tmp_path / "r")
    with pytest.raises(UserError, match="no freestyle input"):
        hydrate(tmp_path / "r", tmp_path / "h", lambda ids: iter(()))

    def down(ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        raise InfraError("the hub does not answer")

    with pytest.raises(InfraError, match="does not answer"):
        hydrate(root / "release", tmp_path / "h", down)
    assert not (tmp_path / "h").exists()


def test_folders_that_cannot_be_hydrated(root: Path, tmp_path: Path) -> None:
    fetch = source_of(records(root), root)
    with pytest.raises(UserError, match="full form already"):
        hydrate(root / "full", tmp_path / "h", fetch)
    with pytest.raises(UserError, match="no published dataset"):
        hydrate(tmp_path, tmp_path / "h", fetch)
    for out in (root / "release", root / "release" / "inside"):
        with pytest.raises(UserError, match="lies in the release itself"):
            hydrate(root / "release", out, fetch)
    publish(built(tmp_path), tmp_path / "r")
    with (tmp_path / "r" / "records.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(UserError, match=r"records\.jsonl is missing or was changed"):
        hydrate(tmp_path / "r", tmp_path / "h", fetch)
