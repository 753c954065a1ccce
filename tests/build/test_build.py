"""The whole builder as a user types it, against a real hub and a real language model's server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import load_benchmark
from chatgenbench.build.funnel import problems
from chatgenbench.build.store import RawStore
from tests.build.actor import FAULTS, Actor
from tests.build.replay import LASTING, TRANSIENT, ReplayServer, World

TOKEN, KEY = "hub-token-that-nobody-may-see", "llm-key-that-nobody-may-see"
KILLS = 20
PROGRAM = (sys.executable, "-m", "chatgenbench.cli", "build")


def environment() -> dict[str, str]:
    secrets = {"CIVITAI_API_TOKEN": TOKEN, "CHATGENBENCH_LLM_KEY": KEY, "CHATGENBENCH_SALT": "salt"}
    still = {"SOURCE_DATE_EPOCH": "1700000000", "CHATGENBENCH_PATIENCE": "0.01", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **secrets, **still, "HF_HUB_OFFLINE": "1", "COLUMNS": "120", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ReplayServer, Actor]]:
    world = World(models=5, images_per_version=12, seed=3)
    with ReplayServer(world, faults=(*TRANSIENT, *LASTING), token=TOKEN) as hub, Actor(FAULTS, key=KEY) as actor:
        yield hub, actor


def command(servers: tuple[ReplayServer, Actor], out: Path, *more: str) -> list[str]:
    hub, actor = servers
    asked = ["--api", hub.base_url, "--requests-per-second", "100000", "--llm-base-url", actor.base_url]
    split = ["--llm-model", "actor", "--few-shot-threshold", "8", "--test-share", "0.3"]
    return [*PROGRAM, *asked, *split, "--out", str(out), *more]


def run(words: list[str], code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def built(servers, tmp_path_factory) -> tuple[Path, str]:
    """A build that nobody disturbed, in the full form, and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "build"
    done = run(command(servers, out, "--form", "full"))
    return out, done.stdout + done.stderr


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of the stages and of the dataset."""
    files = [file for part in ("stages", "dataset") for file in sorted((folder / part).rglob("*")) if file.is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_counters_are_exact_and_say_where_everything_went(built, servers) -> None:
    out, printed = built
    about = json.loads((out / "dataset" / "build.json").read_text())
    funnel: dict[str, Any] = about["funnel"]
    assert list(funnel) == ["parse", "filter", "pictures", "dedupe", "split", "roleplay", "publish"]
    assert problems({name: counts for name, counts in funnel.items() if name != "roleplay"}) == []
    bodies = servers[0].world.images.values()
    whole = [body for body in bodies if body["meta"]]
    strange = funnel["parse"]["seen"] - len(bodies)  # items that are null but for their ids, which a fault adds
    assert strange > 0
    assert funnel["parse"]["dropped"] == {"no-meta": len(bodies) - len(whole) + strange}
    assert funnel["parse"]["kept"] == len(whole)
    assert funnel["filter"]["dropped"] == {"picture-nsfw-level": sum(b["browsingLevel"] != 1 for b in whole)}
    assert funnel["pictures"]["dropped"] == {}
    assert funnel["roleplay"]["seen"] == sum(funnel["roleplay"]["noted"].values()) > 0
    published = sum(1 for _ in (out / "dataset" / "demonstrations.jsonl").open("rb"))
    assert funnel["publish"]["kept"] == published
    assert set(funnel["publish"]["dropped"]) <= {"no-chat-accepted"}
    assert "crossing splits: 0" in printed
    assert "Funnel" in printed


def test_what_comes_out_is_a_benchmark_and_a_dataset(built) -> None:
    import datasets

    out, _ = built
    benchmark = load_benchmark(str(out / "dataset"))
    assert benchmark.train
    assert {item.split for item in benchmark.items} <= {"supervised", "few-shot"}
    kinds = {item.input.kind for item in benchmark.items}
    assert {"single", "history"} <= kinds
    for item in benchmark.items:
        gold = benchmark.gold(item)
        assert gold.plan.prompt
        assert (benchmark.root / gold.picture).is_file()
        assert gold.picture not in item.input.images
        shown = [d for d in benchmark.demonstrations.values() if d.picture in item.input.images]
        assert all(d.split == "train" for d in shown)
    loaded = datasets.load_dataset(str(out / "dataset"))
    assert sum(part.num_rows for part in loaded.values()) >= len(benchmark.items)
    assert json.loads((out / "dataset" / "leaks.json").read_text())["leaks"] == 0


def test_no_secret_and_no_name_is_anywhere(built, servers) -> None:
    out, printed = built
    names = [name.encode() for name in servers[0].world.names]
    assert names
    with RawStore(out / "raw") as store:
        raw = b"\n".join(answer.body for key in store if (answer := store.get(key)) is not None)
    for text in (printed.encode(), raw, *(file.read_bytes() for file in out.rglob("*") if file.is_file())):
        assert TOKEN.encode() not in text
        assert KEY.encode() not in text
        assert not any(name in text for name in names)


def test_typed_again_it_asks_for_nothing(built, servers) -> None:
    out, _ = built
    before, asked = digests(out), (len(servers[0].requests), len(servers[1].bodies))
    run(command(servers, out, "--form", "full"))
    assert (len(servers[0].requests), len(servers[1].bodies)) == asked
    assert digests(out) == before


def test_killed_twenty_times_it_ends_the_same(built, servers, tmp_path) -> None:
    """Kills come at random moments of a build's life, from its first answer to its last stage."""
    hub, actor = servers
    out, draw = tmp_path / "build", random.Random(7)
    words = command(servers, out, "--form", "full")
    answered, alive, stages = len(actor.bodies), 0, set()
    for moment in sorted(draw.sample(range(1, progress(built[0])), KILLS)):
        kept, first, wanted = keys(out), len(hub.requests), max(moment, progress(out) + 1)
        process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and progress(out) < wanted:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.02))
        alive += process.poll() is None
        process.kill()
        process.wait()
        stages.add(len(list((out / "stages").glob("*.json"))))
        assert not kept & {request.key for request in hub.requests[first:]}
    assert alive >= KILLS - 3
    assert len(stages) >= 3, "kills between different stages"
    run(words)
    assert digests(out) == digests(built[0])
    repeated = len(actor.bodies) - answered - len((out / "roleplay.jsonl").read_bytes().splitlines())
    assert repeated <= 4 * KILLS  # only what was on its way when the process died


