"""The removal list: every form of a line, what it hits, and which lines are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build.civitai import creator_named
from chatgenbench.build.collect import Query, collect
from chatgenbench.build.funnel import Count
from chatgenbench.build.records import Record
from chatgenbench.build.removals import Removals
from chatgenbench.build.sources import Civitai
from chatgenbench.build.store import RawStore
from chatgenbench.build.workspace import Workspace
from chatgenbench.errors import UserError
from tests.build.published import CREATOR, SECRET_USER, record
from tests.build.replay import ReplayServer, World


def _load(tmp_path: Path, text: str) -> Removals:
    path = tmp_path / "removals.txt"
    path.write_text(text, "utf-8")
    return Removals.load(path)


@pytest.mark.parametrize(
    ("line", "hit"),
    [("civitai-110", True), ("civitai-11", False), (CREATOR, True), (CREATOR.upper(), True), ("civitai:7@71", True),
     ("civitai:7", True), ("civitai:7@72", False), ("civitai:71", False), ("civitai:5@51", True),
     ("https://civitai.com/images/110", True), ("https://civitai.com/images/110?x=1", True),
     ("https://civitai.com/models/7/stormy?modelVersionId=71", True), ("https://civitai.com/models/70", False),
     ("  civitai-110   # asked on a Monday", True), ("# civitai-110", False), ("", False), ("0" * 64, False)],
)  # fmt: skip
def test_what_a_line_hits(tmp_path: Path, line: str, hit: bool) -> None:
    assert _load(tmp_path, f"# people who asked\n\n{line}\n").hits(record(tmp_path, 10)) == hit


def test_a_picture_goes_by_its_checksum_and_an_empty_field_is_no_name(tmp_path: Path) -> None:
    one = record(tmp_path, 10)
    assert _load(tmp_path, one.picture_sha256).hits(one)
    nameless = one.model_copy(update={"creator": "", "picture_sha256": ""})
    assert not _load(tmp_path, "civitai-1\n").hits(nameless)
    assert not Removals().hits(nameless)


def test_models_of_the_catalog_go_too(tmp_path: Path) -> None:
    found = _load(tmp_path, "civitai:7\nciv:5@51\n")
    assert found.hits_model("civitai:7@71")
    assert not found.hits_model("civitai:5@51")


@pytest.mark.parametrize(
    "line",
    ["@jane_doe_1987", "@Jane_DOE_1987", "https://civitai.com/user/jane_doe_1987",
     "https://CIVITAI.com/user/Jane_doe_1987/models?x=1", "https://civitai.red/@jane%5Fdoe_1987/",
     "@jane_doe_1987  # wrote on a Monday"],
)  # fmt: skip
def test_a_creator_goes_by_name(tmp_path: Path, line: str) -> None:
    salt = b"salt of the tests"
    hers = record(tmp_path, 10).model_copy(update={"creator": creator_named(salt, SECRET_USER)})
    listed = _load(tmp_path, f"{line}\ncivitai-1\n")
    assert (len(listed.people), listed.names) == (1, {"civitai-1"})
    with pytest.raises(ValueError, match="resolved"):
        listed.hits(hers)
    found = listed.resolved(lambda: salt)
    assert found.hits(hers)
    assert not found.hits(record(tmp_path, 10))
    assert not listed.resolved(lambda: b"another").hits(hers)
    assert "jane" not in repr(found).lower()


def test_no_salt_is_asked_for_when_nobody_is_named(tmp_path: Path) -> None:
    def salt() -> bytes:
        raise AssertionError("asked")

    assert _load(tmp_path, "civitai-1\n").resolved(salt).names == {"civitai-1"}


def test_the_name_finds_what_a_build_makes_of_it(tmp_path: Path) -> None:
    world = World(models=2, images_per_version=12)
    count, workspace = Count(), Workspace(tmp_path)
    with ReplayServer(world) as server, RawStore(workspace.raw) as store:
        query = Query(base_url=server.base_url, requests_per_second=1e6)
        collect(store, query, count, lambda *_: None, None)
        records = [r for r in Civitai(store, query, workspace.salt).records(Count()) if isinstance(r, Record)]
    one = records[0]
    name = world.images[int(one.id.removeprefix("civitai-"))]["username"]
    found = _load(tmp_path, f"@{name.upper()}\n").resolved(workspace.salt)
    hers = {f"civitai-{key}" for key, image in world.images.items() if image["username"] == name}
    assert {r.id for r in records if found.hits(r)} == hers & {r.id for r in records}


@pytest.mark.parametrize("line", ["110", "jane", "civitai-", "civitai:", "c0ffee", "civitai-1 civitai-2",
                                  "a" * 63, "@", "@a b", "https://civitai.com/user/",
                                  "https://civitai.com/user/a%20b"])  # fmt: skip
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"removals\.txt, line 2: ") as caught:
        _load(tmp_path, f"civitai-1\n{line}\n")
    assert "\n" not in str(caught.value)


def test_a_bare_number_is_answered_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="civitai-110 for a picture or civitai:110 for a model"):
        _load(tmp_path, "110")


@pytest.mark.parametrize("line", ["jane", "@", "what is this"])
def test_all_forms_are_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"civitai-PICTURE.*civitai:MODEL.*@USERNAME.*address.*16.*64 hexadecimal"):
        _load(tmp_path, line)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the removal list"):
        Removals.load(tmp_path / "none.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        Removals.load(tmp_path / "bad.txt")


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode("utf-8", "replace"))
    assert "\n" not in _refusal(path)


def _refusal(path: Path) -> str:
    """What is said of a list that is refused, nothing of one that is read."""
    try:
        Removals.load(path)
    except UserError as error:
        return str(error)
    return ""
