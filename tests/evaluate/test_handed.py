"""Reference pictures as systems get them: files that can be opened, whose names say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatgenbench.benchmark import load_benchmark
from chatgenbench.errors import BenchmarkError, InfraError
from chatgenbench.evaluate.handed import handed
from chatgenbench.evaluate.pipeline import plan_stage
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.schema import FreestyleInput, Message
from tests.evaluate.test_plan_stage import Batched, Silent


def chat(*images: str) -> FreestyleInput:
    return FreestyleInput(id="a", kind="multimodal", messages=(Message(text="like this", images=images),))


def test_a_system_sees_the_picture_and_not_what_it_is_called(tmp_path: Path) -> None:
    seen: list[str] = []

    class Looking(Batched):
        def plan(self, inputs):  # type: ignore[no-untyped-def]
            seen.extend(path for one in inputs for path in one.images)
            return super().plan(inputs)

    miniature = load_benchmark("miniature")
    items = [item for item in miniature.items if item.input.images][:3]
    (tmp_path / "run").mkdir()
    plan_stage(RunFolder(tmp_path / "run"), miniature, Looking(), tuple(items), Silent())
    originals = [miniature.root / name for item in items for name in item.input.images]
    assert [Path(path).read_bytes() for path in seen] == [path.read_bytes() for path in originals]
    assert not any(original.stem in path for original, path in zip(originals, seen, strict=True))


def test_a_copy_is_the_same_for_all_runs_and_a_torn_one_is_mended(tmp_path: Path) -> None:
    (tmp_path / "twemoji-carrot.PNG").write_bytes(b"carrot")
    [first] = handed(chat("twemoji-carrot.PNG"), tmp_path).images
    Path(first).write_bytes(b"car")
    assert handed(chat("twemoji-carrot.PNG"), tmp_path).images == (first,)
    assert Path(first).read_bytes() == b"carrot"
    assert first.endswith(".png")


def test_a_picture_that_is_gone_or_elsewhere_is_never_handed_out(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root := tmp_path / "benchmark").mkdir()
    [gone] = handed(chat("carrot.png"), root).images
    assert not Path(gone).exists()
    assert "carrot" not in gone
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(BenchmarkError, match=r"lies outside .*: mend the benchmark"):
            handed(chat(name), root)
    (root / "link.png").symlink_to(tmp_path / "secret.png")  # as a hub's snapshot has them
    assert Path(handed(chat("link.png"), root).images[0]).read_bytes() == b"secret"


def test_a_disk_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(InfraError, match=r"cannot use .*references: Not a directory; mend that"):
        handed(chat("a.png"), tmp_path)
