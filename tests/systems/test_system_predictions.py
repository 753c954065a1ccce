"""Predictions files: what is read, what refuses the file, what fails one row."""

from __future__ import annotations

import csv
import io
import json
import logging
import resource
import sys
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import PredictionsError
from chatgenbench.schema import Arguments, Failure, Outcome, Plan, PlannedRow
from chatgenbench.systems import Predictions, ask, resolve
from chatgenbench.systems.predictions.raw import COLUMNS

IDS = ["i1", "i2", "i3", "i4", "i5"]
HEADER = "id,prompt,model,sampler,steps,cfg_scale,width,height"
ROW = "{},a cat,inkSketch_v1,Euler,20,3.5,64,64"


def answers(path: Path, benchmark: Benchmark) -> dict[str, Plan | Failure]:
    system = resolve(str(path), benchmark, 0)
    inputs = [item.input for item in benchmark.items]
    return {chat.id: answer for chat, answer, _ in ask(system, inputs, benchmark.catalog, 2)}


def of_csv(tmp_path: Path, benchmark: Benchmark, *lines: str, header: str = HEADER) -> dict[str, Plan | Failure]:
    path = tmp_path / "plans.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return answers(path, benchmark)


def reason(answer: Plan | Failure) -> str:
    assert isinstance(answer, Failure), answer
    assert len(answer.reason) <= 300
    return answer.reason


def plan(answer: Plan | Failure) -> Plan:
    assert isinstance(answer, Plan), answer
    return answer


# what is read


def test_a_whole_csv(tmp_path: Path, benchmark: Benchmark) -> None:
    found = of_csv(
        tmp_path, benchmark,
        'i1,"a cat, ""big""\nand red",lowres,glossyToy_v3.ckpt,Euler a,20,3.5,64,80,7,2,0.8,glossyToy|inkSketch',
        "i2,=SUM(A1:A9), x ,oilPaint_v2,DDIM, 30 ,4,64,64,,,,",
        header=",".join(COLUMNS),
    )  # fmt: skip
    first = plan(found["i1"])
    assert first.prompt == 'a cat, "big"\nand red'
    assert (first.model, first.ranking) == ("glossyToy_v3", ("glossyToy_v3", "inkSketch_v1"))
    assert first.arguments.model_dump() == {
        "sampler": "Euler a", "steps": 20, "cfg_scale": 3.5, "width": 64, "height": 80, "seed": 7, "clip_skip": 2,
        "lora_weight": 0.8,
    }  # fmt: skip
    second = plan(found["i2"])
    assert (second.prompt, second.negative_prompt, second.arguments.steps) == ("=SUM(A1:A9)", " x ", 30)


def test_a_spreadsheet_export_with_bom_semicolons_and_decimal_commas(tmp_path: Path, benchmark: Benchmark) -> None:
    text = (
        "\ufeffID;Prompt;Model;Sampler;Steps;CFG Scale;Width;Height;\r\n"
        "i1;a, b;oilPaint_v2;Euler;20;3,5;64;64;\r\n;;;;;;;;\r\n"
    )
    path = tmp_path / "export.CSV"
    path.write_bytes(text.encode())
    found = plan(answers(path, benchmark)["i1"])
    assert (found.prompt, found.arguments.cfg_scale) == ("a, b", 3.5)


def test_the_index_of_a_data_frame_is_ignored(tmp_path: Path, benchmark: Benchmark) -> None:
    assert plan(of_csv(tmp_path, benchmark, "0," + ROW.format("i1"), header="," + HEADER)["i1"])


