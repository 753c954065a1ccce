from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
from safetensors.torch import load_file

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.weights import inside, locate, parameters_in, weights_digest


def test_a_files_digest_is_its_sha256(benchmark: Benchmark) -> None:
    path = benchmark.root / "models/owl.safetensors"
    assert weights_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folders_digest_covers_names_and_bytes_of_its_weights_only(benchmark: Benchmark) -> None:
    folder = benchmark.root / "models/fox"
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.safetensors"))
    assert len(names) == 3
    lines = "".join(f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in names)
    assert weights_digest(folder) == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".PTH", ".pkl"])
def test_pickles_are_refused_alone_and_beside_safetensors(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x")
    (tmp_path / f"model{suffix}").write_bytes(b"x")
    for path in (tmp_path, tmp_path / f"model{suffix}"):
        with pytest.raises(BenchmarkError, match="may be a pickle, which can run code: convert it to safetensors"):
            weights_digest(path)


def test_missing_or_empty_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="are missing: fetch the benchmark again"):
        weights_digest(tmp_path / "nothing")
    with pytest.raises(BenchmarkError, match=r"holds no \.safetensors file"):
        weights_digest(tmp_path)
    with pytest.raises(BenchmarkError, match=r"cannot read the weights .*: File name too long"):
        weights_digest(tmp_path / f"{'x' * 300}.safetensors")


def test_values_are_counted_without_loading(benchmark: Benchmark, tmp_path: Path) -> None:
    path = benchmark.root / "models/owl.safetensors"
    assert parameters_in(path) == sum(tensor.numel() for tensor in load_file(path).values())
    for data in (b"", b"12345678", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]"):
        (tmp_path / "bad.safetensors").write_bytes(data)
        with pytest.raises(BenchmarkError, match="is no safetensors file"):
            parameters_in(tmp_path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.safetensors", "models/../../x.safetensors"])
def test_a_catalog_cannot_point_outside_its_folder(path: str, benchmark: Benchmark) -> None:
    with pytest.raises(BenchmarkError, match="leaves the benchmark's folder"):
        inside(benchmark, path)


def test_a_record_without_a_usable_role_is_told(benchmark: Benchmark) -> None:
    record = benchmark.catalog.get("ink").model_copy(update={"files": {"checkpoint": "models/owl.safetensors"}})
    with pytest.raises(BenchmarkError, match="model 'ink' names no 'lora' under `files`"):
        locate(record, benchmark)


@pytest.mark.parametrize(
    ("shape", "offsets", "told"),
    [
        ([10**12, 10**12], [0, 4], "its header claims more values than there is room for"),
        (["x"], [0, 4], "its header is not readable"),
        ([1], [0, -4], "its header is not readable"),
        ([1], [0], "its header is not readable"),
    ],
)
def test_a_header_that_lies_is_no_header(shape: list[object], offsets: list[int], told: str, tmp_path: Path) -> None:
    text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"0000")
    with pytest.raises(BenchmarkError, match=told):
        parameters_in(file)
