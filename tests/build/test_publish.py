"""The published folder: read by the harness and by `datasets`, checked by its sums, the same bytes every time."""

from __future__ import annotations

import dataclasses
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import load_benchmark
from chatgenbench.build.datacard import funnel_chart
from chatgenbench.build.publish import check_name, check_push, publish, push
from chatgenbench.errors import BenchmarkError, InfraError, UserError
from tests.build.published import CREATOR, FUNNEL, LEAKS, SECRET_USER, built, record, records


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with its dataset in both forms."""
    root = tmp_path_factory.mktemp("build")
    publish(built(root), root / "release")
    publish(built(root), root / "full", "full")
    return root


def test_the_full_form_is_a_benchmark(root: Path) -> None:
    loaded = load_benchmark(str(root / "full"))
    assert (loaded.manifest.form, loaded.manifest.hydrated, loaded.manifest.pictures) == ("full", True, True)
    assert loaded.manifest.default_model == "civitai:5@51"
    assert loaded.manifest.licence == "CC0-1.0, LicenseRef-Civitai"
    assert len(loaded.train) == 6
    assert len(loaded.items) == 7
    assert loaded.by_id["in-civitai-106"].slices == {"style": "question"}
    assert loaded.gold(loaded.by_id["in-civitai-110"]).plan.prompt == "a painted lighthouse number 10, storm"
    loaded.require_pictures(loaded.items)
    [reference] = loaded.by_id["in-multimodal"].input.images
    assert (loaded.root / reference).is_file()


def test_a_release_has_to_be_hydrated_first(root: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"chatgenbench build hydrate .*/release --out DIR"):
        load_benchmark(str(root / "release"))


def test_a_release_leaves_out_what_is_not_ours(root: Path) -> None:
    folder = root / "release"
    everything = b"\n".join(data for name, data in _files(folder).items())
    assert CREATOR.encode() not in everything
    for line, provenance in zip(_lines(folder / "demonstrations.jsonl"), _lines(folder / "records.jsonl"), strict=True):
        number = int(line["id"].removeprefix("civitai-")) - 100
        whole = number % 3 == 0
        assert bool(line["plan"]["prompt"]) == whole == provenance.get("redistributable", False)
        assert bool(line["plan"].get("negative_prompt")) == whole
        assert ("url" in provenance) == whole
        assert (folder / line["picture"]).is_file() == whole
        assert line["plan"]["arguments"]["steps"] == 20 + number
        assert re.fullmatch("[0-9a-f]{64}", provenance["prompt_sha256"])
        assert line["picture_sha256"] == provenance["picture_sha256"]
        if not whole:
            assert f"{SECRET_USER}_{number}".encode() not in everything
            assert f"lighthouse number {number},".encode() not in everything
    assert len(_lines(folder / "chats.jsonl")) == 8
    assert _lines(folder / "chats.jsonl")[0]["response_id"] == "r-1"
    told = {chat["id"]: chat["demonstration"] for chat in _lines(folder / "chats.jsonl")}
    items = {item["id"] for item in _lines(folder / "items.jsonl")}
    to_train_on = {chat["id"]: chat["demonstration"] for chat in _lines(folder / "train_inputs.jsonl")}
    assert to_train_on == {key: value for key, value in told.items() if key not in items}
    assert to_train_on


def test_everything_open_needs_no_hydration(tmp_path: Path) -> None:
    made = [(r.model_copy(update={"redistributable": True}), s) for r, s in records(tmp_path, with_picture=False)]
    publish(built(tmp_path, False, records=made), tmp_path / "d")
    manifest = load_benchmark(str(tmp_path / "d")).manifest
    assert (manifest.form, manifest.hydrated, manifest.pictures) == ("release", True, False)
    assert "**Release form, complete:**" in (tmp_path / "d" / "README.md").read_text("utf-8")


def test_equal_input_is_equal_bytes(root: Path, tmp_path: Path) -> None:
    again = dataclasses.replace(
        built(tmp_path),
        settings=dict(reversed(built(tmp_path).settings.items())),
        catalog=list(reversed(built(tmp_path).catalog)),
    )
    publish(again, tmp_path / "other name")
    assert _files(tmp_path / "other name") == _files(root / "release")
    publish(again, tmp_path / "other name")  # in place of itself
    assert _files(tmp_path / "other name") == _files(root / "release")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("form", ["release", "full"])
def test_sums_cover_every_file(root: Path, form: str) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=root / form, check=False)
    assert done.returncode == 0
    named = {line.split("  ")[1] for line in (root / form / "SHA256SUMS").read_text().splitlines()}
    assert named == _files(root / form).keys() - {"SHA256SUMS"}


@pytest.mark.parametrize("form", ["release", "full"])
def test_datasets_loads_all_splits(root: Path, form: str, tmp_path: Path) -> None:
    from datasets import load_dataset  # type: ignore[import-untyped]

    loaded = load_dataset(str(root / form), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 6, "supervised": 5, "few_shot": 2}
    rows = {row["id"]: row for row in loaded["supervised"]}
    assert [m["text"] for m in rows["in-history"]["messages"]] == ["a tower?", "where?", "by the sea"]
    assert [m["role"] for m in rows["in-history"]["messages"]] == ["user", "assistant", "user"]
    assert rows["in-civitai-106"]["picture"].size == (8, 8)
    assert (rows["in-civitai-106"]["steps"], rows["in-civitai-106"]["cfg_scale"]) == (26, 7.0)
    assert (rows["in-civitai-107"]["picture"] is None) == (form == "release")
    assert len(rows["in-multimodal"]["reference_pictures"]) == (form == "full")


def test_a_split_without_rows_is_not_announced(tmp_path: Path) -> None:
    from datasets import load_dataset

    made = [(r, "supervised" if s == "few-shot" else s) for r, s in records(tmp_path)]
    publish(built(tmp_path, records=made), tmp_path / "d")
    assert set(load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "c"))) == {"train", "supervised"}


def test_the_card_tells_counts_funnel_and_contact(root: Path) -> None:
    card = (root / "release" / "README.md").read_text("utf-8")
    header = card.split("---")[1]
    assert "license: other" in header
    assert "- split: few_shot" in header
    assert '"n<1K"' in header
    assert "| supervised | 3 | 5 | 3 | 1 | 1 | 5 |" in card
    assert "| parse | 20 | 14 | records | no-prompt 4, no-meta 2 | repeated 3 |" in card
    assert "of 7 of 11" in card
    assert "remove@example.org" in card
    sheet = (root / "release" / "DATASHEET.md").read_text("utf-8")
    titles = re.findall(r"^## \d\. (.*)", sheet, re.MULTILINE)
    assert titles == ["Motivation", "Composition", "Collection process", "Preprocessing, cleaning, labelling", "Uses",
                      "Distribution", "Maintenance"]  # fmt: skip
    assert '"max_level": 1' in sheet
    assert "{{" not in card + sheet
    assert json.loads((root / "release" / "leaks.json").read_text()) == LEAKS


def test_the_card_tells_what_to_type_in_each_form(root: Path, tmp_path: Path) -> None:
    made = [(r.model_copy(update={"redistributable": True}), s) for r, s in records(tmp_path)]
    publish(built(tmp_path, records=made), tmp_path / "complete")
    cards = {folder.name: folder / "README.md" for folder in (root / "release", root / "full", tmp_path / "complete")}
    for name, path in cards.items():
        usage = path.read_text("utf-8").split("## Use it")[1].split("## What it holds")[0]
        left_out = name == "release"
        assert ("export CIVITAI_API_TOKEN=" in usage) == left_out
        assert ("chatgenbench build hydrate FOLDER --out FULL\n" in usage) == left_out
        assert f"eval --system retrieval --benchmark {'FULL' if left_out else 'FOLDER'} --out runs/first" in usage
        assert usage.count("```") == 4
    assert "build hydrate FOLDER --out FULL" in (root / "release" / "DATASHEET.md").read_text("utf-8")


def test_the_datasheet_speaks_of_people_only_where_there_are_any(root: Path, tmp_path: Path) -> None:
    publish(built(tmp_path, settings={"source": "bundled"}), tmp_path / "d")
    sheet, other = ((folder / "DATASHEET.md").read_text("utf-8") for folder in (tmp_path / "d", root / "release"))
    assert "No record has a person behind it" in sheet
    assert "They came with\nthe program" in sheet
    for told in ("Creators are known only as keyed hashes", "were not asked one by one"):
        assert told in other
        assert told not in sheet


def test_one_demonstration_without_a_picture_does_not_switch_pictures_off(tmp_path: Path) -> None:
    made = records(tmp_path)
    made[7] = (made[7][0].model_copy(update={"picture": "", "picture_sha256": ""}), made[7][1])
    publish(built(tmp_path, records=made), tmp_path / "d", "full")
    told = json.loads((tmp_path / "d" / "build.json").read_text())["left_out"]
    assert told == {"freestyle inputs whose demonstration has no picture, where others have one": 1}
    loaded = load_benchmark(str(tmp_path / "d"))
    assert loaded.manifest.pictures
    assert len(loaded.items) == 6
    loaded.require_pictures(loaded.items)
    assert "Left out when publishing: 1 freestyle inputs whose" in (tmp_path / "d" / "README.md").read_text("utf-8")


def test_text_of_others_cannot_break_the_card(tmp_path: Path) -> None:
    evil = 'a | b\n---\n"x": <script>alert(1)</script> [y](javascript:z)'
    publish(built(tmp_path, name=evil, contact=evil, sources=((evil, evil, evil),)), tmp_path / "d")
    card = (tmp_path / "d" / "README.md").read_text("utf-8")
    header, body = card.split("\n---\n", 1)
    assert json.loads(header.split("pretty_name: ")[1].splitlines()[0]) == evil
    assert "<script>" not in body
    assert "[y](" not in body


def test_the_chart_is_well_formed_and_bounded() -> None:
    import xml.etree.ElementTree as tree

    name = "<&\"'>"
    chart = tree.fromstring(
        funnel_chart({name: FUNNEL["parse"], **FUNNEL, "none": {"seen": 0, "kept": 0, "dropped": {}}})
    )
    widths = [float(r.attrib["width"]) for r in chart.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert len(widths) == 10
    assert max(widths) == 380
    assert name in [t.text for t in chart.iter("{http://www.w3.org/2000/svg}text")]


def test_what_does_not_fit_together_is_left_out_and_told(tmp_path: Path) -> None:
    made = records(tmp_path)
    stray = record(tmp_path, 7)
    stray = stray.model_copy(update={"plan": stray.plan.model_copy(update={"model": "civitai:9@91"})})
    made[7] = (stray, "supervised")
    made[1] = (made[1][0].model_copy(update={"picture": "", "picture_sha256": ""}), "train")
    whole = built(tmp_path)
    publish(dataclasses.replace(whole, records=made), tmp_path / "d", "full")
    assert json.loads((tmp_path / "d" / "build.json").read_text())["left_out"] == {
        "demonstrations of a model that the catalog lacks": 1,
        "freestyle inputs whose demonstration is not there": 1,
        "freestyle inputs whose reference picture is not there": 1,
    }
    assert len(load_benchmark(str(tmp_path / "d")).items) == 5


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="neither empty nor a dataset"):
        publish(built(tmp_path), tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_nothing_is_left_behind_when_publishing_fails(tmp_path: Path) -> None:
    whole = built(tmp_path)
    publish(whole, tmp_path / "d")
    before = _files(tmp_path / "d")
    with pytest.raises(UserError, match="no freestyle input"):
        publish(dataclasses.replace(whole, inputs=[]), tmp_path / "d")
    first = records(tmp_path)[0][0]
    (tmp_path / first.picture).unlink()
    with pytest.raises(InfraError, match="is missing"):
        publish(whole, tmp_path / "d")
    (tmp_path / first.picture).write_bytes(b"other bytes")
    with pytest.raises(InfraError, match="is damaged"):
        publish(whole, tmp_path / "d")
    with pytest.raises(InfraError, match="comes twice"):
        publish(dataclasses.replace(whole, records=[*records(tmp_path), *records(tmp_path)]), tmp_path / "d")
    assert _files(tmp_path / "d") == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_what_a_kill_left_is_cleared(root: Path, tmp_path: Path) -> None:
    for name in (".d.part", ".d.old"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "train.parquet").write_bytes(b"torn")
    publish(built(tmp_path), tmp_path / "d")
    assert _files(tmp_path / "d") == _files(root / "release")
    assert not (tmp_path / ".d.part").exists()
    assert not (tmp_path / ".d.old").exists()


def test_pushing_asks_for_a_token_and_an_unchanged_release(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"\$MY_TOKEN"):
        push(root / "release", "me/set", "MY_TOKEN")
    monkeypatch.setenv("MY_TOKEN", "hf_secret")
    for folder, name, told in (
        (root / "release", "set", "OWNER/NAME"),
        (root / "full", "me/set", "full form"),
        (root / "pictures", "me/set", "no published dataset"),
    ):
        with pytest.raises(UserError, match=told):
            push(folder, name, "MY_TOKEN")


def test_what_cannot_be_pushed_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    check_push("me/set")
    for name in (
        "set",
        "",
        "me/",
        "/set",
        "me/a/b",
        "me/a b",
        "me/a--b",
        "me/a..b",
        "me/set.git",
        "-me/set",
        "me/" + "a" * 99,
    ):
        with pytest.raises(UserError, match="is no name of a dataset"):
            check_push(name)
    with pytest.raises(UserError, match="--form release"):
        check_push("me/set", "full")


def test_a_stored_token_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " ")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match=r"no token to push with: put one in \$HF_TOKEN"):
        check_push("me/set")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_stored")
    check_push("me/set")


def test_names_of_datasets() -> None:
    for name in ("a", "my-chatgenbench", "Größe 2 / été", "x" * 100):
        check_name(name)
    for name in ("", "  ", "\t", "a\nb", "a\x1b[31m", "x" * 101, "\udc80", "\u202e"):
        with pytest.raises(UserError, match="--name"):
            check_name(name)


def test_pushing_a_changed_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(built(tmp_path), tmp_path / "d")
    (tmp_path / "d" / "README.md").write_text("mine now")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(UserError, match=r"README.md was changed"):
        push(tmp_path / "d", "me/set")


#: What the dataset held before.
OLD = "pictures/removed.png"


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as an upload of small files needs; refuses the owner `them`, breaks for `broken`."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        old = [{"type": "file", "path": OLD, "size": 1, "oid": "1" * 40}]
        about = {"sha": "1" * 40, "id": "me/set", "siblings": [], "type": "dataset"}
        if "them" in self.path:
            self._answer(404, {"error": "no such dataset"})
            return
        self._answer(200, old if "/tree/" in self.path else about)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        self.server.seen.append((self.path, body))  # type: ignore[attr-defined]
        if b"them" in body:
            self._answer(403, {"error": "not yours, hf_secret"})
        elif b"broken" in body:
            self._answer(500, {"error": "oops"})
        elif "preupload" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        else:
            page = f"http://{self.headers['Host']}/datasets/me/set"
            self._answer(200, {"url": page, "commitUrl": f"{page}/commit/1", "commitOid": "1" * 40, "name": "me/set"})

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.seen = []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_release_reaches_the_hub_whole(root: Path, hub: Any) -> None:
    address = f"http://127.0.0.1:{hub.server_port}"
    assert push(root / "release", "me/set", endpoint=address) == f"{address}/datasets/me/set"
    commit = next(body for path, body in hub.seen if "/commit/" in path)
    done = [json.loads(line) for line in commit.splitlines()]
    sent = {one["value"]["path"] for one in done if one["key"] == "file"}
    assert sent == _files(root / "release").keys()
    assert [one["value"]["path"] for one in done if one["key"] == "deletedFile"] == [OLD]


@pytest.mark.parametrize(("name", "kind"), [("them/set", UserError), ("broken/set", InfraError)])
def test_a_refusal_is_one_line_without_the_token(root: Path, hub: Any, name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        push(root / "release", name, endpoint=f"http://127.0.0.1:{hub.server_port}")
    assert "hf_secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
