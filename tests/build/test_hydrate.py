"""Release -> full: nothing lost is the same benchmark; what is gone or changed goes with its items, counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import FILES, load_benchmark
from chatgenbench.build import hydrate as hydrating
from chatgenbench.build.hydrate import hydrate
from chatgenbench.build.publish import publish
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.refetch import Refetch
from chatgenbench.build.removals import Removals
from chatgenbench.build.store import RawStore
from chatgenbench.errors import InfraError, UserError
from tests.build.published import CREATOR, SPLITS, built, records, source_of
from tests.build.replay import ReplayServer, World


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
    with pytest.raises(UserError, match=r"no published dataset: benchmark\.json is missing or damaged$"):
        hydrate(tmp_path, tmp_path / "h", fetch)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/dataset").symlink_to(root / "release")
    with pytest.raises(UserError, match=r"did you mean .*build/dataset\?$"):
        hydrate(tmp_path / "build", tmp_path / "h", fetch)
    for out in (root / "release", root / "release" / "inside"):
        with pytest.raises(UserError, match="lies in the release itself"):
            hydrate(root / "release", out, fetch)
    publish(built(tmp_path), tmp_path / "r")
    with (tmp_path / "r" / "records.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(UserError, match=r"records\.jsonl is missing or was changed"):
        hydrate(tmp_path / "r", tmp_path / "h", fetch)


def test_what_is_on_the_removal_list_goes(root: Path, tmp_path: Path) -> None:
    made = records(root)
    asked: list[str] = []
    fetch = source_of(made, root)

    def noted(ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        asked.extend(ids)
        yield from fetch(ids)

    # one that is fetched by id, one that is not, one by its picture
    listed = Removals(frozenset({"civitai-104", "civitai-103", made[2][0].picture_sha256}))
    told = hydrate(root / "release", tmp_path / "h", noted, root, listed)
    assert (told["kept"], told["dropped"]) == (8, {"removal": 3})
    assert not {"civitai-104", "civitai-102"} & set(asked)
    assert len(load_benchmark(str(tmp_path / "h")).demonstrations) == 8
    assert not (tmp_path / "h" / made[2][0].picture).exists()
    assert "somebody asked" in hydrating.REASONS["removal"]


@pytest.mark.parametrize(("line", "kept"), [("civitai:7", 1), ("civitai:7@72", 11), ("civitai:5@51", 0)])
def test_models_on_the_removal_list_leave_the_catalog(root: Path, tmp_path: Path, line: str, kept: int) -> None:
    fetch = source_of(records(root), root)
    if not kept:  # the LoRA has no other base
        with pytest.raises(UserError, match="no freestyle input"):
            hydrate(root / "release", tmp_path / "h", fetch, root, Removals(frozenset({line})))
        return
    told = hydrate(root / "release", tmp_path / "h", fetch, root, Removals(frozenset({line})))
    assert told["kept"] == 11 if kept == 11 else told["dropped"] == {"removal": 11 - told["kept"]}
    assert ("civitai:7@71" in load_benchmark(str(tmp_path / "h")).catalog.records) == (kept == 11)


def test_a_dataset_of_the_hub_is_found_by_its_name(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library gives a folder of links."""
    links = tmp_path / "snapshots" / "abc"
    for file in (root / "release").rglob("*"):
        if file.is_file():
            link = links / file.relative_to(root / "release")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(file, link.parent))
    asked = []

    def snapshot_download(name: str, **more: Any) -> str:
        asked.append((name, more["revision"]))
        return str(links)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    told = hydrate(Path("hf:somebody/harbour@v1"), tmp_path / "h", source_of(records(root), root))
    assert (asked, told["kept"]) == ([("somebody/harbour", "v1")], 11)
    assert not any(path.is_symlink() for path in (tmp_path / "h").rglob("*"))
    assert load_benchmark(str(tmp_path / "h")).hash == load_benchmark(str(root / "full")).hash


WORLD = World(models=2, images_per_version=12, odd=False)
IDS = [f"civitai-{key}" for key in sorted(WORLD.images)[: len(SPLITS)]]


