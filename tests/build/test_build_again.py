"""The builder's command typed again after something changed: a removal, a lost picture, another salt; and dry runs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgenbench.benchmark import load_benchmark
from tests.build.actor import Actor
from tests.build.replay import ReplayServer, World
from tests.build.test_build import KEY, TOKEN, command, run

Servers = tuple[ReplayServer, Actor]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    world = World(models=4, images_per_version=8, seed=5)
    whole = [number for number, body in world.images.items() if body["meta"] and body["browsingLevel"] == 1]
    for number in whole[:2]:
        world.images[number]["url"] = None
    with ReplayServer(world, token=TOKEN) as hub, Actor(key=KEY) as actor:
        yield hub, actor


@pytest.fixture(scope="module")
def first(servers: Servers, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("again") / "build"
    run(command(servers, out, "--form", "full"))
    return out


@pytest.fixture
def out(first: Path, tmp_path: Path) -> Path:
    """A copy of the finished build, to be spoilt."""
    return Path(shutil.copytree(first, tmp_path / "build"))


def counts(out: Path, stage: str) -> dict[str, int]:
    return dict(json.loads((out / "dataset" / "build.json").read_text())["funnel"][stage]["dropped"])


def test_a_record_without_a_picture_is_left_out_alone(first: Path) -> None:
    assert counts(first, "pictures") == {"picture-without-address": 2}
    assert load_benchmark(str(first / "dataset")).manifest.pictures


def test_a_picture_can_be_removed(servers: Servers, out: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark(str(out / "dataset"))
    gone = next(iter(benchmark.demonstrations.values())).picture_sha256
    assert gone
    listed = tmp_path / "removals.txt"
    listed.write_text(f"{gone.upper()}   # asked by mail\n")
    run(command(servers, out, "--form", "full", "--removals", str(listed)))
    assert counts(out, "pictures")["removal"] >= 1
    left = load_benchmark(str(out / "dataset"))
    assert gone not in {d.picture_sha256 for d in left.demonstrations.values()}
    assert not list((out / "dataset" / "pictures").rglob(f"{gone}.*"))


def test_a_person_can_be_removed_by_name(servers: Servers, out: Path, tmp_path: Path) -> None:
    made = Counter(body["username"] for body in servers[0].world.images.values() if body["meta"])
    name = made.most_common(1)[0][0]
    listed = tmp_path / "removals.txt"
    listed.write_text(f"https://civitai.com/user/{name}\n@nobody-by-that-name\n")
    run(command(servers, out, "--form", "full", "--removals", str(listed)))
    assert 1 <= counts(out, "filter")["removal"] <= made[name]
    assert not any(name.encode() in file.read_bytes() for file in out.rglob("*") if file.is_file())


def test_when_nothing_is_left_the_old_dataset_is_named(servers: Servers, out: Path, tmp_path: Path) -> None:
    listed = tmp_path / "removals.txt"
    listed.write_text("".join(f"civitai:{model['id']}\n" for model in servers[0].world.models))
    done = run(command(servers, out, "--removals", str(listed)), code=1)
    assert "look at the removal list" in done.stderr
    assert "is from before: delete it" in " ".join(done.stderr.split())
    assert "Funnel" in done.stdout


def test_a_lost_picture_is_fetched_again(servers: Servers, out: Path) -> None:
    benchmark = load_benchmark(str(out / "dataset"))
    name = next(iter(benchmark.demonstrations.values())).picture
    before = (out / name).read_bytes()
    (out / name).unlink()
    run(command(servers, out, "--form", "full"))
    assert (out / name).read_bytes() == before
    assert load_benchmark(str(out / "dataset")).hash == benchmark.hash


def test_what_is_never_answered_can_be_gone_past(tmp_path: Path) -> None:
    """A page, a picture and a chat that no attempt brings end every run, until one says to go on without them."""

    class Poisoned(ReplayServer):
        never: tuple[str, ...] = ()

        def fault_of(self, key: str) -> str | None:
            return "500" if any(part in key for part in self.never) else None

    class Silent(Actor):
        first = ""

        def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
            self.first = self.first or hashlib.sha256(data).hexdigest()
            silent = hashlib.sha256(data).hexdigest() == self.first
            return (500, b"{}", {}) if silent else super().reply(data, key)

    world = World(models=4, images_per_version=8, seed=5, odd=False)
    page, picture = max(world.by_version), min(world.images)
    with Poisoned(world, token=TOKEN) as hub, Silent(key=KEY) as actor:
        hub.never = (f"modelVersionId={page}&", f"/pictures/{picture}.png")
        words = command((hub, actor), tmp_path / "b", "--form", "full")
        hint = "or add --skip-unanswered to go on without what"
        assert hint in " ".join(run(words, code=3).stderr.split())
        done = run([*words, "--skip-unanswered"])
        told = " ".join(done.stdout.split())
        for part in ("1 list of pictures ends at a page", "1 picture was", "1 chat was"):
            assert part in told
        funnel = json.loads((tmp_path / "b/dataset/build.json").read_text())["funnel"]
        assert funnel["parse"]["noted"]["unanswered"] == 1
        assert funnel["pictures"]["dropped"] == {"picture-unanswered": 1}
        assert funnel["roleplay"]["dropped"]["unanswered"] == 1
        load_benchmark(str(tmp_path / "b/dataset"))
        hub.never, actor.first = (), "nobody"
        whole = run(words)
        assert "never answered" not in whole.stdout
    funnel = json.loads((tmp_path / "b/dataset/build.json").read_text())["funnel"]
    assert not {"picture-unanswered", "unanswered"} & {*funnel["pictures"]["dropped"], *funnel["roleplay"]["dropped"]}
    assert funnel["parse"]["kept"] == len(world.images)


def test_another_salt_would_give_a_person_two_names(servers: Servers, out: Path, monkeypatch) -> None:
    import subprocess

    from tests.build.test_build import environment

    env = {**environment(), "CHATGENBENCH_SALT": "another"}
    done = subprocess.run(command(servers, out), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "was begun with another $CHATGENBENCH_SALT" in " ".join(done.stderr.split())


def test_a_dry_run_asks_nobody(servers: Servers, first: Path, tmp_path: Path) -> None:
    hub, actor = servers
    asked = (len(hub.requests), len(actor.bodies))
    bounds = ["--max-models", "4", "--max-images", "30", "--llm-price-in", "10", "--llm-price-out", "10", "--dry-run"]
    fresh = " ".join(run(command(servers, tmp_path / "new", *bounds)).stdout.split())
    known = " ".join(run(command(servers, first, "--dry-run")).stdout.split())
    endless = " ".join(run(command(servers, tmp_path / "new", "--dry-run")).stdout.split())
    assert (len(hub.requests), len(actor.bodies)) == asked
    low, high = re.findall(r"requests to the API │ (\d+) to (\d+)", fresh)[0]
    assert int(low) <= 1 + 5 <= int(high), "one page of models, five versions"
    assert "at most 30" in fresh
    assert re.search(r"cost │ \d+\.\d+ to \d+\.\d+ USD", fresh)
    assert "no bound: give --max-models" in endless
    items = len(load_benchmark(str(first / "dataset")).items)
    chats = int(re.findall(r"freestyle inputs │ (\d+)", known)[0])
    assert chats >= items
    assert "all of it is stored" in known
    assert "pictures to download │ 0" in known


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--api", "https://bob:secret@example.org/api"], "--api must be an https address"),
        (["--api", "ftp://x"], "--api must be an https address"),
        (["--llm-base-url", "http://x:notaport"], "is no address"),
        (["--llm-base-url", ""], "is no address"),
        (["--llm-base-url", "localhost:8000/v1"], "is no address"),
        (["--llm-base-url", "https://bob:secret@"], "is no address"),
        (["--budget", "5"], "--budget needs prices"),
        (["--name", " "], "name is empty"),
        (["--push-to-hub", "nobody"], "OWNER/NAME"),
        (["--push-to-hub", "me/mine"], "$HF_TOKEN"),
        (["--push-to-hub", "me/mine", "--form", "full"], "full form is for your own use"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    servers: Servers, words: list[str], told: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    asked = len(servers[0].requests)
    done = run(command(servers, tmp_path / "new", *words), code=1)
    assert told in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert not (tmp_path / "new").exists()
    assert len(servers[0].requests) == asked


def test_an_absurd_date_is_told(servers: Servers, tmp_path: Path, monkeypatch) -> None:
    import subprocess

    from tests.build.test_build import environment

    env = {**environment(), "SOURCE_DATE_EPOCH": "9" * 30}
    done = subprocess.run(command(servers, tmp_path / "new"), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "$SOURCE_DATE_EPOCH" in done.stderr


def test_options_before_a_subcommand_are_refused(tmp_path: Path) -> None:
    from tests.build.test_build import PROGRAM

    done = run([*PROGRAM, "--out", "x", "import", str(tmp_path), "--out", "y"], code=2)
    assert "write the options of import after its name" in " ".join(done.stderr.replace("│", " ").split())
    done = run([*PROGRAM, "hydrate", str(tmp_path), "--out", str(tmp_path)], code=1)
    assert "no published dataset" in " ".join(done.stderr.split())


def test_odd_folder_names_are_printed_as_they_are(servers: Servers, tmp_path: Path) -> None:
    out = tmp_path / "x[/b]y[red]"
    done = run(command(servers, out, "--max-images", "30", "--test-share", "0.5"))
    assert "x[/b]y[red]/dataset" in done.stdout
    assert "chatgenbench build hydrate" in done.stdout
