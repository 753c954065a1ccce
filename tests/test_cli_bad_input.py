"""A user's mistake: one clear line, a non-zero exit, nothing lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from chatgenbench.benchmark import load_benchmark
from tests.cli import PROGRAM, environment, lines, run, run_here


def refused(*arguments: str, home: Path, code: int = 1) -> str:
    done = run_here(*arguments, home=home)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_unknown_system_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    error = refused("eval", "--system", "retreival", "--out", str(tmp_path / "run"), home=tmp_path)
    assert "unknown system 'retreival': did you mean 'retrieval'?" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_unknown_benchmark_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    error = refused("eval", "--system", "oracle", "--benchmark", "minature", "--out", out, home=tmp_path)
    assert "unknown benchmark 'minature': did you mean 'miniature'?" in error


def test_a_folder_that_is_no_benchmark_says_what_is_missing(tmp_path: Path) -> None:
    error = refused("models", "--benchmark", str(tmp_path), home=tmp_path)
    assert "benchmark.json is missing" in error


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    error = refused("eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run"), home=tmp_path)
    assert "is not empty and holds no run" in error
    assert [p.name for p in (tmp_path / "run").iterdir() if p.name != ".lock"] == ["thesis.tex"]


HEADER = ("id", "prompt", "negative_prompt", "model", "sampler", "steps", "cfg_scale", "width", "height")


def predictions(path: Path, rows: list[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def row(item: str, **changes: object) -> tuple[object, ...]:
    plan = {"id": item, "prompt": "a fox", "negative_prompt": "", "model": "stickerPop_v12", "sampler": "Euler",
            "steps": 4, "cfg_scale": 2, "width": 64, "height": 64} | changes  # fmt: skip
    return tuple(plan[key] for key in HEADER)


def test_duplicate_and_unknown_ids_refuse_the_file_with_their_lines(tmp_path: Path) -> None:
    file = predictions(tmp_path / "plans.csv", [row("sup-001"), row("sup-002"), row("sup-001"), row("sup-9999")])
    error = refused("eval", "--system", str(file), "--out", str(tmp_path / "run"), home=tmp_path)
    assert "sup-001" in error
    assert "lines 2 and 4" in error
    assert "sup-9999" in error


def test_bad_rows_fail_alone_and_stay_in_the_denominator(tmp_path: Path) -> None:
    items = load_benchmark("miniature").subset(8)
    changes: list[dict[str, object]] = [
        {"model": "stikerPop_v12"}, {"steps": "many"}, {"steps": 10**9}, {"sampler": "Hyper Euler 9000"},
        {"prompt": "x" * 30_000}, {"width": 64.5},
    ]  # fmt: skip
    rows = [row(i.id, **c) for i, c in zip(items, changes, strict=False)] + [row(items[6].id)]
    file = predictions(tmp_path / "plans.csv", rows)
    out = tmp_path / "run"
    done = run_here("eval", "--system", str(file), "--limit", "8", "--out", str(out), home=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {r["id"]: r for r in csv.DictReader((out / "submission.csv").open(newline=""))}
    assert len(lines) == 8
    outcomes = [lines[item.id]["outcome"] for item in items]
    assert outcomes == ["system-failed"] * 6 + ["ok", "system-failed"]
    reasons = [lines[item.id]["reason"] for item in items]
    expected = ("did you mean", "steps", "steps", "sampler", "prompt", "width", "", "no row")
    for reason, words in zip(reasons, expected, strict=True):
        assert words in reason.lower()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rows"] == 8
    assert summary["metrics"]["clipscore"]["n"] == 8
    assert summary["outcomes"] == {"system-failed": 7, "ok": 1}


def test_a_hundred_megabyte_cell_is_one_failed_row(tmp_path: Path) -> None:
    items = load_benchmark("miniature").subset(2)
    file = predictions(tmp_path / "plans.csv", [row(items[0].id, prompt="x" * 100_000_000), row(items[1].id)])
    done = run_here("eval", "--system", str(file), "--limit", "2", "--out", str(tmp_path / "run"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["outcomes"] == {"system-failed": 1, "ok": 1}


def test_a_full_disk_during_render_keeps_what_is_done_and_goes_on_later(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "pool"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine cannot mount a small disk")
    command = ["eval", "--system", "oracle", "--limit", "8", "--batch-size", "1", "--pool", str(small)]
    command += ["--out", str(tmp_path / "run")]
    try:
        full = run_here(*command, home=tmp_path)
        assert full.returncode == 3, full.stdout + full.stderr
        assert "Traceback" not in full.stderr
        kept = list(small.rglob("*.png"))
        assert 0 < len(kept) < 8
        assert not list(small.glob(".staging/*"))
        subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
        again = run_here(*command, home=tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["outcomes"] == {"ok": 8}
        assert set(kept) < set(small.rglob("*.png"))
    finally:
        subprocess.run(["umount", str(small)], check=False)


def test_a_broken_picture_in_the_pool_is_drawn_again(tmp_path: Path) -> None:
    command = ["eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run")]
    assert run_here(*command, home=tmp_path).returncode == 0
    picture = next((tmp_path / "pool").rglob("*.png"))
    whole = picture.read_bytes()
    picture.write_bytes(whole[:100])
    assert run_here(*command, home=tmp_path).returncode == 0
    assert picture.read_bytes() == whole


@pytest.mark.parametrize("command", ["eval", "report", "systems", "models", "samplers", "metrics"])
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    done = run(command, "--help", home=tmp_path)
    assert done.returncode == 0
    assert f"chatgenbench {command}" in done.stdout.split("Example", 1)[1]


def test_the_cli_imports_nothing_heavy() -> None:
    code = "import sys, chatgenbench.cli; print(sorted({'torch', 'pandas', 'diffusers', 'numpy'} & set(sys.modules)))"
    python = str(Path(PROGRAM).parent / "python")
    env = environment(Path("/nowhere"))
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_lists_name_what_can_be_used(tmp_path: Path) -> None:
    expected = {
        "systems": "retrieval",
        "models": "toybox3D_v2",
        "samplers": "DPM++ 2M Karras",
        "metrics": "imagereward",
    }
    for command, words in expected.items():
        done = run_here(command, home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    assert "77 tokens" in run_here("metrics", "clipscore", home=tmp_path).stdout


def test_a_dry_run_starts_nothing(tmp_path: Path) -> None:
    done = run_here(
        "eval", "--system", "oracle", "--limit", "6", "--dry-run", "--out", str(tmp_path / "run"), home=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "to draw" in done.stdout
    assert "draw a few first" in " ".join(done.stdout.split())
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "pool").exists()


def test_an_out_that_is_a_file_or_a_wrong_device_or_misspelt_weights_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    command = ("eval", "--system", "oracle", "--limit", "2")
    assert "choose another" in refused(*command, "--out", str(tmp_path / "file"), home=tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    out = ("--out", str(tmp_path / "run"))
    assert "try --device cpu" in refused(*command, *out, "--device", "meta", home=tmp_path)
    assert "publishd" in refused(*command, *out, "--weights", "publishd", home=tmp_path)
    assert not (tmp_path / "run").exists()


def test_ctrl_c_says_that_nothing_is_lost_and_what_to_type(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [PROGRAM, "eval", "--system", "oracle", "--limit", "8", "--batch-size", "1", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment(tmp_path))
    while lines(out / "pictures.jsonl") < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"type the same command again" in error
    assert b"Traceback" not in error
    assert lines(out / "pictures.jsonl") >= 2


def test_damaged_run_files_are_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_here("eval", "--system", "oracle", "--limit", "2", "--out", str(out), home=tmp_path).returncode == 0
    plans = (out / "plans.jsonl").read_text()
    (out / "plans.jsonl").write_text(plans + '{"item": "sup-007"}\n')
    assert "plans.jsonl, line 3 is damaged" in refused("report", str(out), home=tmp_path)
    (out / "plans.jsonl").write_text(plans)
    (out / "summary.json").write_text("{}")
    assert "is not finished" in refused("report", str(out), home=tmp_path, code=3)
    (out / "run.json").write_text("{}")
    assert "run.json is damaged" in refused("report", str(out), home=tmp_path)


def test_one_unfinished_run_hides_no_finished_one(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for name in ("oracle", "popular"):
        assert (
            run_here("eval", "--system", name, "--limit", "2", "--out", str(out / name), home=tmp_path).returncode == 0
        )
    (out / "popular" / "summary.json").unlink()
    done = run_here("report", str(out), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "oracle" in done.stdout
    assert "left out" in done.stderr
    assert "popular is not finished: type its eval command again" in done.stderr


def test_a_mended_predictions_file_is_told_from_the_one_that_was_run(tmp_path: Path) -> None:
    items = load_benchmark("miniature").subset(1)
    command = ("eval", "--limit", "1", "--out", str(tmp_path / "run"), "--system", str(tmp_path / "plans.csv"))
    predictions(tmp_path / "plans.csv", [row(items[0].id, model="nope")])
    assert run_here(*command, home=tmp_path).returncode == 0
    predictions(tmp_path / "plans.csv", [row(items[0].id)])
    assert "the system changed since this run began" in refused(*command, home=tmp_path)
    assert "the system changed since this run began" in refused(*command, "--dry-run", home=tmp_path)


def test_a_pool_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    command = ("eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run"))
    assert "choose another --pool" in refused(*command, "--pool", str(tmp_path / "file"), home=tmp_path)
    assert not (tmp_path / "run").exists()


def test_what_a_system_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    items = load_benchmark("miniature").subset(1)
    file = predictions(
        tmp_path / "plans.csv", [row(items[0].id, model="\x1b[2J\x1b]0;owned\x07", prompt="a \x1b[31mfox")]
    )
    out = tmp_path / "run"
    done = run_here("eval", "--system", str(file), "--limit", "1", "--out", str(out), home=tmp_path)
    assert "unknown model" in done.stdout
    assert "\x1b[2J" not in done.stdout + done.stderr
    assert "\x1b" not in (out / "submission.csv").read_text()


def test_ctrl_c_while_libraries_load_is_heard(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [PROGRAM, "eval", "--system", "oracle", "--limit", "8", "--out", str(out)]
    for wait in (0.8, 1.6):
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment(tmp_path)
        )
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 130, error
        assert b"Traceback" not in error


def benchmark_folder(tmp_path: Path) -> Path:
    source = load_benchmark("miniature").root
    folder = tmp_path / "own"
    folder.mkdir()
    for entry in source.iterdir():
        if entry.suffix in (".json", ".jsonl"):
            (folder / entry.name).write_bytes(entry.read_bytes())
        else:
            (folder / entry.name).symlink_to(entry)
    return folder


def test_a_benchmark_with_a_model_twice_is_refused_and_blank_lines_are_not(tmp_path: Path) -> None:
    folder = benchmark_folder(tmp_path)
    catalog = (folder / "catalog.jsonl").read_text()
    (folder / "catalog.jsonl").write_text(catalog + "\n\n")
    assert run_here("models", "--benchmark", str(folder), home=tmp_path).returncode == 0
    (folder / "catalog.jsonl").write_text(catalog + catalog.splitlines()[0] + "\n")
    assert "stands twice" in refused("models", "--benchmark", str(folder), home=tmp_path)


def test_a_benchmark_without_its_pictures_is_refused(tmp_path: Path) -> None:
    folder = benchmark_folder(tmp_path)
    picture = json.loads((folder / "demonstrations.jsonl").read_text().splitlines()[-1])["picture"]
    (folder / picture.split("/")[0]).unlink()
    command = ("eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run"))
    assert "is missing" in refused(*command, "--benchmark", str(folder), home=tmp_path)
    assert "is missing" in refused(*command, "--benchmark", str(folder), "--dry-run", home=tmp_path)


def test_a_dry_run_tells_the_room_for_weights_that_have_to_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = benchmark_folder(tmp_path)
    records = [json.loads(line) for line in (folder / "catalog.jsonl").read_text().splitlines()]
    for record in records:
        if record["type"] == "lora":
            record["files"] = {"lora": f"civitai:1#bytes={10**14}"}
    (folder / "catalog.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    command = ("eval", "--system", "oracle", "--limit", "6", "--dry-run", "--out", str(tmp_path / "run"))
    told = " ".join(run_here(*command, "--benchmark", str(folder), home=tmp_path).stdout.replace("│", " ").split())
    assert "too little: free some, or set --weights-budget" in told
    monkeypatch.setenv("CHATGENBENCH_WEIGHTS_BUDGET", "5GB")
    told = " ".join(run_here(*command, "--benchmark", str(folder), home=tmp_path).stdout.replace("│", " ").split())
    assert "--weights-budget 5.0 GB; too little to keep all" in told
