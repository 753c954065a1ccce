"""Chats to train on: optional, read when asked for, and no part of the benchmark's identity."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chatgenbench.benchmark import TRAIN_INPUTS, load_benchmark
from chatgenbench.errors import BenchmarkError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    source = load_benchmark("miniature").root
    for file in source.glob("*.json*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_hash_is_the_same_with_and_without_them_and_the_digest_of_training_data_is_not(copy: Path) -> None:
    whole = load_benchmark(str(copy))
    digest = whole.train_hash
    (copy / TRAIN_INPUTS).unlink()
    bare = load_benchmark(str(copy))
    assert bare.train_inputs == ()
    assert bare.hash == whole.hash
    assert bare.train_hash != digest


def test_a_chat_of_a_test_demonstration_is_refused_by_name(copy: Path) -> None:
    benchmark = load_benchmark(str(copy))
    line = json.loads((copy / TRAIN_INPUTS).read_text("utf-8").splitlines()[0])
    line["demonstration"] = benchmark.items[0].demonstration
    (copy / TRAIN_INPUTS).write_text(json.dumps(line) + "\n", "utf-8")
    with pytest.raises(BenchmarkError, match=f"'train-001' is of '{line['demonstration']}', no training demonstration"):
        _ = load_benchmark(str(copy)).train_inputs


def test_a_damaged_line_is_told_with_its_number(copy: Path) -> None:
    with (copy / TRAIN_INPUTS).open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(BenchmarkError, match=r"train_inputs.jsonl, line 321: id: Field required"):
        _ = load_benchmark(str(copy)).train_inputs