def test_jsonl_nested_flat_and_recorded_by_a_run(tmp_path: Path, benchmark: Benchmark) -> None:
    arguments = {"sampler": "Euler", "steps": 20, "cfg_scale": 3.5, "width": 64, "height": 64}
    base = Plan(prompt="ünï", model="inkSketch_v1", arguments=Arguments(**arguments))
    rows = [
        json.dumps({"id": "i1", "prompt": "ünï", "model": "inkSketch_v1", "arguments": arguments}),
        json.dumps({"id": "i2", "prompt": "ünï", "model": "inkSketch_v1", **arguments, "ranking": "inkSketch_v1|x"}),
        PlannedRow(item="i3", outcome=Outcome.OK, plan=base).model_dump_json(),
        PlannedRow(item="i4", outcome=Outcome.BLOCKED, reason="refused").model_dump_json(),
        json.dumps({"id": "i5", **base.model_dump(mode="json")}),
    ]
    path = tmp_path / "plans.jsonl"
    path.write_text("\ufeff" + "\r\n\r\n".join(rows), encoding="utf-8")
    found = answers(path, benchmark)
    assert found["i1"] == found["i3"] == found["i5"] == base
    assert plan(found["i2"]).ranking == ("inkSketch_v1", "x")
    assert found["i4"] == Failure(outcome=Outcome.BLOCKED, reason="refused")


def test_name_and_revision_come_from_the_file(tmp_path: Path, benchmark: Benchmark) -> None:
    path = tmp_path / "my plans.csv"
    path.write_text(f"{HEADER}\n{ROW.format('i1')}")
    before = resolve(str(path), benchmark, 0)
    assert before.name == "my plans"
    path.write_text(f"{HEADER}\n{ROW.format('i2')}")
    assert resolve(str(path), benchmark, 0).revision != before.revision


# what fails one row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("i1,a,inkSketch_v7,Euler,20,3,64,64", "column model: unknown model 'inkSketch_v7': did you mean 'ink"),
        ("i1,a,,Euler,20,3,64,64", "column model: String should have at least 1 character"),
        ("i1,a,oilPaint_v2,Euler,many,3,64,64", "column steps: Input should be a valid integer"),
        ("i1,a,oilPaint_v2,Euler,many,3,64,64", "(got 'many')"),
        ("i1,a,oilPaint_v2,Euler,1000000000,3,64,64", "column steps: Input should be less than or equal to 500"),
        ("i1,a,oilPaint_v2,Euler,20,nan,64,64", "column cfg_scale: Input should be a finite number"),
        ("i1,a,oilPaint_v2,Euler,20,3,64,", "column height: Field required"),
        ("i1,a,oilPaint_v2,Euler", "column steps: Field required (and 3 more)"),
        ("i1,a, cat,oilPaint_v2,Euler,20,3,64,64", "more cells than columns"),
        ("i1," + "x" * 20_001 + ",oilPaint_v2,Euler,20,3,64,64", "column prompt: String should have at most 20000"),
        ("i1,a,oilPaint_v2,Euler," + "9" * 9000 + ",3,64,64", "column steps: "),
    ],
)  # fmt: skip
def test_a_bad_row_fails_alone_with_line_and_column(
    row: str, expected: str, tmp_path: Path, benchmark: Benchmark
) -> None:
    found = of_csv(tmp_path, benchmark, ROW.format("i2"), row)
    assert plan(found["i2"])
    assert reason(found["i1"]).startswith("plans.csv, line 3")
    assert expected in reason(found["i1"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"promt": "x"}, "unknown key 'promt': did you mean"),
        ({"steps": 3}, "key steps: given twice"),
        ({"arguments": [1]}, "key arguments: an object is needed, not list"),
        ({"prompt": None}, "key prompt: Field required"),
        ({"prompt": "\ud800"}, "key prompt: Input should be a valid string"),
        ({"ranking": [1]}, "key ranking: Input should be a valid string"),
        ({"prompt": "x" * 5_000_000}, "the line is longer than 4,000,000 bytes"),
    ],
)
def test_a_bad_object_fails_alone(
    change: dict[str, object], expected: str, tmp_path: Path, benchmark: Benchmark
) -> None:
    arguments = {"sampler": "Euler", "steps": 20, "cfg_scale": 3.5, "width": 64, "height": 64}
    good = {"prompt": "a", "model": "inkSketch_v1", "arguments": arguments}
    path = tmp_path / "plans.jsonl"
    lines = [{**good, **change, "id": "i1"}, {"id": "i2", **good}]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    found = answers(path, benchmark)
    assert plan(found["i2"])
    assert reason(found["i1"]).startswith("plans.jsonl, line 1")
    assert expected in reason(found["i1"])