def refetch(server: ReplayServer, root: Path, token: str | None = None, skip: bool = False) -> Refetch:
    return Refetch(root, server.base_url, token, lambda *_: None, allow_private=True, pace=1e6, skip=skip)


def released(server: ReplayServer, root: Path) -> Path:
    """A release of pictures of the server, none of which may be handed on."""
    found = dict(refetch(server, root / "builder")(IDS))
    made = []
    for key, split in zip(IDS, SPLITS, strict=True):
        record = found[key]
        assert isinstance(record, Record)
        made.append(
            (record.model_copy(update={"plan": record.plan.model_copy(update={"model": "civitai:7@71"})}), split)
        )
    publish(built(root / "builder", records=made), root / "release")
    server.reset()
    return root / "release"


class Ending(ReplayServer):
    """Answers some requests for records, and then no more."""

    left = 10**6
    ends_with: str | int = "500"

    def _over(self, key: str) -> bool:
        return key.startswith("/images") and len([k for k in self.keys if k.startswith("/images")]) >= self.left

    def fault_of(self, key: str) -> str | None:
        return "500" if self.ends_with == "500" and self._over(key) else None

    def refusal(self, key: str, headers: dict[str, str]) -> int | None:
        over = isinstance(self.ends_with, int) and self._over(key) and headers.get("authorization") != "Bearer better"
        return int(self.ends_with) if over else None


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "0.001")


@pytest.mark.usefixtures("_hasty")
def test_nobodys_name_is_kept(tmp_path: Path) -> None:
    with ReplayServer(WORLD) as server:
        told = hydrate(released(server, tmp_path), tmp_path / "h", refetch(server, tmp_path / "f"), tmp_path / "f")
    assert told["kept"] == len(IDS)
    for folder in ("builder/raw", "f/raw"):
        with RawStore(tmp_path / folder) as store:
            bodies = b"".join(found.body for key in store if (found := store.get(key)))
        assert len(bodies) > 1000
        assert not any(name.encode() in bodies for name in WORLD.names)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Quillon" not in files


@pytest.mark.usefixtures("_hasty")
def test_a_creator_is_removed_by_name(tmp_path: Path) -> None:
    name = WORLD.images[int(IDS[0].removeprefix("civitai-"))]["username"]
    theirs = [key for key in IDS if WORLD.images[int(key.removeprefix("civitai-"))]["username"] == name]
    with ReplayServer(WORLD) as server:
        release, fetch = released(server, tmp_path), refetch(server, tmp_path / "f")
        told = hydrate(release, tmp_path / "h", fetch, tmp_path / "f", Removals(people=frozenset({name.upper()})))
    assert told["dropped"] == {"removal": len(theirs)}
    assert not set(theirs) & set(load_benchmark(str(tmp_path / "h")).demonstrations)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(
    ("ends_with", "error"), [("500", InfraError), (401, UserError), (403, UserError), (407, UserError)]
)
def test_a_failure_in_the_middle_costs_nothing(
    ends_with: str | int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydrating, "BATCH", 4)
    root = tmp_path / "f"
    with Ending(WORLD) as server:
        release = released(server, tmp_path)
        server.ends_with, server.left = ends_with, 6
        with pytest.raises(error) as caught:
            hydrate(release, tmp_path / "h", refetch(server, root), root)
        if ends_with in (401, 403):
            assert "$CIVITAI_API_TOKEN" in str(caught.value)
        assert not (tmp_path / "h").exists()
        with RawStore(root / "raw") as store:
            kept = set(store)
            assert {store.status(key) for key in store} == {200}
        assert len(kept) == 6
        server.reset()
        server.left = 10**6
        assert hydrate(release, tmp_path / "h", refetch(server, root, "better"), root)["kept"] == len(IDS)
        assert len([key for key in server.keys if key.startswith("/images")]) == len(IDS) - 6
        assert not kept & set(server.keys)
        pictures = [seen.target for seen in server.requests if seen.target.startswith("/pictures/")]
        assert len(pictures) == len(set(pictures)) == len(IDS) - 4  # those of the first four were there


