"""Pools at URLs: a bucket of a real S3 server, memory, and a file system that is no object store."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError, UserError
from chatgenbench.render import LocalExecutor, Picture, Pool, draw, lease_requests, request_for, upkeep
from chatgenbench.render.pool_picture import png_bytes
from chatgenbench.render.pool_store import STAGING, writer
from chatgenbench.report import write_report
from tests import cli
from tests.render import s3
from tests.render.conftest import PlanOf
from tests.render.pool_writer import noise, write_mine
from tests.render.test_pool import NAME
from tests.report import report_world as world


@pytest.fixture(scope="module")
def s3_client() -> Iterator[Any]:
    with s3.server() as client:
        yield client


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """The name of a new bucket."""
    name = f"pictures-{os.urandom(4).hex()}"
    s3_client.create_bucket(Bucket=name)
    return name


def memory() -> str:
    return f"memory://{os.urandom(8).hex()}/pool"


@pytest.fixture(params=["memory", "folders", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/deep/pool"
    return memory() if request.param == "memory" else f"dir::file://{tmp_path}/pool"


def test_all_that_a_pool_does(url: str) -> None:
    pool = Pool(url)
    pool.check()
    assert upkeep.stats(pool).staged == 0
    digest = pool.put(NAME, noise(), "a fox")
    assert digest == hashlib.sha256(png_bytes(noise(), "a fox")).hexdigest() == pool.sha256(NAME)
    assert np.array_equal(np.asarray(pool.read(NAME)), np.asarray(noise()))
    assert pool.put(NAME, noise(1), "another") == digest  # the first writer wins
    other = pickle.loads(pickle.dumps(pool))
    assert (str(other), other.spec, other.sha256(NAME)) == (url, url, digest)
    assert str(pool.picture(NAME)).endswith(f"pool/ab/{NAME}.png")
    assert pool.picture(NAME).read_bytes() == pool.data(NAME)
    assert pool.present([NAME, "cd" * 32]) == {NAME}
    assert dict(pool.checksums([NAME, "cd" * 32])) == {NAME: digest, "cd" * 32: None}
    found = upkeep.stats(pool)
    assert (found.pictures, found.size, found.staged, found.strange) == (1, len(pool.data(NAME)), 0, ())
    pool.remove([NAME, NAME])
    assert not pool.has(NAME)
    assert not pool.picture(NAME).is_file()
    with pytest.raises(InfraError, match=rf"cannot read .*{NAME}\.png"):
        pool.read(NAME)
    with pytest.raises(OSError, match=NAME):
        pool.picture(NAME).read_bytes()


def place(pool: Pool, path: str, data: bytes) -> None:
    pool._store._put(path, data, mode="overwrite")  # type: ignore[attr-defined]


@pytest.mark.parametrize("broken", [noise().tobytes(), b"", png_bytes(noise(), "")[:-40]])
def test_a_broken_picture_is_found_removed_and_written_anew(broken: bytes) -> None:
    pool = Pool(memory())
    path = f"ab/{NAME}.png"
    place(pool, path, broken)
    assert [digest for digest, _ in upkeep.broken(pool, {})] == [NAME]
    assert pool.put(NAME, noise(), "a fox") == hashlib.sha256(png_bytes(noise(), "a fox")).hexdigest()
    place(pool, path, broken)
    assert not pool.verify(NAME)
    assert not pool.has(NAME)


KILLED = """
import os, signal, sys
from PIL import Image
from chatgenbench.render import Pool
from chatgenbench.render.pool_bucket import Bucket
puts = 0
def put(self, path, data, mode="create", _put=Bucket._put):
    global puts
    if puts == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    puts += 1
    return _put(self, path, data, mode)