def test_an_item_without_a_row_fails_and_is_announced(
    tmp_path: Path, benchmark: Benchmark, caplog: pytest.LogCaptureFixture
) -> None:
    found = of_csv(tmp_path, benchmark, ROW.format("i2"))
    assert reason(found["i1"]) == "plans.csv has no row with id 'i1'"
    system = Predictions(tmp_path / "plans.csv", benchmark)
    with caplog.at_level(logging.WARNING):
        system.tell_missing(benchmark.items)
        assert "plans.csv has no row for 4 of 5 items (i1, i3, i4, ...)" in caplog.text
        caplog.clear()
        system.tell_missing([item for item in benchmark.items if item.id == "i2"])
        assert not caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="reads peak memory from getrusage")
@pytest.mark.parametrize("quoted", [True, False])
def test_a_cell_of_100_mb_fails_its_row_and_costs_little_memory(
    quoted: bool, tmp_path: Path, benchmark: Benchmark
) -> None:
    path = tmp_path / "plans.csv"
    mark = b'"' if quoted else b""
    with path.open("wb") as file:
        file.write(f"{HEADER}\ni1,".encode() + mark)
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(mark + f",inkSketch_v1,Euler,20,3.5,64,64\n{ROW.format('i2')}\n".encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = answers(path, benchmark)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB
    assert reason(found["i1"]) == "plans.csv, line 2: column prompt: longer than 1,000,000 characters"
    assert plan(found["i2"])


# what refuses the file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (HEADER, "no rows"),
        ("id,prompt,model\ni1,a,b", "line 1: missing columns: sampler, steps, cfg_scale, width, height"),
        (f"{HEADER},negativ\n", "line 1: unknown column 'negativ': did you mean 'negative_prompt'"),
        (f"{HEADER},steps\n", "line 1: column 'steps' stands twice"),
        (f"{HEADER}\n{ROW.format('i1')}\n{ROW.format('i1')}", "lines 2 and 3: both have the id 'i1'"),
        (f"{HEADER}\n{ROW.format('i9')}", "line 2: unknown id 'i9': did you mean"),
        (f"{HEADER}\n{ROW.format('')}", "line 2: no id"),
        (f'{HEADER}\n{ROW.format("i1")}\ni2,"open', "line 3: a quote opens a cell and is never closed"),
    ],
)
def test_a_doubtful_csv_is_refused(text: str, expected: str, tmp_path: Path, benchmark: Benchmark) -> None:
    path = tmp_path / "plans.csv"
    path.write_text(text)
    with pytest.raises(PredictionsError) as caught:
        answers(path, benchmark)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{torn", "line 1: not JSON"),
        ("[" * 100_000, "line 1: not JSON"),
        ("[1]", "line 1: a JSON list, not an object"),
        ('{"prompt": "x"}', 'line 1: no id: start the object with "id"'),
        ('{"id": {"a": 1}}', "line 1: no id"),
        ('{"prompt": "' + "x" * 4_100_000, "line 1: longer than 4,000,000 bytes, and no id can be read"),
        ("\n \n", "no rows"),
    ],
)
def test_a_doubtful_jsonl_is_refused(text: str, expected: str, tmp_path: Path, benchmark: Benchmark) -> None:
    path = tmp_path / "plans.jsonl"
    path.write_text(text)
    with pytest.raises(PredictionsError) as caught:
        answers(path, benchmark)
    assert expected in str(caught.value)


def test_several_problems_are_listed_at_once_and_the_rest_counted(tmp_path: Path, benchmark: Benchmark) -> None:
    with pytest.raises(PredictionsError) as caught:
        of_csv(tmp_path, benchmark, *[ROW.format(f"stranger{n}") for n in range(14)])
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("plans.csv: 14 problems")
    assert len(lines) == 12
    assert lines[1].startswith("  line 2: unknown id 'stranger0'")
    assert lines[-1] == "  and 4 more"