@pytest.mark.usefixtures("_hasty")
def test_a_record_that_is_refused_is_dropped_and_asked_for_again(tmp_path: Path) -> None:
    class Closed(ReplayServer):
        def refusal(self, key: str, headers: dict[str, str]) -> int | None:
            number = IDS[3].removeprefix("civitai-")
            return 403 if number in key and headers.get("authorization") == "Bearer worse" else None

    with Closed(WORLD) as server:
        release = released(server, tmp_path)
        told = hydrate(release, tmp_path / "h", refetch(server, tmp_path / "f", "worse"), tmp_path / "f")
        assert told["dropped"] == {"refused": 1}
        server.reset()
        fetch = refetch(server, tmp_path / "f", "better")
        assert hydrate(release, tmp_path / "h2", fetch, tmp_path / "f")["kept"] == len(IDS)
        assert len(server.keys) == 1


@pytest.mark.usefixtures("_hasty")
def test_a_record_that_is_never_answered_can_be_gone_past(tmp_path: Path) -> None:
    class Poisoned(ReplayServer):
        never = IDS[3].removeprefix("civitai-")

        def fault_of(self, key: str) -> str | None:
            return "500" if self.never in key else None

    with Poisoned(WORLD) as server:
        server.never = "nothing"
        release, root = released(server, tmp_path), tmp_path / "f"
        server.never = Poisoned.never
        with pytest.raises(InfraError, match="or add --skip-unanswered"):
            hydrate(release, tmp_path / "h", refetch(server, root), root)
        told = hydrate(release, tmp_path / "h", refetch(server, root, skip=True), root)
        assert told["dropped"] == {"unanswered": 1}
        server.never = "nothing"
        assert hydrate(release, tmp_path / "h2", refetch(server, root), root)["kept"] == len(IDS)


@pytest.mark.usefixtures("_hasty")
def test_ids_that_are_not_the_hubs_are_gone(tmp_path: Path) -> None:
    with ReplayServer(WORLD) as server:
        found = dict(refetch(server, tmp_path)(["civitai-x", "other-1", "civitai-999", IDS[0]]))
    assert [found[key] for key in ("civitai-x", "other-1", "civitai-999")] == [
        Drop(key, "gone") for key in ("civitai-x", "other-1", "civitai-999")
    ]
    assert isinstance(found[IDS[0]], Record)


def test_patience_of_no_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "soon")
    with ReplayServer(WORLD) as server, pytest.raises(UserError, match="CHATGENBENCH_PATIENCE"):
        list(refetch(server, tmp_path)(IDS))


#: Hydrates in a process of its own, as the command does.
KILLED = """
import sys
from pathlib import Path
from chatgenbench.build.hydrate import hydrate
from chatgenbench.build.refetch import Refetch
release, out, root = map(Path, sys.argv[1:4])
hydrate(release, out, Refetch(root, sys.argv[4], None, lambda *_: None, True, 1e6), root)
"""


def test_kills_cost_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CHATGENBENCH_PATIENCE": "0.001"}
    root = tmp_path / "f"
    with ReplayServer(WORLD) as server:
        release = released(server, tmp_path)
        server.pause = 0.05
        command = [sys.executable, "-c", KILLED, str(release), str(tmp_path / "h"), str(root), server.base_url]
        for wanted in (3, 8, 14):
            kept: set[str] = set()
            if (root / "raw").exists():
                with RawStore(root / "raw") as store:
                    kept = set(store)
            before = len(server.requests)
            with subprocess.Popen(command, env=environment) as process:
                while len(server.requests) < wanted and process.poll() is None:
                    time.sleep(0.005)
                process.kill()
            time.sleep(0.1)
            assert not kept & {seen.key for seen in server.requests[before:]}
        server.pause = 0
        assert hydrate(release, tmp_path / "h", refetch(server, root), root)["kept"] == len(IDS)
        records_asked = [key for key in server.keys if key.startswith("/images")]
    assert len(records_asked) <= len(IDS) + 3  # what was under way at a kill