Bucket._put = put
Pool(sys.argv[1]).put_batch([(c * 64, Image.new("RGB", (8, 8), (i, 0, 0)), "x") for i, c in enumerate("abc")])
"""


@pytest.mark.parametrize("puts", [0, 1, 3])
@pytest.mark.parametrize("kind", ["folders", "s3"])
def test_a_batch_whose_writer_was_killed_is_whole_or_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, puts: int
) -> None:
    url = f"s3://{request.getfixturevalue('bucket')}/pool" if kind == "s3" else f"dir::file://{tmp_path}/pool"
    command = [sys.executable, "-c", KILLED, url, str(puts)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    pool = Pool(url)
    assert sum(pool.has(c * 64) for c in "abc") == max(0, puts - 1)
    assert upkeep.stats(pool).staged == (puts > 0)
    pool.recover()
    assert sum(pool.verify(c * 64) for c in "abc") == (3 if puts else 0)
    assert upkeep.stats(pool).staged == 0


def test_half_a_batch_is_swept_away_unless_its_writer_may_live() -> None:
    pool, whole = Pool(memory()), io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(f"ab/{NAME}.png", png_bytes(noise(), "x"))
    dead = writer().replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")
    for name in (f"{dead}aa.zip", f"{writer()}bb.zip", "elsewhere-1-cc.zip"):
        place(pool, f"{STAGING}/{name}", whole.getvalue()[:-30])
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../../notes.txt", "mine")
    place(pool, f"{STAGING}/{dead}dd.zip", outside.getvalue())
    pool.recover()
    assert upkeep.stats(pool).staged == 2
    assert upkeep.stats(pool).pictures == 0
    assert upkeep.stats(pool).strange == ()


def test_two_programs_at_once_are_told_the_same_pictures(bucket: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as programs:
        one, two = programs.map(write_mine, [f"s3://{bucket}/pool"] * 2, [1, 2])
    assert one == two
    pool = Pool(f"s3://{bucket}/pool")
    assert dict(pool.checksums(one)) == one
    assert upkeep.stats(pool).pictures == 8


def test_threads_of_one_program_are_told_the_same_pictures() -> None:
    url = memory()
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(write_mine, [url] * 4, range(4)))
    assert all(one == told[0] for one in told)


def test_drawing_processes_draw_into_a_bucket_what_they_draw_into_a_folder(
    bucket: str, benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    rows = [(f"i{at}", plan(seed=at)) for at in range(3)]
    far = Pool(f"s3://{bucket}/pool")
    executor = LocalExecutor(benchmark, far, 2, ("cpu",))
    requests = lease_requests([request_for(one, benchmark, 0, "e")[0] for _, one in rows])
    drawn = list(executor.run(requests))
    executor.close()
    assert all(isinstance(one, Picture) for one in drawn)
    first = {row.item: row.image_sha256 for row in draw(rows, benchmark, pool, seed_of=lambda _: 0, batch_size=2)}
    assert upkeep.stats(far).pictures == 3
    again = {row.item: row.image_sha256 for row in draw(rows, benchmark, far, seed_of=lambda _: 0, batch_size=2)}
    assert again == first
    assert upkeep.stats(far).pictures == 6  # another engine has other names


def test_a_report_shows_pictures_of_a_pool_elsewhere(tmp_path: Path) -> None:
    benchmark, near, far = world.write_benchmark(tmp_path / "b", 3), Pool(tmp_path / "pool"), Pool(memory())
    pages = []
    for k, pool in enumerate((near, far)):
        folder = world.write_run(tmp_path / str(k) / "run", benchmark, pool, "mine", seed=1)
        for embedded in (10, 1):
            pages.append(write_report(folder, benchmark, pool.picture, tmp_path / "page.html", embedded).read_bytes())
    assert pages[:2] == pages[2:]
    assert b"no longer in the pool" not in pages[0]


def test_the_pool_command_looks_after_a_bucket(bucket: str, s3_client: Any, tmp_path: Path) -> None:
    pool = Pool(f"s3://{bucket}/pool")
    pool.put_batch([(c * 64, noise(i), "x") for i, c in enumerate("abc")])
    s3_client.put_object(Bucket=bucket, Key=f"pool/aa/{'a' * 64}.png", Body=b"half")
    s3_client.put_object(Bucket=bucket, Key="pool/notes.txt", Body=b"mine")

    def typed(*command: str) -> subprocess.CompletedProcess[str]:
        return cli.run("pool", *command, "--pool", f"s3://{bucket}/pool", home=tmp_path)

    assert "pictures: 3," in (out := typed("stats").stdout)
    assert "e.g. notes.txt" in out
    done = typed("verify")
    assert done.returncode == 1
    assert f"s3://{bucket}/pool/aa/{'a' * 64}.png: it is not a whole picture" in done.stdout
    assert typed("verify", "--remove").returncode == 0
    assert "removed 0 pictures" in typed("gc", "--days", "1").stdout
    assert "removed 2 pictures" in typed("gc", "--max-gb", "0").stdout
    s3.make_read_only(s3_client, bucket)
    with pytest.raises(InfraError, match=r"cannot write to the picture pool s3://.*/pool.*(Denied|Forbidden)"):
        pool.put(NAME, noise(), "x")
    with pytest.raises(UserError, match=r"cannot be written .*(Denied|Forbidden).*choose another --pool"):
        pool.check()
    with pytest.raises(UserError, match=r"cannot be written .*bucket.*choose another --pool"):
        Pool("s3://no-such-bucket/pool").check()
    assert "no-such-bucket" not in [one["Name"] for one in s3_client.list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("nonsense://place", "nonsense is no kind of URL that fsspec knows: use a folder, or a URL such as s3"),
        ("s3://me:secret@bucket/pool", "leave the password out"),
        ("hdfs://nowhere:1/pool", "pool hdfs://nowhere:1/pool: "),
    ],
)
def test_a_pool_that_cannot_be_is_told_in_one_line(where: str, what: str) -> None:
    with pytest.raises(UserError, match=what) as told:
        Pool(where).check()
    assert "\n" not in str(told.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match="gcsfs is needed for gs:// pools: pip install gcsfs"):
        Pool("gs://bucket/pool").check()


def test_memory_is_refused_where_other_processes_draw(tmp_path: Path) -> None:
    command = ("eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run"), "--executor", "local")
    done = cli.run(*command, "--pool", "memory://pool", home=tmp_path)
    assert (done.returncode, done.stderr.strip().count("\n")) == (1, 0)
    assert "--pool memory://pool lives in one process: use --executor inline" in done.stderr


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    assert Pool(f"file://{tmp_path}/pool").root == tmp_path / "pool"
    with pytest.raises(UserError, match="--pool file:// names no folder"):
        Pool("file://")
    with pytest.raises(ValueError, match="not on this disk"):
        _ = Pool("memory://pool").root


def test_a_full_place_is_told(full_disk: Path) -> None:
    pool = Pool(f"dir::file://{full_disk}/pool")
    with pytest.raises(InfraError, match=r"cannot write to the picture pool .*(No space left|File too large)"):
        pool.put(NAME, Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)), "x")
    assert not pool.has(NAME)
    assert upkeep.stats(pool).staged == 0