def test_no_file_and_a_folder(tmp_path: Path, benchmark: Benchmark) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PredictionsError, match="no such file"):
        answers(tmp_path / "none.csv", benchmark)
    with pytest.raises(PredictionsError, match="a folder, not a file"):
        answers(tmp_path / "folder.csv", benchmark)


# properties

WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
MODELS = st.sampled_from(["inkSketch_v1", "glossyToy_v3", "oilPaint_v2", "plainBase_v0"])
SAMPLERS = st.sampled_from(["Euler a", "DPM++ 2M Karras", "DDIM"])
PLANS = st.builds(
    Plan,
    prompt=WORDS,
    negative_prompt=WORDS,
    model=MODELS,
    ranking=st.lists(MODELS, max_size=4, unique=True).map(tuple),
    arguments=st.builds(
        Arguments,
        sampler=SAMPLERS,
        steps=st.integers(1, 500),
        cfg_scale=st.floats(0, 100, allow_nan=False),
        width=st.integers(8, 4096),
        height=st.integers(8, 4096),
        seed=st.none() | st.integers(0, 2**63 - 1),
        clip_skip=st.none() | st.integers(1, 12),
        lora_weight=st.none() | st.floats(-4, 4, allow_nan=False),
    ),
)


def as_csv(plans: dict[str, Plan], delimiter: str, newline: str) -> bytes:
    out = io.StringIO(newline="")
    # with "\n" alone the standard writer leaves a cell with a bare "\r" without quotes, and so unreadable
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if newline == "\r\n" else csv.QUOTE_ALL
    writer = csv.DictWriter(out, COLUMNS, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writeheader()
    for key, answer in plans.items():
        row = {"id": key, **answer.model_dump(exclude={"arguments"}), **answer.arguments.model_dump()}
        writer.writerow(row | {"ranking": "|".join(answer.ranking)})
    return out.getvalue().encode()


def written(data: bytes, suffix: str, benchmark: Benchmark) -> dict[str, Plan | Failure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"plans{suffix}")
        path.write_bytes(data)
        return answers(path, benchmark)


@settings(max_examples=80, deadline=None)
@given(
    plans=st.dictionaries(st.sampled_from(IDS), PLANS, min_size=1),
    delimiter=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
def test_any_plans_come_back_from_csv(
    benchmark: Benchmark, plans: dict[str, Plan], delimiter: str, newline: str, bom: bool
) -> None:
    data = b"\xef\xbb\xbf" * bom + as_csv(plans, delimiter, newline)
    found = written(data, ".csv", benchmark)
    assert {key: found[key] for key in plans} == plans


@settings(max_examples=60, deadline=None)
@given(plans=st.dictionaries(st.sampled_from(IDS), PLANS, min_size=1))
def test_any_plans_come_back_from_jsonl(benchmark: Benchmark, plans: dict[str, Plan]) -> None:
    lines = [json.dumps({"id": key, **answer.model_dump(mode="json")}) for key, answer in plans.items()]
    found = written("\n".join(lines).encode(), ".jsonl", benchmark)
    assert {key: found[key] for key in plans} == plans


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [b"", HEADER.encode() + b"\n", HEADER.encode() + b"\ni1,", b'{"id": "i1", ', b'{"item": "i1", ']
    ),
    noise=st.binary(max_size=80) | st.text(alphabet='i12,;"\r\n{}[]:e-.', max_size=80).map(str.encode),
    suffix=st.sampled_from([".csv", ".jsonl"]),
)
def test_random_bytes_are_refused_or_answered_never_a_crash(
    benchmark: Benchmark, start: bytes, noise: bytes, suffix: str
) -> None:
    try:
        found = written(start + noise, suffix, benchmark)
    except PredictionsError:
        return
    assert set(found) == set(IDS)
