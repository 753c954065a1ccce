"""The importer of the paper's layout: known fields, guessed shapes, and every unreadable row counted by reason."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatgenbench.benchmark import load_benchmark
from chatgenbench.build.authors import import_authors
from chatgenbench.errors import UserError
from tests import cli

ARGUMENTS = {"sampler": "Euler a", "steps": 20, "cfg_scale": 9, "width": "896", "height": "1344"}
ROW = {"input": "a fox please", "prompt": "a red fox", "model": "rolua", "arguments": json.dumps(ARGUMENTS)}


def _png(colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def _import(tmp_path: Path, rows: Any, name: str = "test.json") -> dict[str, Any]:
    source = tmp_path / "source"
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(json.dumps(rows), "utf-8")
    return import_authors(source, tmp_path / "out")


def test_known_fields_become_an_item(tmp_path: Path) -> None:
    told = _import(tmp_path, [ROW, ROW | {"input": "fox!"}])
    assert told == {"seen": 2, "kept": 2, "dropped": {}, "items": 2, "demonstrations": 1, "models": 1}
    loaded = load_benchmark(str(tmp_path / "out"))
    assert not loaded.manifest.pictures
    gold = loaded.gold(loaded.items[0])
    assert (gold.plan.prompt, gold.plan.model, gold.split) == ("a red fox", "rolua", "supervised")
    assert (gold.plan.arguments.width, gold.plan.arguments.cfg_scale) == (896, 9.0)
    [model] = loaded.catalog
    assert (model.sha256, model.files, model.type) == ("", {}, "checkpoint")
    assert loaded.catalog.find("") is None


@pytest.mark.parametrize(
    ("name", "split"),
    [("few_test/a.json", "few-shot"), ("supervised.json", "supervised"), ("test.json", "supervised")],
)
def test_the_path_tells_the_split(tmp_path: Path, name: str, split: str) -> None:
    _import(tmp_path, [ROW], name)
    assert {item.split for item in load_benchmark(str(tmp_path / "out")).items} == {split}


def test_lists_by_key_are_splits_and_train_has_no_items(tmp_path: Path) -> None:
    told = _import(tmp_path, {"train": [ROW, ROW | {"model": "other"}], "few": [ROW | {"prompt": "b"}]}, "all.json")
    assert (told["items"], told["demonstrations"]) == (1, 3)
    loaded = load_benchmark(str(tmp_path / "out"))
    assert len(loaded.train) == 2
    assert loaded.manifest.default_model == "other"


@pytest.mark.parametrize("field", ["messages", "conversations"])
def test_turns_of_any_spelling_are_a_history(tmp_path: Path, field: str) -> None:
    answer = f"Prompt: a red fox\nModel: rolua. A toon model.\nArguments: {json.dumps(ARGUMENTS)}"
    spelled = [("human", "<image>\na fox"), ("gpt", "where?"), ("human", "in snow"), ("gpt", answer)]
    turns = [{"from": who, "value": text} for who, text in spelled]
    _import(tmp_path, [{field: turns}])
    loaded = load_benchmark(str(tmp_path / "out"))
    [item] = loaded.items
    assert item.input.kind == "history"
    assert [(m.role, m.text) for m in item.input.messages] == [
        ("user", "a fox"), ("assistant", "where?"), ("user", "in snow"),
    ]  # fmt: skip
    assert loaded.gold(item).plan.prompt == "a red fox"
    assert next(iter(loaded.catalog)).description == "A toon model."


def test_pictures_are_copied_by_content(tmp_path: Path) -> None:
    (tmp_path / "source" / "img").mkdir(parents=True)
    (tmp_path / "source" / "img" / "ref.png").write_bytes(_png(1))
    (tmp_path / "source" / "img" / "gold.png").write_bytes(_png(2))
    _import(tmp_path, [ROW | {"images": ["img/ref.png"], "target_image": "img/gold.png"}])
    loaded = load_benchmark(str(tmp_path / "out"))
    [item] = loaded.items
    assert item.input.kind == "multimodal"
    assert (loaded.root / item.input.images[0]).read_bytes() == _png(1)
    assert (loaded.root / loaded.gold(item).picture).read_bytes() == _png(2)
    assert loaded.manifest.pictures
    loaded.require_pictures(loaded.items)


def test_parquet_with_pictures_as_bytes(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "source").mkdir()
    rows = [ROW | {"image": {"bytes": _png(3), "path": None}}, ROW | {"image": None, "input": "b"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "source" / "few.parquet")
    assert import_authors(tmp_path / "source", tmp_path / "out")["items"] == 2
    kinds = sorted(item.input.kind for item in load_benchmark(str(tmp_path / "out")).items)
    assert kinds == ["multimodal", "single"]


def test_unreadable_rows_are_counted_by_reason(tmp_path: Path) -> None:
    def without(field: str) -> dict[str, Any]:
        return {key: value for key, value in ROW.items() if key != field}

    (tmp_path / "source").mkdir()
    (tmp_path / "secret.png").write_bytes(_png())
    (tmp_path / "source" / "text.png").write_bytes(b"<svg/>")
    told = _import(tmp_path, [
        ROW, ROW, "text", None, without("input"), without("prompt"), without("model"), without("arguments"),
        ROW | {"arguments": "{"}, ROW | {"arguments": {"steps": 20}}, ROW | {"prompt": 7}, ROW | {"input": [{"x": 1}]},
        ROW | {"arguments": ARGUMENTS | {"steps": True}}, ROW | {"images": ["no.png"]},
        ROW | {"images": ["../secret.png"]}, ROW | {"images": ["text.png"]}, ROW | {"images": [5]},
    ])  # fmt: skip
    assert told["kept"] == 1
    assert told["seen"] == told["kept"] + sum(told["dropped"].values())
    assert told["dropped"] == {
        "bad-arguments": 3, "bad-picture": 2, "bad-prompt": 1, "no-arguments": 1, "no-input": 2, "no-model": 1,
        "no-prompt": 1, "not-an-object": 2, "picture-missing": 1, "picture-outside": 1, "repeated": 1,
    }  # fmt: skip
    assert len(load_benchmark(str(tmp_path / "out")).items) == 1


def test_pictures_are_read_from_the_source_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "good.png").write_bytes(_png())
    (tmp_path / "secret.png").write_bytes(_png())
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    (source / "inner.png").symlink_to("good.png")
    (source / "loop.png").symlink_to("loop.png")
    os.mkfifo(source / "pipe.png")
    told = {
        "picture-missing": [
            "a\0b.png",
            "a" * 5000 + ".png",
            "\ud800.png",
            "folder",
            "loop.png",
            "pipe.png",
            "no/no.png",
        ],
        "picture-outside": ["../secret.png", "link.png", str(tmp_path / "secret.png"), str(source / "good.png")],
        "bad-picture": [5, True, {"path": 5}, {"bytes": "text"}, {"bytes": [1]}, {"x": 1}],
    }
    fine = [ROW | {"images": ["good.png"]}, ROW | {"images": ["inner.png", "folder/../good.png"]}]
    bad = [ROW | {"images": [name]} for names in told.values() for name in names]
    assert _import(tmp_path, fine + bad)["dropped"] == {why: len(names) for why, names in sorted(told.items())}
    assert len(list((tmp_path / "out" / "pictures").rglob("*.png"))) == 1


def test_texts_that_are_none_cost_only_their_row(tmp_path: Path) -> None:
    broken = "fox \ud800"
    told = _import(
        tmp_path, [ROW, *(ROW | {field: broken} for field in ("input", "prompt", "negative_prompt", "model"))]
    )
    assert (told["kept"], told["models"]) == (1, 1)
    told = _import(
        tmp_path, [ROW, ROW | {"model": f"rolua. {broken}"}, ROW | {"arguments": ARGUMENTS | {"sampler": broken}}]
    )
    assert told["kept"] == 1


def test_one_row_without_a_picture_does_not_switch_pictures_off(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "gold.png").write_bytes(_png(2))
    told = _import(tmp_path, [ROW | {"target_image": "gold.png"}, ROW | {"input": "b"}, ROW | {"input": "c"}])
    assert told == {
        "seen": 3, "kept": 1, "dropped": {"no-picture": 2}, "items": 1, "demonstrations": 1, "models": 1,
    }  # fmt: skip
    loaded = load_benchmark(str(tmp_path / "out"))
    assert loaded.manifest.pictures
    loaded.require_pictures(loaded.items)


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    (source / "test.json").write_text(json.dumps([ROW]))
    (tmp_path / "link").symlink_to(source)
    for out in (source, source / "out", tmp_path / "in", tmp_path / "link", tmp_path / "link" / "out", source / "../."):
        with pytest.raises(UserError, match="is the source, holds it or lies in it"):
            import_authors(source, out)
    for out in (source, source / "test.json"):
        with pytest.raises(UserError, match="is the source, holds it or lies in it"):
            import_authors(source / "test.json", out)
    import_authors(source, tmp_path / "out")  # a benchmark that is imported into itself
    with pytest.raises(UserError, match="is the source"):
        import_authors(tmp_path / "out", tmp_path / "out")
    assert [p.name for p in (tmp_path / "in").rglob("*")] == ["source", "test.json"]


def test_as_typed_it_prints_its_counts_and_can_be_evaluated_on(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.json").write_text(json.dumps([ROW]))
    rows = [*(ROW | {"input": f"fox {n}"} for n in range(3)), "no row"]
    (tmp_path / "source" / "test.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    done = cli.run("build", "import", str(tmp_path / "source"), "--out", str(out), home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert re.search(r"import\W+5\W+4\W+not-an-object 1\b", done.stdout)
    assert f"benchmark: {out}" in done.stdout
    run = tmp_path / "run"
    asked = ["--system", "popular", "--benchmark", str(out), "--no-render", "--weights", "miniature", "--out", str(run)]
    done = cli.run("eval", *asked, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "summary.json").read_text())["rows"] == 3


def test_names_that_the_catalog_takes_for_one_are_one(tmp_path: Path) -> None:
    told = _import(tmp_path, [ROW, ROW | {"model": "Rolua.safetensors", "input": "b"}])
    assert (told["models"], told["demonstrations"]) == (1, 1)


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n{torn\n", "utf-8")
    told = import_authors(tmp_path / "rows.jsonl", tmp_path / "out")
    assert (told["kept"], told["dropped"]) == (1, {"not-an-object": 1})


def test_the_same_source_is_the_same_bytes(tmp_path: Path) -> None:
    rows = [ROW | {"input": f"fox {n}", "prompt": f"fox {n}"} for n in range(5)]
    _import(tmp_path, rows)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    _import(tmp_path, list(reversed(rows)))
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_sources_that_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        import_authors(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="unpack the dataset's archives"):
        import_authors(tmp_path / "empty", tmp_path / "out")
    for name, data in (("a.json", b"{"), ("a.parquet", b"no"), ("a.json", b"\xff")):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"cannot read .*{name}"):
            import_authors(tmp_path / "bad" / name, tmp_path / "out")
    with pytest.raises(UserError, match=r"no item could be read from .* \(no-prompt 1\)"):
        _import(tmp_path, {"dataset": "info"})
    assert not (tmp_path / "out").exists()
