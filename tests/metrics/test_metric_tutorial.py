"""What TUTORIAL.md and README.md of the metrics say is done here, in fresh processes, and printed values compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from t2imetrics._registry import BUILTIN

from tests.metrics import small_weights as small

METRICS = Path(__file__).parents[2] / "metrics"
BLOCK = re.compile(r"(?:\*\*`(?P<name>[\w.]+)`\*\*\n\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)

#: Runs each block in a namespace of its own; prints what each printed, or the error that ended it.
DRIVER = """
import contextlib, io, json, sys
printed = []
for block in json.load(sys.stdin):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(block, block, "exec"), {})
    except Exception as error:
        out.write(f"{type(error).__name__}: {error}")
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: the file it is the content of (or empty), its language, and its text."""

    name: str
    kind: str
    body: str


def blocks(page: str) -> list[Block]:
    found = BLOCK.finditer((METRICS / page).read_text("utf-8"))
    return [Block(match["name"] or "", match["kind"], match["body"]) for match in found]


def run(folder: Path, *command: str, given: str = "", also: Path | None = None) -> str:
    """Standard output of a command in `folder`, with the packages under `also` importable."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if also is not None:
        env["PYTHONPATH"] = str(also)
    done = subprocess.run(command, cwd=folder, input=given, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def printed_by(codes: list[str], folder: Path, also: Path | None = None) -> list[str]:
    found: list[str] = json.loads(run(folder, sys.executable, "-c", DRIVER, given=json.dumps(codes), also=also))
    return found


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tutorial's package as it says, and the folder its own `pip install` line put it into."""
    root = tmp_path_factory.mktemp("tutorial")
    package, site = root / "t2imetrics-colourfulness", root / "site"
    package.mkdir()
    for block in blocks("TUTORIAL.md"):
        if block.name:
            (package / block.name).write_text(block.body, "utf-8")
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--target", site)
    run(root, *map(str, pip), *arguments("pip install"))
    return package, site


def arguments(verb: str) -> list[str]:
    """What follows `verb` on the tutorial's one console line that begins with it."""
    lines = [block.body.strip() for block in blocks("TUTORIAL.md") if block.kind == "console"]
    (line,) = [line for line in lines if line.startswith(f"$ {verb} ")]
    return shlex.split(line.removeprefix(f"$ {verb} "))


def test_the_tutorials_folder_is_complete_and_short(tutorial) -> None:
    tree = next(block.body for block in blocks("TUTORIAL.md") if not block.kind)
    assert tree.split()[1:] == ["pyproject.toml", "colourfulness.py", "test_colourfulness.py"]
    files = {path.name for path in tutorial[0].iterdir() if path.is_file()}
    assert files == set(tree.split()[1:])
    lines = [line for path in tutorial[0].glob("*.py") for line in path.read_text("utf-8").splitlines()]
    written = [line for line in lines if line.strip()]
    assert len(written) <= 60
    assert f"are {len(written)} lines" in (METRICS / "TUTORIAL.md").read_text("utf-8")
    assert max(map(len, lines)) <= 120


def test_the_tutorial_prints_what_it_says(tutorial, tmp_path) -> None:
    shown = [block for block in blocks("TUTORIAL.md") if not block.name and block.kind in ("python", "text")]
    codes, outputs = shown[::2], shown[1::2]
    assert [block.kind for block in shown] == ["python", "text"] * len(codes)
    assert len(codes) == 4
    assert printed_by([code.body for code in codes], tmp_path, tutorial[1]) == [output.body for output in outputs]


def test_the_tutorials_own_test_passes(tutorial) -> None:
    out = run(tutorial[0], sys.executable, "-m", *arguments("python -m"), also=tutorial[1])
    assert "2 passed" in out


def test_the_tutorials_card_is_as_complete_as_ours(tutorial, tmp_path) -> None:
    code = (
        "import t2imetrics, sys\ncard = t2imetrics.card('colourfulness')\n"
        "print(card.lower <= card.failed_value <= card.upper, card.name, 'torch' in sys.modules)"
    )
    assert printed_by([code], tmp_path, tutorial[1]) == ["True colourfulness False\n"]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with the pictures the README speaks of."""
    (tmp_path / "gold").mkdir()
    for seed, name in enumerate(("cat.png", "dog.png", "gold/cat.png", "gold/dog.png")):
        small.picture(seed, (80, 60)).save(tmp_path / name)
    return tmp_path


def test_the_readme_prints_what_it_says(beside) -> None:
    """All of it, except that the authors' packages may be missing: then it says how to get them."""
    shown = [block for block in blocks("README.md") if block.kind in ("python", "text")]
    codes, outputs = [block.body for block in shown[::2]], [block.body for block in shown[1::2]]
    assert [block.kind for block in shown] == ["python", "text"] * len(codes)
    for what in ("load(", "Suite(", "aggregate()", "as_torchmetric(", "precision=", 'backend="reference"'):
        assert any(what in code for code in codes), f"the README shows no {what}"
    for code, found, expected in zip(codes, printed_by(codes, beside), outputs, strict=True):
        if 'backend="reference"' in code and find_spec("ImageReward") is None:
            assert found.startswith("OptionError: "), found
        else:
            assert found == expected, code


def test_the_readme_lists_every_metric_in_order() -> None:
    text = (METRICS / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \| \[card\]\(cards/(\w+)\.md\) \|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(BUILTIN)
    assert all(name == page for name, _, page in rows)


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in ("README.md", "TUTORIAL.md"):
        for link in re.findall(r"\]\(([\w./]+)\)", (METRICS / page).read_text("utf-8")):
            assert (METRICS / link).is_file(), f"{page}: {link}"
