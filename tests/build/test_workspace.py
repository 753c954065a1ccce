"""The folder of a build: whole files, marks that know what they were made from, one process at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from chatgenbench.build.records import Drop, Placed, Record
from chatgenbench.build.workspace import Workspace, read_lines, write_lines, write_whole
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Arguments, Plan

ARGUMENTS = Arguments(sampler="Euler a", steps=20, cfg_scale=7, width=512, height=512)


def record(key: str) -> Record:
    plan = Plan(prompt="a red fox \u2028 caf\u00e9", model="m", arguments=ARGUMENTS)
    return Record(id=key, source="test", plan=plan, base_model="SD 1.5", licence="CC0-1.0")


def test_records_are_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "stages" / "parse.jsonl"
    kept = [record("a"), record("b")]
    assert write_lines(path, iter(kept)) == 2
    assert list(read_lines(path, Record)) == kept
    placed = Placed(**kept[0].model_dump(), split="few-shot", component=3)
    write_lines(path, [placed])
    assert list(read_lines(path, Placed)) == [placed]


def test_a_damaged_line_is_named_with_what_to_delete(tmp_path: Path) -> None:
    path = tmp_path / "parse.jsonl"
    write_lines(path, [record("a")])
    path.write_bytes(path.read_bytes() + b'{"id": broken\n')
    with pytest.raises(UserError, match=r"line 2 is damaged: delete .*parse\.json and type"):
        list(read_lines(path, Record))


def test_a_stage_that_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "parse.jsonl"
    write_lines(path, [record("a")])

    def broken():
        yield record("b")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_lines(path, broken())
    assert [r.id for r in read_lines(path, Record)] == ["a"]


def test_a_stage_is_done_only_for_what_it_was_made_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.done("parse", ["x"]) is None
    write_lines(workspace.lines("parse"), [record("a")])
    workspace.finish("parse", ["x"], {"seen": 1})
    assert workspace.done("parse", ["x"]) == {"given": workspace.done("parse", ["x"])["given"], "seen": 1}
    assert workspace.done("parse", ["y"]) is None
    workspace.counters("parse").write_text("{torn")
    assert workspace.done("parse", ["x"]) is None


def test_two_processes_cannot_share_it_and_a_bad_place_is_told(tmp_path: Path) -> None:
    with Workspace(tmp_path / "w").lock(), pytest.raises(UserError, match="another chatgenbench is working"):
        Workspace(tmp_path / "w").lock().__enter__()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another"):
        Workspace(tmp_path / "file").lock().__enter__()
    with pytest.raises(InfraError, match="cannot write"):
        write_whole(tmp_path / "file" / "x", b"")


def test_the_salt_is_made_once_and_readable_by_its_owner_only(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CHATGENBENCH_SALT", raising=False)
    workspace = Workspace(tmp_path)
    first = workspace.salt()
    assert len(first) == 64
    assert Workspace(tmp_path).salt() == first
    assert stat.S_IMODE((workspace.private / "salt").stat().st_mode) == 0o600
    monkeypatch.setenv("CHATGENBENCH_SALT", "mine")
    with pytest.raises(UserError, match="begun with another \\$CHATGENBENCH_SALT"):
        workspace.salt()


def test_a_salt_that_was_given_is_not_kept_but_known_again(tmp_path: Path, monkeypatch) -> None:
    workspace = Workspace(tmp_path)
    monkeypatch.setenv("CHATGENBENCH_SALT", "mine")
    assert workspace.salt() == workspace.salt() == b"mine"
    assert not any(b"mine" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for other in ("another", ""):
        monkeypatch.setenv("CHATGENBENCH_SALT", other)
        with pytest.raises(UserError, match="begun with another"):
            workspace.salt()


def test_a_mark_that_is_no_object_is_no_mark(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_lines(workspace.lines("parse"), [record("a")])
    workspace.counters("parse").write_text("[]")
    assert workspace.done("parse", ["x"]) is None


def test_a_drop_has_a_name_for_its_reason() -> None:
    assert Drop("a", "no-prompt") == Drop("a", "no-prompt")
