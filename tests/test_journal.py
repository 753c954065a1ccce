from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench import journal
from chatgenbench.errors import RunFolderError
from chatgenbench.journal import Journal

records = st.lists(st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.integers(), st.none())), max_size=6)


@given(before=records, after=records, cut=st.integers(min_value=0, max_value=40))
def test_a_torn_tail_loses_only_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, before: list[dict[str, object]], after: list[dict[str, object]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "rows.jsonl"
    with Journal(path) as book:
        for record in before:
            book.append(record)
    torn = json.dumps({"torn": "x" * 50}).encode()[: cut + 1]
    with path.open("ab") as file:
        file.write(torn)
    assert list(journal.read(path, dict)) == before
    with Journal(path) as book:
        book.append(*after)
    assert list(journal.read(path, dict)) == before + after


def test_damage_in_the_middle_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunFolderError, match="line 2 is damaged"):
        list(journal.read(path, dict))


FULL_DISK = """
import resource, sys
from pathlib import Path
from chatgenbench.errors import InfraError
from chatgenbench.journal import Journal
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
with Journal(Path(sys.argv[1])) as book:
    try:
        for i in range(100):
            book.append({"row": i, "text": "x" * 90})
    except InfraError as error:
        print(error)
        sys.exit(3)
"""


def test_a_write_the_disk_refuses_leaves_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "free some space" in done.stdout
    rows = list(journal.read(path, dict))
    assert [r["row"] for r in rows] == list(range(len(rows)))
    assert len(rows) >= 5
    assert path.read_bytes().endswith(b"\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
