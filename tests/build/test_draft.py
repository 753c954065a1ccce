"""The place of a dataset: taken whole, only from a dataset of ours, and nothing else is ever lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatgenbench.build.draft import MARK, SUMS, check_free, draft_of, write_sums
from chatgenbench.errors import InfraError, UserError

MANIFEST = '{"name": "n", "version": "1", "label": "l", "licence": "x", "default_model": "m", "few_shot_threshold": 0}'


def _write(folder: Path, text: str = "new") -> None:
    """A dataset as far as its place is concerned."""
    with draft_of(folder) as draft:
        (draft / "data").mkdir()
        (draft / "data" / "rows").write_text(text)
        (draft / MARK).write_text(MANIFEST)
        write_sums(draft)


def _tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def _rows(folder: Path) -> str:
    return (folder / "data" / "rows").read_text()


@pytest.mark.parametrize(
    "files",
    [
        {MARK: "{}"},
        {MARK: MANIFEST},
        {MARK: "{}", SUMS: f"{'0' * 64}  {MARK}\n"},
        {MARK: MANIFEST, SUMS: ""},
        {MARK: MANIFEST, SUMS: "nonsense\n"},
        {SUMS: f"{'0' * 64}  {MARK}\n"},
    ],
    ids=["empty mark", "no sums", "foreign mark", "empty sums", "broken sums", "no mark"],
)
def test_only_a_dataset_of_ours_is_replaced(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "d").mkdir()
    for name, text in {**files, "thesis.txt": "years of work"}.items():
        (tmp_path / "d" / name).write_text(text)
    before = _tree(tmp_path / "d")
    with pytest.raises(UserError, match="neither empty nor a dataset of ours"):
        _write(tmp_path / "d")
    assert _tree(tmp_path / "d") == before


def _note(folder: Path) -> None:
    (folder / "data" / "notes.txt").write_text("mine")


def _link(folder: Path) -> None:
    (folder / "data" / "notes.txt").symlink_to(folder.parent / "elsewhere")


def _linked_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder / "data" / "notes.txt").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("add", [_note, _link, _linked_folder])
def test_what_is_not_listed_is_named_and_kept(tmp_path: Path, add: Callable[[Path], None]) -> None:
    _write(tmp_path / "d", "old")
    add(tmp_path / "d")
    with pytest.raises(UserError, match=r"holds data/notes\.txt, .*: move it away, or choose another --out"):
        _write(tmp_path / "d")
    assert _rows(tmp_path / "d") == "old"
    assert os.path.lexists(tmp_path / "d" / "data" / "notes.txt")


def test_what_is_added_while_the_draft_is_made_is_kept(tmp_path: Path) -> None:
    _write(tmp_path / "d", "old")
    with pytest.raises(UserError, match=r"holds notes\.txt"), draft_of(tmp_path / "d"):
        (tmp_path / "d" / "notes.txt").write_text("mine")
    assert _rows(tmp_path / "d") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_missing_changed_and_left_over_files_do_not_matter(tmp_path: Path) -> None:
    _write(tmp_path / "d", "old")
    (tmp_path / "d" / "data" / "rows").unlink()
    (tmp_path / "d" / "data" / ".DS_Store").write_text("x")
    (tmp_path / "d" / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / "d" / ".cache" / "huggingface" / "x").write_text("x")
    _write(tmp_path / "d")
    assert _tree(tmp_path / "d").keys() == {"data/rows", MARK, SUMS}
    (tmp_path / "d" / "data" / "rows").write_text("changed")
    _write(tmp_path / "d")
    assert _rows(tmp_path / "d") == "new"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "big disk" / "set")
    _write(tmp_path / "link", "first")  # to where nothing is yet
    _write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert _rows(tmp_path / "big disk" / "set") == "new"
    assert [p.name for p in (tmp_path / "big disk").iterdir()] == ["set"]
    (tmp_path / "big disk" / "set" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        _write(tmp_path / "link")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="cannot be used"):
        _write(tmp_path / "loop")


@pytest.mark.parametrize("name", [".", "..", "/", ""])
def test_folders_without_a_name_of_their_own(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    for refused in (check_free, _write):
        with pytest.raises(UserError, match="neither empty nor a dataset of ours"):
            refused(Path(name))
    assert _tree(tmp_path) == {"here/notes.txt": "mine"}


def test_the_current_folder_is_filled_and_never_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    _write(Path())
    assert _rows(Path()) == "new"
    assert Path.cwd().samefile(tmp_path / "here")
    for inside in (".", "data"):
        monkeypatch.chdir(tmp_path / "here" / inside)
        with pytest.raises(UserError, match="while you are in it"):
            _write(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    _write(Path("here"), "newer")
    assert _rows(Path("here")) == "newer"
    assert os.listdir() == ["here"]


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "d", "old")
    (tmp_path / "d").rename(tmp_path / ".d.old")
    (tmp_path / ".d.part").mkdir()
    with pytest.raises(UserError, match="another mistake"), draft_of(tmp_path / "d"):
        raise UserError("another mistake")
    assert _rows(tmp_path / "d") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_rename_that_fails_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "d", "old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == ".d.part":
            raise OSError(5, "the disk is tired")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InfraError, match="the disk is tired"):
        _write(tmp_path / "d")
    assert _rows(tmp_path / "d") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        _write(tmp_path / "d")
    with pytest.raises(UserError, match="cannot look into"):
        _write(tmp_path / ("d" * 300))