def progress(out: Path) -> int:
    """How much a build has on the disk: answers of both servers, pictures, files of stages, the dataset."""
    journals = [out / name for name in ("raw/index.jsonl", "pictures.jsonl", "roleplay.jsonl")]
    lines = sum(path.read_bytes().count(b"\n") for path in journals if path.exists())
    return lines + len(list((out / "stages").glob("*.json*"))) + (out / "dataset").exists()


def keys(out: Path) -> set[str]:
    """What the raw store has an answer to."""
    if not (out / "raw").exists():
        return set()
    with RawStore(out / "raw") as store:
        return set(store)


def test_a_release_holds_back_what_is_not_ours_and_hydrates_to_the_same(built, servers, tmp_path) -> None:
    full, _ = built
    out = tmp_path / "build"
    run(command(servers, out))
    release = out / "dataset"
    prompts = [d.plan.prompt for d in load_benchmark(str(full / "dataset")).demonstrations.values()]
    published = b"\n".join(file.read_bytes() for file in release.rglob("*") if file.is_file())
    assert not any(prompt.encode() in published for prompt in prompts)
    assert not (release / "pictures").exists()
    refused = [sys.executable, "-m", "chatgenbench.cli", "eval", "--system", "random", "--benchmark", str(release)]
    assert "chatgenbench build hydrate" in run([*refused, "--out", str(tmp_path / "run")], code=1).stderr
    filled = tmp_path / "filled"
    quick = ["--api", servers[0].base_url, "--requests-per-second", "100000"]
    done = run([*PROGRAM, "hydrate", str(release), "--out", str(filled), *quick])
    assert "lost: 0" in done.stdout
    assert load_benchmark(str(filled)).hash == load_benchmark(str(full / "dataset")).hash


def test_a_key_that_is_refused_and_a_spent_budget_are_one_line(built, servers, tmp_path, monkeypatch) -> None:
    words = command(servers, tmp_path / "build", "--max-images", "40")
    monkeypatch.setenv("X", "")
    env = {**environment(), "CHATGENBENCH_LLM_KEY": "another-key"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "refuses the key" in done.stderr
    assert "another-key" not in done.stdout + done.stderr
    priced = [*words, "--llm-price-in", "1000", "--llm-price-out", "1000", "--budget", "1.5"]
    assert "the budget is spent" in run(priced, code=1).stderr


def test_what_is_missing_or_wrong_is_one_line(tmp_path) -> None:
    env = {k: v for k, v in environment().items() if k != "CIVITAI_API_TOKEN"}
    words = [*PROGRAM, "--llm-model", "x", "--out", str(tmp_path / "b")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "$CIVITAI_API_TOKEN" in done.stderr
    assert "who plays the people" in run([*PROGRAM, "--source", "bundled", "--out", str(tmp_path / "c")], code=1).stderr
    (tmp_path / "removals.txt").write_text("civitai-1\nwhat is this\n")
    listed = ["--source", "bundled", "--llm-model", "local", "--removals", str(tmp_path / "removals.txt")]
    assert "line 2" in run([*PROGRAM, *listed, "--out", str(tmp_path / "c")], code=1).stderr


def test_the_bundled_records_with_a_real_small_model(tmp_path) -> None:
    out = tmp_path / "build"
    words = [*PROGRAM, "--source", "bundled", "--llm-model", "local", "--max-items", "4", "--out", str(out)]
    run(words)
    counts = json.loads((out / "stages" / "roleplay.json").read_text())
    assert counts["seen"] == 4 == counts["kept"] + sum(counts["dropped"].values())
    asked = [json.loads(line) for line in (out / "roleplay.jsonl").read_text().splitlines()]
    assert len(asked) >= 4
    assert all(line["request"]["messages"] and line["response_id"] for line in asked)
    assert load_benchmark(str(out / "dataset")).manifest.pictures is False
    before = digests(out)
    run(words)
    assert digests(out) == before
