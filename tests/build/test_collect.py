"""Collecting from the replay server: every fault, exact limits, kills at any moment, and nobody's name."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.build import civitai
from chatgenbench.build import collect as module
from chatgenbench.build.catalog import Hub
from chatgenbench.build.collect import Query, collect, images, models
from chatgenbench.build.funnel import Count
from chatgenbench.build.store import RawStore
from chatgenbench.errors import ChatGenBenchError, InfraError, UserError
from tests.build.replay import LASTING, STRANGE, TRANSIENT, ReplayServer, World

TOKEN = "t0ken-that-nobody-may-see"
SALT = b"salt of the tests"
RECORDED = Path(__file__).parents[1] / "data/civitai"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def quick(server: ReplayServer, **more: Any) -> Query:
    return Query(base_url=server.base_url, requests_per_second=1e6, **more)


def run(folder: Path, query: Query, token: str | None = TOKEN, skip: bool = False) -> Count:
    """Collect into `folder/raw`; returns what was counted."""
    count = Count()
    with RawStore(folder / "raw") as store:
        collect(store, query, count, lambda *_: None, token, SALT, patience=0.001, skip=skip)
    return count


def found(folder: Path, query: Query) -> tuple[list[dict[str, Any]], Count]:
    count = Count()
    with RawStore(folder / "raw") as store:
        return list(images(store, query, count)), count


def without_port(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of the world, without what differs between two servers."""
    return [{**i, "url": i["url"].rsplit("/", 1)[1]} for i in items if i["id"] < STRANGE]


