"""A small hub on loopback: a real HTTP server that answers like the public API, with faults that can be switched on.

    world = World(models=6, images_per_version=30, seed=0)
    with ReplayServer(world, faults=TRANSIENT, token="secret") as server:
        Query(base_url=server.base_url, requests_per_second=1e6)
        server.requests          # every request that got a final answer, in order: `.target`, `.key`, `.headers`
        server.faulted           # how often each fault was given
        server.reset()           # forget requests and faults given; the world stays

The world is synthetic in recorded shapes: model bodies are made from a recorded `/models` page (tests/data/civitai,
Stepwisecliche__civitai-api), generation data has the fields of recorded ones.  Prompts are our own words.

- Two thirds of the models are checkpoints, the others LoRAs; of each base model the first is a checkpoint.  Every
  model but each fourth has one version, the fourth has two.  All are public, safe, and safetensors.
- Every version has `images_per_version` pictures of its own, id = version * 1000 + number.  A picture made with a LoRA
  also belongs to the checkpoint it was made with, and is listed under both.
- With `odd=True` (the default) each tenth picture has no metadata and each eleventh a browsing level above PG.
- Each model and picture belongs to one of `world.names`, which are in no other text than user fields, descriptions and
  workflow paths: a test can look for them everywhere.
- `/pictures/ID.png` is a PNG of 192 x 192 pixels, different for each id; what is written into it names people, too.

Faults: `TRANSIENT` ones come once or twice for some requests (by a hash of the request, so the same ones every time)
before the real answer; `LASTING` ones change what the lists hold, but not which pictures of the world can be collected.
`loop` leads from the last page of the first version back into its list, `stall` serves the last page of the last
version under ever new cursors.  A killed client finds the server as it left it.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import numpy as np
from PIL import Image, PngImagePlugin

from chatgenbench.build.store import key_of

RECORDED = Path(__file__).parents[1] / "data/civitai/Stepwisecliche__civitai-api/api_responses.json"
TRANSIENT = ("429", "429-retry-after", "500", "503", "truncated", "dropped", "html", "error-200")
LASTING = ("repeats", "loop", "stall", "nulls", "big-description", "foreign")
#: Ids from here on are items that no version of the world has.
STRANGE = 900_000_000

_SUBJECTS = "lighthouse,teapot,fox,steam train,violin,glass greenhouse,paper boat,sleeping cat,old bicycle,stone bridge,market stall,robot gardener,snow owl,desert caravan,harbour crane,bookshop,clockwork whale,windmill,tea house,carousel"  # noqa: E501
_PLACES = "on a misty cliff,in a rainy street,under a starry sky,beside a frozen lake,inside a ruined abbey,in a bamboo forest,on a rooftop garden,at the edge of a canyon,in a crowded station,below northern lights,in a wheat field,near a waterfall"  # noqa: E501
_LOOKS = "watercolour,oil painting,pencil sketch,isometric render,film photograph,flat vector poster,woodcut print,claymation still,pixel art,stained glass"  # noqa: E501
_LIGHTS = (
    "golden hour,soft window light,neon glow,overcast noon,candle light,strong rim light,blue dusk,volumetric rays"
)
_DETAILS = "fine cracks,warm palette,cold palette,wide angle,close view,low horizon,dense fog,falling petals,long shadows,rough texture,clean lines,tilted frame,mirror reflections,drifting smoke,tiny figures,patterned tiles"  # noqa: E501
_SAMPLERS = ("DPM++ 2M Karras", "Euler a", "DPM++ SDE Karras", "DDIM", "Euler")
_SIZES = {"SD 1.5": [(512, 512), (512, 768), (768, 512)], "SDXL 1.0": [(1024, 1024), (832, 1216), (1216, 832)]}
_NEGATIVES = ("blurry, low quality", "worst quality, watermark, text", "", "jpeg artefacts, cropped, deformed")


@dataclass(frozen=True)
class Seen:
    """One request that was answered for good."""

    target: str
    key: str
    headers: dict[str, str]


class World:
    """What the hub holds; equal arguments make equal worlds.  `models` and `images` hold bodies of the API."""

    def __init__(self, models: int = 6, images_per_version: int = 30, seed: int = 0, odd: bool = True) -> None:
        self.seed, self.odd = seed, odd
        self.names = [f"Quillon_Verdaccio{i}" for i in range(max(3, models * 12))]
        self._template = json.loads(RECORDED.read_text("utf-8"))["models_list_page1"]["items"][0]
        self.models = [self._model(i) for i in range(models)]
        self.images: dict[int, dict[str, Any]] = {}
        self.by_version: dict[int, list[int]] = {v["id"]: [] for m in self.models for v in m["modelVersions"]}
        for model in self.models:
            for version in model["modelVersions"]:
                for number in range(images_per_version):
                    self._add(model, version, number)

    def _model(self, index: int) -> dict[str, Any]:
        kind = "LORA" if index % 3 == 2 else "Checkpoint"
        base = "SD 1.5" if index % 2 == 0 or index == 5 else "SDXL 1.0"
        name = self.names[index]
        body: dict[str, Any] = json.loads(json.dumps(self._template))
        body.update(
            id=1000 + index, name=f"Sable Style {_word(index)}", type=kind, nsfw=False, nsfwLevel=1,
            description=f"<p>A {kind} by <strong>{name}</strong> for {base}. See "
            f'<a href="https://civitai.com/user/{name}">my page</a>.</p>',
            allowCommercialUse=["Image", "RentCivit", "Rent", "Sell"], allowDerivatives=True, allowNoCredit=True,
            creator={"username": name, "image": f"https://image.example/{name}.png"}, tags=["style"],
        )  # fmt: skip
        template = body["modelVersions"][0]
        body["modelVersions"] = [
            self._version(template, index, n, kind, base) for n in range(2 if index % 4 == 3 else 1)
        ]
        return body

    def _version(self, template: dict[str, Any], index: int, number: int, kind: str, base: str) -> dict[str, Any]:
        version: dict[str, Any] = json.loads(json.dumps(template))
        ident = 10_000 + index * 10 + number
        stem = f"sable_{_word(index).lower()}_v{number + 1}"
        sha = hashlib.sha256(f"{self.seed}/{stem}".encode()).hexdigest().upper()
        version.update(
            id=ident, index=number, name=f"v{number + 1}", baseModel=base, nsfwLevel=1, description=None,
            trainedWords=[f"{stem} look"] if kind == "LORA" else [], images=[],
            downloadUrl=f"https://civitai.com/api/download/models/{ident}",
        )  # fmt: skip
        file = version["files"][0]
        hashes = {"AutoV1": sha[20:28], "AutoV2": sha[:10], "SHA256": sha, "AutoV3": sha[30:42]}
        file.update(id=ident + 5, name=f"{stem}.safetensors", hashes=hashes, downloadUrl=version["downloadUrl"])
        version["files"] = [file]
        return version

    def _add(self, model: dict[str, Any], version: dict[str, Any], number: int) -> None:
        ident = version["id"] * 1000 + number
        rng = np.random.default_rng([self.seed, ident])
        base = self._checkpoint(version["baseModel"]) if model["type"] == "LORA" else None
        size = _SIZES[version["baseModel"]][int(rng.integers(3))]
        versions = [version["id"], *([base["id"]] if base else [])]
        odd = number if self.odd else 1
        self.images[ident] = {
            "id": ident, "url": f"/pictures/{ident}.png", "hash": "UAGtHoRs0dxUKH;^J8OG0z%N{goN0MwM$%V=",
            "width": size[0], "height": size[1], "nsfwLevel": "Soft" if odd % 11 == 10 else "None",
            "nsfw": odd % 11 == 10, "browsingLevel": 2 if odd % 11 == 10 else 1, "type": "image",
            "createdAt": "2025-05-01T10:00:00.000Z", "postId": ident // 7, "baseModel": version["baseModel"],
            "stats": {"cryCount": 0, "laughCount": 1, "likeCount": 500 - number, "dislikeCount": 0,
                      "heartCount": int(rng.integers(200)), "commentCount": 0},
            "meta": None if odd % 10 == 9 else self._meta(rng, version, base, size),
            "username": self.names[(ident * 7) % len(self.names)], "modelVersionIds": versions,
        }  # fmt: skip
        for belongs in versions:
            self.by_version[belongs].append(ident)

    def _checkpoint(self, base: str) -> dict[str, Any]:
        found: dict[str, Any] = next(
            v for m in self.models for v in m["modelVersions"] if m["type"] == "Checkpoint" and v["baseModel"] == base
        )
        return found

    def _meta(
        self, rng: np.random.Generator, version: dict[str, Any], base: dict[str, Any] | None, size: tuple[int, int]
    ) -> dict[str, Any]:
        shown = base or version
        stem, hash_ = _stem(shown), shown["files"][0]["hashes"]["AutoV2"].lower()
        prompt = _prompt(rng)
        resources: list[dict[str, Any]] = [{"type": "model", "name": stem, "hash": hash_}]
        if base:
            prompt += f", {version['trainedWords'][0]} <lora:{_stem(version)}:0.8>"
            lora = version["files"][0]["hashes"]["AutoV3"].lower()
            resources.append({"type": "lora", "name": _stem(version), "hash": lora, "weight": 0.8})
        meta: dict[str, Any] = {
            "prompt": prompt, "negativePrompt": _pick(rng, _NEGATIVES), "sampler": _pick(rng, _SAMPLERS),
            "steps": int(rng.integers(18, 45)), "cfgScale": int(rng.integers(8, 20)) / 2,
            "seed": int(rng.integers(2**32)), "Size": f"{size[0]}x{size[1]}", "Model": stem, "Model hash": hash_,
            "resources": resources, "Version": "v1.8.0", "User": self.names[0],
            "Path": f"C:\\Users\\{self.names[1]}\\models\\{stem}.safetensors",
        }  # fmt: skip
        return meta


class ReplayServer:
    """Serves a world on 127.0.0.1 while it is entered.

    Args:
        faults: names out of `TRANSIENT` and `LASTING`.
        retry_after: seconds that 429 and 503 ask to wait; a string is sent as it is, `"date"` as the date in a second.
        models_page, images_page: most items of a page, whatever `limit` asks for.
        token: requests without it are answered 401; None: everybody is let in.
        port: 0 takes any; the pictures' addresses hold it.
        pause: seconds before each answer.
    """

    def __init__(
        self,
        world: World,
        faults: Iterable[str] = (),
        retry_after: float | str = 0.01,
        models_page: int = 4,
        images_page: int = 12,
        token: str | None = None,
        port: int = 0,
        pause: float = 0.0,
    ) -> None:
        self.world, self.faults = world, frozenset(faults)
        unknown = self.faults - {*TRANSIENT, *LASTING}
        if unknown:
            raise ValueError(f"unknown faults {sorted(unknown)}")
        self.retry_after, self.token, self.pause = retry_after, token, pause
        self.models_page, self.images_page = models_page, images_page
        self.requests: list[Seen] = []
        self.faulted: Counter[str] = Counter()
        self.times: list[float] = []
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.replay = self
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.base_url = f"{self.root}/api/v1"

    def __enter__(self) -> ReplayServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def keys(self) -> list[str]:
        """Canonical keys of the API requests that were answered, in order."""
        return [seen.key for seen in self.requests if not seen.target.startswith("/pictures/")]

    def reset(self) -> None:
        """Forget what was asked and which faults were given."""
        with self._lock:
            self.requests.clear()
            self.faulted.clear()
            self.times.clear()
            self._asked.clear()

    def fault_of(self, key: str) -> str | None:
        """The fault that this request gets now, if any; counts it."""
        kinds = [name for name in TRANSIENT if name in self.faults]
        if not kinds:
            return None
        chosen = zlib.crc32(key.encode())
        with self._lock:
            before = self._asked[key]
            self._asked[key] += 1
            if before >= chosen % 3:
                return None
            fault = kinds[(chosen // 3 + before) % len(kinds)]
            self.faulted[fault] += 1
            return fault

    def refusal(self, key: str, headers: dict[str, str]) -> int | None:
        """The status with which this request is refused, if it is: for subclasses."""
        return None

    def answered(self, target: str, key: str, headers: dict[str, str]) -> None:
        with self._lock:
            self.requests.append(Seen(target, key, headers))

    def list_models(self, params: dict[str, list[str]]) -> dict[str, Any]:
        types, bases = params.get("types"), params.get("baseModels")
        found = [
            m for m in self.world.models
            if (not types or m["type"] in types) and (not bases or _bases(m) & set(bases))
        ]  # fmt: skip
        if "big-description" in self.faults and found:
            found[0] = {**found[0], "description": f"<p>{'long and wide ' * 750_000}</p>"}
        return self._page("models", found, params, self.models_page)

    def list_images(self, params: dict[str, list[str]]) -> dict[str, Any]:
        if "imageId" in params:
            image = self.world.images.get(int(params["imageId"][0]))
            found = [self._with_url(image)] if image else []
            if params.get("flatMeta") != ["true"]:
                found = [{**item, "meta": {"id": item["id"], "meta": item["meta"]}} for item in found]
            return {"items": found, "metadata": {}}
        version = int(params.get("modelVersionId", ["0"])[0])
        items = [self._with_url(self.world.images[i]) for i in self.world.by_version.get(version, [])]
        if params.get("withMeta") != ["true"]:
            items = [{**item, "meta": None} for item in items]
        return self._page("images", items, params, self.images_page, version)

    def _with_url(self, image: dict[str, Any]) -> dict[str, Any]:
        return {**image, "url": image["url"] and self.root + image["url"]}

    def _page(
        self, where: str, items: list[dict[str, Any]], params: dict[str, list[str]], cap: int, version: int = 0
    ) -> dict[str, Any]:
        size = min(int(params.get("limit", ["100"])[0]), cap)
        start = int(params.get("cursor", ["0|0"])[0].split("|")[0])
        stalls = "stall" in self.faults and version == max(self.world.by_version)
        page: list[Any] = list(items[start : start + size]) or (items[-size:] if stalls else [])
        if "repeats" in self.faults and start:
            page = [items[min(start, len(items)) - 1], *page]
        if where == "images" and page:
            page = self._strange(page, min(start, (len(items) - 1) // size * size), version)
        more = start + size < len(items) or stalls
        cursor = f"{start + size}|1754000000000" if more else None
        if "loop" in self.faults and not more and version == min(self.world.by_version):
            cursor = f"{max(0, start - size) or start}|1754000000000"
        about: dict[str, Any] = {"currentPage": None} if "nulls" in self.faults else {}
        if cursor is not None:
            following = f"https://elsewhere.example/api/v1/{where}?cursor={quote(cursor)}"
            about.update(nextCursor=cursor, nextPage=following)
        return {"items": page, "metadata": about}

    def _strange(self, page: list[Any], start: int, version: int) -> list[Any]:
        """The page with items that no one can use."""
        if "foreign" in self.faults:
            other = STRANGE + version * 1000 + start
            page = [{**page[0], "id": other, "modelVersionIds": [STRANGE]}, *page]
        if "nulls" in self.faults:
            nothing = dict.fromkeys(page[0])
            page = [None, {**nothing, "id": STRANGE * 2 + version * 1000 + start}, nothing, *page]
        return page


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    replay: ReplayServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one piece: no waiting for acknowledgements
    server: _Server

    def do_GET(self) -> None:
        replay, url = self.server.replay, urlsplit(self.path)
        replay.times.append(time.monotonic())
        time.sleep(replay.pause)
        key = key_of(url.path.removeprefix("/api/v1"), parse_qsl(url.query))
        fault = replay.fault_of(key)
        if fault is not None:
            self._fail(fault, *self._answer(key, url.path, parse_qs(url.query)))
            return
        status, body, kind = self._answer(key, url.path, parse_qs(url.query))
        if status != 401:
            replay.answered(self.path, key, {name.lower(): value for name, value in self.headers.items()})
        self._send(status, body, kind)

    def _answer(self, key: str, path: str, params: dict[str, list[str]]) -> tuple[int, bytes, str]:
        replay = self.server.replay
        if path.startswith("/pictures/") and path.endswith(".png"):
            number = path.removeprefix("/pictures/").removesuffix(".png")
            known = number.isdigit() and int(number) in replay.world.images
            return (200, picture(int(number)), "image/png") if known else (404, b"", "text/plain")
        if replay.token is not None and self.headers.get("Authorization") != f"Bearer {replay.token}":
            return 401, b'{"error":"Unauthorized"}', "application/json"
        refusal = replay.refusal(key, {name.lower(): value for name, value in self.headers.items()})
        if refusal is not None:
            return refusal, b'{"error":"Forbidden"}', "application/json"
        if path == "/api/v1/models":
            return 200, json.dumps(replay.list_models(params)).encode(), "application/json"
        if path == "/api/v1/images":
            return 200, json.dumps(replay.list_images(params)).encode(), "application/json"
        for model in replay.world.models:
            if path == f"/api/v1/models/{model['id']}":
                return 200, json.dumps(model).encode(), "application/json"
        return 404, b'{"error":"No model with that id"}', "application/json"

    def _fail(self, fault: str, status: int, body: bytes, kind: str) -> None:
        wait = self.server.replay.retry_after
        after: dict[str, Any] = {
            "Retry-After": formatdate(time.time() + 2, usegmt=True) if wait == "date" else str(wait)
        }
        page = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
        if fault == "429":
            self._send(429, b'{"error":"Too many requests"}')
        elif fault == "429-retry-after":
            self._send(429, b'{"error":"Too many requests"}', **after)
        elif fault == "500":
            self._send(500, b'{"message":"Something went wrong","error":{"name":"Error"}}')
        elif fault == "503":
            self._send(503, b'{"error":"Server busy, please retry shortly.","code":"SERVICE_UNAVAILABLE"}', **after)
        elif fault == "html":
            self._send(200, page, "text/html; charset=utf-8")
        elif fault == "error-200":
            self._send(200, b'{"error":"An unexpected error occurred","code":"TIMEOUT"}')
        elif fault == "truncated":
            self._send(status, body[: len(body) * 2 // 3], kind)
        else:
            self._send(status, body, kind, cut=True)

    def _send(self, status: int, body: bytes, kind: str = "application/json", cut: bool = False, **more: Any) -> None:
        """Answer; with `cut` the connection ends before the body does."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if cut else body)
        except OSError:
            self.close_connection = True
        if cut:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@lru_cache(maxsize=4096)
