"""The Croissant metadata: read by the reference reader without a warning, and true of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatgenbench.build.draft import sha256_of
from chatgenbench.build.publish import publish
from tests.build.published import built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("croissant")
    publish(built(root), root / "d")
    return root / "d"


def test_the_reference_reader_finds_no_fault(folder: Path) -> None:
    from mlcroissant import Dataset

    dataset = Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    rows = list(dataset.records("supervised"))
    assert len(rows) == 5
    assert rows[0]["supervised/id"] == b"in-civitai-106"
    assert rows[0]["supervised/steps"] == 26


def test_a_digest_as_version_is_taken_too(tmp_path: Path) -> None:
    from mlcroissant import Dataset

    publish(built(tmp_path, version="0a1b2c3d4e5f"), tmp_path / "d")
    dataset = Dataset(jsonld=tmp_path / "d" / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings


def test_files_are_named_with_their_checksums(folder: Path) -> None:
    told = json.loads((folder / "croissant.json").read_text("utf-8"))
    assert told["version"] == "1.0.0"
    assert told["datePublished"] == "2026-01-02"
    assert len(told["distribution"]) == 9
    for file in told["distribution"]:
        path = folder / file["contentUrl"]
        assert file["sha256"] == sha256_of(path)
        assert file["contentSize"] == f"{path.stat().st_size} B"