@pytest.fixture(scope="module")
def expected(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a server without faults gives."""
    folder = tmp_path_factory.mktemp("expected")
    with ReplayServer(world) as server:
        run(folder, quick(server))
        return without_port(found(folder, quick(server))[0])


def test_everything_is_collected_once(world: World, expected: list[dict[str, Any]]) -> None:
    assert [i["id"] for i in expected] != sorted(world.images)  # rounds, not version after version
    assert sorted(i["id"] for i in expected) == sorted(world.images)
    assert all(i["modelVersionId"] in i["modelVersionIds"] for i in expected)
    original = world.images[expected[0]["id"]]
    assert expected[0]["meta"] == {
        **{k: v for k, v in original["meta"].items() if k != "User"},
        "Path": original["meta"]["Path"].replace(world.names[1], "someone"),
    }


@pytest.mark.parametrize(
    "faults", [(f,) for f in (*TRANSIENT, *LASTING)] + [TRANSIENT, LASTING, (*TRANSIENT, *LASTING)]
)
def test_no_fault_changes_what_is_collected(
    faults: tuple[str, ...], world: World, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    with ReplayServer(world, faults, token=TOKEN) as server:
        query = quick(server)
        count = run(tmp_path, query)
        items, noted = found(tmp_path, query)
        assert without_port(items) == expected
        assert (count.seen, count.kept) == (len(items), len(items))
        assert set(noted.noted) <= set(count.noted)
        assert len(server.keys) == len(set(server.keys))
        if set(faults) & set(TRANSIENT):
            assert sum(server.faulted.values()) >= 10
        asked = len(server.requests)
        run(tmp_path, query)
        assert len(server.requests) == asked


def test_what_faults_leave_behind_is_counted(world: World, tmp_path: Path) -> None:
    with ReplayServer(world, LASTING) as server:
        query = quick(server)
        count = run(tmp_path, query).noted
        items, noted = found(tmp_path, query)
        pages = [key for key in server.keys if key.startswith("/images")]
        with RawStore(tmp_path / "raw") as store:
            cut = next(iter(models(store, query)))["description"]
    assert count["cursor-loop"] == noted.noted["cursor-loop"] == 1
    assert noted.noted["nothing-new"] == 1
    # a page of each version for every 12 of its pictures, and three that bring nothing before `stall` is given up
    listed = [len(ids) for ids in world.by_version.values()]
    assert len(pages) == sum(-(-n // 12) for n in listed) + 3
    assert noted.noted["foreign"] == noted.noted["images-not-an-object"] == noted.noted["no-id"] == len(pages)
    assert noted.noted["other-version"] == 60
    assert noted.noted["drift:images.url:null"] == len(items) - len(world.images)
    assert (count["description-cut"], len(cut)) == (1, civitai.DESCRIPTION)
    assert (count["models"], count["versions"], count["models-repeated"]) == (6, 7, 1)


@pytest.mark.parametrize("maximum", [1, 11, 12, 13, 50, 209, 210, 500])
def test_max_images_is_exact(maximum: int, world: World, expected: list[dict[str, Any]], tmp_path: Path) -> None:
    with ReplayServer(world) as server:
        query = quick(server, max_images=maximum)
        assert run(tmp_path, query).kept == min(maximum, 210)
        assert without_port(found(tmp_path, query)[0]) == expected[:maximum]
        if maximum <= 12:
            assert len(server.keys) == 2 + query.concurrency
        # how many were asked at once makes no difference to what is found
        assert without_port(found(tmp_path, replace(query, concurrency=1))[0]) == expected[:maximum]


@pytest.mark.parametrize("maximum", [1, 3, 4, 5, 6, 9])
def test_max_models_is_exact(maximum: int, world: World, tmp_path: Path) -> None:
    with ReplayServer(world, ["repeats"]) as server:
        query = quick(server, max_models=maximum, max_images=1)
        run(tmp_path, query)
        with RawStore(tmp_path / "raw") as store:
            assert [m["id"] for m in models(store, query)] == [m["id"] for m in world.models][:maximum]
        assert len([key for key in server.keys if key.startswith("/models")]) == (1 if maximum <= 4 else 2)


@pytest.mark.parametrize(("maximum", "pages"), [(5, 1), (12, 1), (13, 2), (24, 2)])
def test_images_per_model_bounds_each_version(maximum: int, pages: int, world: World, tmp_path: Path) -> None:
    with ReplayServer(world) as server:
        query = quick(server, images_per_model=maximum)
        run(tmp_path, query)
        items, noted = found(tmp_path, query)
        assert len(items) + noted.noted["other-version"] == maximum * len(world.by_version)
        assert len([key for key in server.keys if key.startswith("/images")]) == pages * len(world.by_version)


def test_only_versions_of_the_base_model_are_asked_for(world: World, tmp_path: Path) -> None:
    with ReplayServer(world) as server:
        query = quick(server, base_models=("SDXL 1.0",))
        run(tmp_path, query)
        assert {i["baseModel"] for i in found(tmp_path, query)[0]} == {"SDXL 1.0"}
        assert "baseModels=SDXL%201.0" in server.keys[0]


def test_requests_ask_for_what_was_meant(world: World, tmp_path: Path) -> None:
    with ReplayServer(world) as server:
        run(tmp_path, quick(server, period="Month", max_images=1))
        assert server.keys[0] == (
            "/models?limit=100&nsfw=false&period=Month&sort=Most%20Downloaded&types=Checkpoint&types=LORA"
        )
        assert (
            "/images?flatMeta=true&limit=200&modelVersionId=10000&nsfw=None&period=Month&sort=Most%20Reactions"
            "&type=image&withMeta=true"
        ) in server.keys[2:]
        assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in server.requests)


def test_progress_is_told(world: World, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    with ReplayServer(world) as server, RawStore(tmp_path / "raw") as store:
        query = quick(server, max_models=6)
        collect(store, query, Count(), lambda *told: heard.append(told), None, SALT)
    assert ("models", 6, 6) in heard
    assert heard[-1] == ("versions", 7, 7)
    assert ("images", 210, None) in heard


def test_collecting_more_goes_on_from_what_is_there(world: World, tmp_path: Path) -> None:
    with ReplayServer(world) as server:
        run(tmp_path, quick(server, max_images=20))
        run(tmp_path, quick(server))
        assert len(server.keys) == len(set(server.keys))


def test_unanswered_requests_are_told_and_asked_again(world: World, tmp_path: Path) -> None:
    class Broken(ReplayServer):
        broken = True

        def fault_of(self, key: str) -> str | None:
            return "500" if self.broken and "modelVersionId=10020" in key else None

    with Broken(world) as server:
        with pytest.raises(
            InfraError, match=r"^1 request to the API stayed unanswered \(status 500: 1\): type the same"
        ):
            run(tmp_path, quick(server))
        others = len(server.keys)
        assert others == 28 - 3
        with pytest.raises(InfraError, match="does not hold all"):
            found(tmp_path, quick(server))
        server.broken = False
        run(tmp_path, quick(server))
        assert len(server.keys) == len(set(server.keys)) == 28


class Poisoned(ReplayServer):
    """Never answers the requests that hold any of `never`."""

    never: tuple[str, ...] = ()

    def fault_of(self, key: str) -> str | None:
        return "500" if any(part in key for part in self.never) else None


@pytest.mark.parametrize("maximum", [None, 150])
def test_pages_that_are_never_answered_can_be_given_up(
    maximum: int | None, world: World, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    with Poisoned(world) as server:
        query = quick(server, max_images=maximum)
        server.never = ("modelVersionId=10020",)
        with pytest.raises(InfraError, match="or add --skip-unanswered to go on without what"):
            run(tmp_path, query)
        count = run(tmp_path, query, skip=True)
        items, noted = found(tmp_path, query)
        assert (count.kept, count.noted["unanswered"], noted.noted["unanswered"]) == (len(items), 1, 1)
        without = [i for i in expected if i["modelVersionId"] != 10020]
        assert {i["id"] for i in without_port(items)} <= {i["id"] for i in expected}
        if maximum is None:
            # pictures that a second version lists as well are found there
            assert {i["id"] for i in without} <= {i["id"] for i in items}
        else:
            assert len(items) == maximum
        asked = len(server.times)
        assert run(tmp_path, query, skip=True).kept == len(items)
        assert len(server.times) == asked, "what was given up is not asked again"
        with pytest.raises(InfraError, match="1 request to the API stayed unanswered"):
            run(tmp_path, query)
        server.never = ()
        run(tmp_path, query)
        assert without_port(found(tmp_path, query)[0]) == expected[:maximum]


def test_a_list_of_models_can_end_at_a_page_that_is_never_answered(world: World, tmp_path: Path) -> None:
    with Poisoned(world) as server:
        query = quick(server)
        server.never = ("/models?cursor",)
        count = run(tmp_path, query, skip=True)
        assert (count.noted["models-unanswered"], count.noted["models"]) == (1, 4)
        with RawStore(tmp_path / "raw") as store:
            assert len(list(models(store, query))) == 4
        server.never = ("/models",)
        with pytest.raises(InfraError, match="1 request to the API stayed unanswered"):
            run(tmp_path / "nothing", query, skip=True)


def test_a_hub_that_goes_down_is_not_taken_for_one_without_those_pages(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Poisoned(world) as server:
        query = quick(server, concurrency=1)
        server.never = ("/images",)
        with pytest.raises(InfraError, match="answers nothing under /images: type the command again later"):
            run(tmp_path, query, skip=True)
        monkeypatch.setattr(module, "GIVE_UP", 3)
        with pytest.raises(
            InfraError, match=r"3 requests to the API stayed unanswered \(status 500: 3\): type.* go on$"
        ):
            run(tmp_path, query, skip=True)
        with RawStore(tmp_path / "raw") as store:
            assert {store.status(key) for key in store} == {200}


def test_a_hub_that_is_down_is_given_up_soon(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(ReplayServer):
        def fault_of(self, key: str) -> str | None:
            return "500" if key.startswith("/images") else None

    monkeypatch.setattr(module, "GIVE_UP", 3)
    with Down(world) as server, pytest.raises(InfraError, match="stayed unanswered"):
        run(tmp_path, quick(server, concurrency=1))
    assert len({seen for seen in server.keys if seen.startswith("/images")}) == 0


def test_a_refused_query_is_the_users_mistake(tmp_path: Path, world: World) -> None:
    class Refusing(ReplayServer):
        def list_models(self, params: dict[str, list[str]]) -> dict[str, Any]:
            return {"error": {"name": "ZodError", "issues": [{"path": ["baseModels"], "message": "Invalid option"}]}}

    with Refusing(world) as server, pytest.raises(InfraError, match="JSON without what was asked for"):
        run(tmp_path, quick(server))
    with ReplayServer(world, token="another") as server, pytest.raises(UserError, match="refuses the token"):
        run(tmp_path, quick(server))
    with ReplayServer(world) as server, pytest.raises(UserError, match="refuses to list models"):
        run(tmp_path, replace(quick(server), base_url=server.base_url + "/nothing"))
    with ReplayServer(world) as server, pytest.raises(UserError, match="--nsfw all"):
        run(tmp_path, quick(server, nsfw="all"))


def test_neither_token_nor_names_are_anywhere(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with ReplayServer(world, (*TRANSIENT, *LASTING), token=TOKEN) as server:
        run(tmp_path, quick(server))
        with pytest.raises(ChatGenBenchError) as caught:
            run(tmp_path, quick(server, period="Day"), "wrong " + TOKEN)
        query = quick(server)
    with RawStore(tmp_path / "raw") as store:
        bodies = b"".join(answer.body for key in store if (answer := store.get(key)) is not None)
        creators = {i["username"] for i in images(store, query, Count()) if i["id"] < STRANGE}
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    told = (caplog.text + str(caught.value) + "".join(capsys.readouterr())).encode()
    for secret in (TOKEN, "Quillon", "Verdaccio"):
        assert secret.encode().lower() not in (bodies + files + told).lower()
    assert len(creators) == len({i["username"] for i in world.images.values()}) > 20
    assert all(name.startswith("creator-") for name in creators)


def test_the_workspaces_salt_is_used_unless_told(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_SALT", SALT.decode())
    with ReplayServer(world) as server:
        query = quick(server, max_models=1)
        run(tmp_path / "a", query)
        with RawStore(tmp_path / "b/raw") as store:
            collect(store, query, Count(), lambda *_: None, None)
            digest = store.digest()
    with RawStore(tmp_path / "a/raw") as store:
        assert store.digest() == digest


#: Collects in a process of its own, as the command does.
KILLED = """
import sys
from pathlib import Path
from chatgenbench.build.collect import Query, collect
from chatgenbench.build.funnel import Count
from chatgenbench.build.store import RawStore
query = Query(base_url=sys.argv[2], requests_per_second=1e6)
with RawStore(Path(sys.argv[1]) / "raw") as store:
    collect(store, query, Count(), lambda *_: None, sys.argv[3], b"salt of the tests", patience=0.001)
"""


def test_nothing_that_was_kept_is_asked_again_after_kills(world: World, expected: list[Any], tmp_path: Path) -> None:
    moments = random.Random(4)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with ReplayServer(world, (*TRANSIENT, *LASTING), token=TOKEN, pause=0.02) as server:
        sizes: list[int] = []
        for _ in range(10):
            with RawStore(tmp_path / "raw") as store:
                kept = set(store)
            sizes.append(len(kept))
            before = len(server.requests)
            command = [sys.executable, "-c", KILLED, str(tmp_path), server.base_url, TOKEN]
            with subprocess.Popen(command, env=environment) as process:
                wanted = before + moments.randint(1, 4)
                while len(server.requests) < wanted and process.poll() is None:
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.03))
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)  # what was under way is answered into the void
            assert not kept & {seen.key for seen in server.requests[before:]}
        assert len(set(sizes)) > 5
        run(tmp_path, quick(server))
        items, _ = found(tmp_path, quick(server))
        assert without_port(items) == expected
        run(tmp_path / "other", quick(server))
    with RawStore(tmp_path / "raw") as store, RawStore(tmp_path / "other/raw") as other:
        assert store.digest() == other.digest()


def recorded() -> Iterator[dict[str, Any]]:
    page = json.loads((RECORDED / "Stepwisecliche__civitai-api/api_responses.json").read_text("utf-8"))
    yield from page["models_list_page1"]["items"]
    yield page["model_get_1102"]
    for path in sorted((RECORDED / "OwenTruong__civitdl").glob("model_dict-*.json")):
        yield json.loads(path.read_text("utf-8"))
    yield json.loads((RECORDED / "invoke-ai__InvokeAI/RepoCivitaiModelMetadata1.json").read_text("utf-8"))


def test_recorded_bodies_survive_and_lose_their_names() -> None:
    bodies, count = list(recorded()), Count()
    names = {body["creator"]["username"] for body in bodies if body.get("creator")}
    before = len(Hub(json.loads(json.dumps(bodies)), Count()))
    for body in bodies:
        civitai.drift("models", body, count)
        civitai.scrub(body, lambda name: "creator-0")
        assert civitai.load(civitai.dump(body)) == body
    assert len(Hub(bodies, Count())) == before > 100
    assert len(names) > 5
    assert not [name for name in names if name in json.dumps(bodies)]
    assert set(count.noted) <= {"drift:models.nsfw:null", "drift:models.poi:null"}, count.noted


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":"No model with id 7"}', "No model with id 7"),
        (b'{"error":{"name":"ZodError","issues":[{"path":["limit"],"message":"Too big"}]}}', "limit: Too big"),
        (b'{"error":{"name":"ZodError","message":"[...]"}}', "[...]"),
        (b'{"error":"busy","code":"SERVICE_UNAVAILABLE"}', "busy"),
        (b'{"message":"broken","issues":[{"message":"Required"}]}', "Required"),
        (b'{"message":"broken","error":{"name":"Error"}}', "Error"),
        (b"<html>", "an HTML page"),
        (b"{", ""),
        (b"[]", ""),
        (b'{"error":null}', ""),
    ],
)
def test_every_error_shape_is_one_short_reason(body: bytes, said: str) -> None:
    assert civitai.reason(body) == said


@pytest.mark.parametrize(
    ("meta", "flat"),
    [
        ({"prompt": "x"}, {"prompt": "x"}),
        ({"id": 5, "meta": {"prompt": "x"}}, {"prompt": "x"}),
        ({"id": 5, "meta": {"id": 5, "meta": None}}, None),
        ({"meta": "a word", "prompt": "x"}, {"meta": "a word", "prompt": "x"}),
        (None, None),
        ("text", "text"),
    ],
)
def test_metadata_is_unwrapped(meta: Any, flat: Any) -> None:
    assert civitai.image({"id": 5, "meta": meta}, 9) == {"id": 5, "meta": flat, "modelVersionId": 9}


@pytest.mark.parametrize(
    ("metadata", "cursor"),
    [
        ({"nextCursor": "5|6"}, "5|6"),
        ({"nextCursor": 7}, "7"),
        ({"nextPage": "https://other.example/api/v1/images?limit=2&cursor=a%7Cb"}, "a|b"),
        ({"nextPage": "https://[bad/?cursor=1"}, None),
        ({"nextPage": "https://x/?limit=2"}, None),
        ({"nextCursor": None, "nextPage": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_cursors_are_found_wherever_they_are(metadata: Any, cursor: str | None) -> None:
    count = Count()
    page = civitai.page(json.dumps({"items": [{"id": 1}], "metadata": metadata}).encode(), "images", count)
    assert (page.items, page.cursor) == ([{"id": 1}], cursor)
    assert not count.noted


def test_unknown_fields_and_types_are_counted_and_bounded() -> None:
    count = Count()
    civitai.drift("images", {"id": "7", "width": 1.5, "nsfw": True, "brandNew": [], "hash": None}, count)
    assert count.noted == {"drift:images.id:str": 1, "drift:images.width:float": 1, "drift:images.brandNew:list": 1}
    for number in range(1000):
        civitai.drift("images", {f"field{number}": 0}, count)
    assert len(count.noted) <= 201
    assert sum(count.noted.values()) == 1003


@pytest.mark.parametrize("text", ["\ud83d", "\x00", "NaN"])
def test_odd_json_passes(text: str) -> None:
    value = {"prompt": text, "seed": 2**70, "cfg": float("inf")}
    assert civitai.load(civitai.dump(civitai.load(json.dumps(value).encode()))) == value


class Closed(ReplayServer):
    """Refuses requests with any part of `closed` in them to every token but `lets_in`."""

    closed: tuple[str, ...] = ()
    lets_in = "better"

    def refusal(self, key: str, headers: dict[str, str]) -> int | None:
        refused = any(part in key for part in self.closed) and headers.get("authorization") != f"Bearer {self.lets_in}"
        return 403 if refused else None


def stored(folder: Path, status: int) -> list[str]:
    with RawStore(folder / "raw") as store:
        return [key for key in store if store.status(key) == status]


def test_a_token_that_opens_no_pictures_is_told_and_asked_for_again(
    world: World, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    with Closed(world) as server:
        server.closed = ("/images",)
        for _ in range(3):
            with pytest.raises(UserError, match=r"refuses to give pictures \(Forbidden\): check \$CIVITAI_API_TOKEN"):
                run(tmp_path, quick(server, concurrency=1))
        assert stored(tmp_path, 403) == []
        assert len(stored(tmp_path, 200)) == 2  # the models are kept
        run(tmp_path, quick(server), "better")
        assert without_port(found(tmp_path, quick(server))[0]) == expected


def test_a_token_that_ends_midway_loses_nothing(world: World, expected: list[dict[str, Any]], tmp_path: Path) -> None:
    with Closed(world) as server:
        run(tmp_path, quick(server, max_images=50))
        kept, server.closed = stored(tmp_path, 200), ("/images",)
        server.reset()
        with pytest.raises(UserError, match="CIVITAI_API_TOKEN"):
            run(tmp_path, quick(server, concurrency=1))
        assert 4 <= len(server.keys) <= 8  # what was under way, and a page that was given before
        assert set(server.keys) & set(kept)
        assert stored(tmp_path, 403) == []
        assert stored(tmp_path, 200) == kept
        server.reset()
        run(tmp_path, quick(server), "better")
        assert not set(server.keys) & set(kept)
        assert without_port(found(tmp_path, quick(server))[0]) == expected


@pytest.mark.parametrize("closed", [("10040",), ("10040", "10050", "10031")])
def test_versions_that_are_refused_are_counted_and_asked_for_again(
    closed: tuple[str, ...], world: World, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    with Closed(world) as server:
        run(tmp_path, quick(server, max_images=12))
        server.closed = tuple(f"modelVersionId={version}" for version in closed)
        for again in range(3):
            server.reset()
            assert run(tmp_path, quick(server)).noted["refused:403"] == len(closed)
            assert found(tmp_path, quick(server))[1].noted["refused:403"] == len(closed)
            assert not again or len(server.keys) == len(closed)  # and nothing else
        with RawStore(tmp_path / "raw") as store:
            before = store.digest()
        run(tmp_path, quick(server), "better")
        assert without_port(found(tmp_path, quick(server))[0]) == expected
        with RawStore(tmp_path / "raw") as store:
            assert store.digest() != before
        server.reset()
        run(tmp_path, quick(server), "better")
        assert server.keys == []


def test_a_refusal_that_is_kept_stands_in_while_the_hub_is_down(world: World, tmp_path: Path) -> None:
    with Closed(world) as server:
        server.closed = ("modelVersionId=10000",)
        before = run(tmp_path, quick(server)).noted
        query = quick(server)
    assert run(tmp_path, query).noted == before


def test_a_list_of_models_that_was_refused_is_asked_for_again(world: World, tmp_path: Path) -> None:
    class Refusing(ReplayServer):
        status: int | None = 400

        def refusal(self, key: str, headers: dict[str, str]) -> int | None:
            return self.status

    with Refusing(world) as server:
        for server.status in (400, 403, 404, 407):
            with pytest.raises(UserError, match=r"refuses to list models|a proxy on the way"):
                run(tmp_path, quick(server))
        server.status = None
        assert run(tmp_path, quick(server)).kept == 210


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf"])
def test_patience_that_is_no_number_is_told(
    value: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", value)
    with RawStore(tmp_path / "raw") as store, pytest.raises(UserError, match=r"\$CHATGENBENCH_PATIENCE must be"):
        collect(store, Query(), Count(), lambda *_: None, TOKEN, SALT)


#: A name that no word of these tests holds.
people = st.from_regex(r"\A[Zz]q[A-Za-z0-9_.-]{1,12}x\Z")
_TEXTS = (
    "Style by {}", "{}", "{}'s and {}_v2", "@{}", "see {}.", "https://civitai.com/user/{}",
    "CIVITAI.com/User/{}/models", "https://www.civitai.red/@{}/", "civitai.com\\/user\\/{}",
    '<a href="https://civitai.com/images?limit=1&amp;username={}">', "C:\\Users\\{}", "C:\\\\Users\\\\{}\\out.png",
    "/home/{}", "/home/{}/x.png", "saved in /Users/{}/, yes", "d:/users/{}", "file:///C%3A%5CUsers%5C{}%5Cx",
    '{{"username": "{}"}}', '{{\\"user\\":\\"{}\\"}}', "C:\\Documents and Settings\\{}\\x",
)  # fmt: skip
_HIDDEN = {"username", "user", "creator", "User", "USER", "userName", "user_name"}


@st.composite
def told(draw: st.DrawFn, name: str) -> Any:
    """A person under one of the shapes that the hub may give it."""
    shapes: list[Any] = [
        name, [name], {"username": name}, {"name": name, "image": f"https://x/{name}.png"},
        {"username": {"name": name}}, {"username": [{"name": name}]}, [{"userName": name, "id": 7}],
    ]  # fmt: skip
    return draw(st.sampled_from(shapes))


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, Any]:
    """A user name, and a body of the hub with it in places where names were found."""
    name = draw(people)

    def text(only: tuple[str, ...] = _TEXTS) -> str:
        chosen: str = draw(st.sampled_from(only)).replace("{}", "\0").replace("{{", "{").replace("}}", "}")
        return chosen.replace("\0", draw(st.sampled_from([name, name.upper(), name.lower()])))

    paths = tuple(t for t in _TEXTS if "sers" in t or "home" in t or "ser/" in t or '"' in t or "Settings" in t)
    somebody, key = told(name), draw(st.sampled_from(sorted(_HIDDEN)))
    meta = {"prompt": text(paths), key: draw(somebody), "extra": {text(paths): [text(paths)]}}
    picture = {"id": 1, "username": draw(somebody), "meta": draw(st.sampled_from([meta, {"id": 1, "meta": meta}]))}
    version = {
        "id": 5, "name": text(), "trainedWords": [text(), text()], "description": text(), "baseModel": "SD 1.5",
        "files": [{"name": text(), "hashes": {"SHA256": "00" * 32}}],
        "images": [{"meta": meta, "user": draw(somebody)}],
    }  # fmt: skip
    model = {
        "name": text(), "description": text(), "tags": [text(), {"name": text()}], "modelVersions": [version],
        draw(st.sampled_from(["creator", "user", "Creator"])): draw(somebody), "new": [[{"deep": text()}]],
    }  # fmt: skip
    body: dict[str, Any] = {"items": [model, picture], "metadata": {"nextCursor": "1"}}
    return name, body


@settings(max_examples=300)
@given(planted())
def test_a_name_is_nowhere_afterwards(given: tuple[str, Any]) -> None:
    name, body = given
    answer = json.loads(json.dumps(body))
    civitai.scrub(answer, lambda _: "creator-0")
    kept = json.dumps(answer)
    assert name.casefold() not in kept.casefold()
    again = json.loads(kept)
    civitai.scrub(again, lambda _: "creator-0")
    assert again == answer
    version = answer["items"][0]["modelVersions"][0]
    assert (version["id"], version["baseModel"], version["files"][0]["hashes"]) == (5, "SD 1.5", {"SHA256": "00" * 32})


def test_what_the_maker_is_called_leaves_codes_and_addresses_alone() -> None:
    url = "https://image.example/home/x/users/Pony/1.png"
    version = {
        "baseModel": "Pony",
        "images": [{"url": url, "hash": "Pony", "type": "image"}],
        "name": "Pony mix by pony",
    }
    body: dict[str, Any] = {
        "type": "Pony", "name": "Pony style", "description": "ponyta, by <b>Pony</b>, @pony",
        "modelVersions": [version], "creator": {"username": "Pony"},
    }  # fmt: skip
    civitai.scrub(body, lambda _: "creator-0")
    assert version == {
        "baseModel": "Pony", "images": [{"url": url, "hash": "Pony", "type": "image"}], "name": "Pony mix by the author"
    }  # fmt: skip
    assert (body["type"], body["name"]) == ("Pony", "Pony style")
    assert body["description"] == "ponyta, by <b>the author</b>, the author"


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("Al", "al dente, by Al, @al, Al", "al dente, by the author, the author, Al"),
        ("x", "x-ray by: x", "x-ray by: the author"),
        ("2023", "2023 by 2023", "2023 by the author"),
        ("the", "the best of the", "the best of the"),
        (
            "bob",
            "bob, Bobby, kebob, BOB_v1 bob's @bob",
            "the author, Bobby, kebob, the author_v1 the author's the author",
        ),
        ("Jo & Co", "Jo &amp; Co and Jo & Co and jo%20%26%20co", "the author and the author and the author"),
        ("élan", "ÉLAN", "the author"),
        (" @bob ", "by bob", "by the author"),
        ("", "by  nobody", "by  nobody"),
    ],
)
def test_which_names_are_words(name: str, text: str, kept: str) -> None:
    body = {"creator": {"username": name}, "name": text}
    civitai.scrub(body, lambda _: "creator-0")
    assert body["name"] == kept


def test_the_uploaders_pseudonym_is_not_touched_by_the_makers_name() -> None:
    body: dict[str, Any] = {
        "creator": {"username": "creatur"}, "modelVersions": [{"images": [{"username": "creatur", "userId": 7}]}]
    }  # fmt: skip
    civitai.scrub(body, lambda name: f"alias of {name}")
    assert body["creator"] == {"username": "alias of creatur"}
    assert body["modelVersions"][0]["images"][0] == {"username": "alias of creatur", "userId": None}


def test_parameters_after_a_path_stay() -> None:
    text = "a cat\nSteps: 20, Path: C:\\Users\\Jane Doe\\x.png, Out: /home/jane, Size: 512x512, Model: a/b"
    body = {"meta": {"parameters": text, "prompt": "home, users of /home/ sweet / home"}}
    civitai.scrub(body, str)
    assert body["meta"] == {
        "parameters": text.replace("Jane Doe", "someone").replace("jane", "someone"),
        "prompt": "home, users of /home/ sweet / home",
    }


def test_one_person_is_one_pseudonym_however_written() -> None:
    assert civitai.pseudonym(SALT, "Jane_D") == civitai.pseudonym(SALT, " jane_d") != civitai.pseudonym(b"x", "jane_d")
    assert civitai.creator_named(SALT, "JANE_D") == civitai.creator_of(SALT, civitai.pseudonym(SALT, "jane_d"))


def test_a_very_deep_body_is_scrubbed() -> None:
    body: Any = {"username": "zqdeepx"}
    for _ in range(5000):
        body = {"creator": [body]}
    civitai.scrub(body, lambda _: "creator-0")
    while "creator" in body:
        body = body["creator"][0]
    assert body == {"username": "creator-0"}


@pytest.mark.parametrize("part", ["/", "\\", "%5C", "by ", "civitai.com/", '\\"', "/home", "civitai.x?", "<b", "by<b>"])
def test_hostile_texts_cost_little(part: str) -> None:
    body = {"creator": {"username": "zqhostilex"}, "description": f"user home civitai {part * 50_000}"}
    before = time.process_time()
    civitai.scrub(body, str)
    assert time.process_time() - before < 2