def picture(number: int) -> bytes:
    """A PNG of soft patches of colour, different to the eye for each number."""
    rng = np.random.default_rng([7, number])
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    whole, written = io.BytesIO(), PngImagePlugin.PngInfo()
    written.add_text("parameters", f"Steps: 20, User: Quillon_Verdaccio{number % 7}")
    small.resize((192, 192), Image.Resampling.BICUBIC).save(whole, "PNG", pnginfo=written)
    return whole.getvalue()


def _prompt(rng: np.random.Generator) -> str:
    details = rng.permutation(_DETAILS.split(","))[:4]
    first, second = _pick(rng, _SUBJECTS.split(",")), _pick(rng, _SUBJECTS.split(","))
    return (
        f"a {first} {_pick(rng, _PLACES.split(','))} with a {second}, "
        f"{_pick(rng, _LOOKS.split(','))}, {_pick(rng, _LIGHTS.split(','))}, {', '.join(map(str, details))}"
    )


def _pick(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _word(index: int) -> str:
    names = ("Amber", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Granite", "Heather", "Indigo", "Juniper")
    return f"{names[index % 10]}{index // 10 or ''}"


def _stem(version: dict[str, Any]) -> str:
    return str(version["files"][0]["name"]).removesuffix(".safetensors")


def _bases(model: dict[str, Any]) -> set[str]:
    return {version["baseModel"] for version in model["modelVersions"]}
