"""Pictures from a real server on loopback: what is kept, what is refused and why, and going on after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from chatgenbench.build import netguard, pictures
from chatgenbench.build.filters import Limits
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.removals import Removals
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Arguments, Plan

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Server:
    """Answers each path with the function given for it, and counts how often each was asked for."""

    def __init__(self, answers: dict[str, Answer], pause: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked[self.path] += 1
                outer.headers.append(str(self.headers))
                time.sleep(pause)
                answers[self.path](self, outer.asked[self.path])

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(answers: dict[str, Answer], pause: float = 0.0) -> Iterator[Server]:
    server = Server(answers, pause)
    try:
        yield server
    finally:
        server.close()


def gives(body: bytes, kind: str = "image/png", status: int = 200, **more: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, times: int) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def in_turn(*answers: Answer) -> Answer:
    return lambda handler, times: answers[min(times, len(answers)) - 1](handler, times)


def hangs_up(handler: BaseHTTPRequestHandler, times: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x89PNG")
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler, times: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        for _ in range(400):
            handler.wfile.write(b"\x89PNG\r\n\x1a\n" + bytes(1 << 20))
    except OSError:
        pass


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A smooth picture of few waves, unlike that of any other seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / 64
    waves = [sum(np.sin(x * a + y * b + c) for a, b, c in random.uniform(-6, 6, (3, 3))) for _ in range(3)]
    return Image.fromarray(((np.stack(waves, -1) + 3) * 42).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of the size that its header states, whatever else is in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(number: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(number >> 20)) + packer.flush()


def record(name: str, url: str) -> Record:
    arguments = Arguments(sampler="Euler a", steps=20, cfg_scale=7, width=512, height=512)
    plan = Plan(prompt="a lighthouse", model="m", arguments=arguments)
    return Record(id=name, source="test", url=url, plan=plan, base_model="SD 1.5", licence="x")


def fetched(root: Path, records: list[Record], limits: Limits | None = None, **options: Any) -> dict[str, Any]:
    """Download, then each record's picture path or reason."""
    limits = limits or Limits()
    steps: list[tuple[str, int, int | None]] = []
    options = {"allow_private": True, "patience": 0.01} | options
    pictures.download(records, root / "pictures", root / "j.jsonl", limits, lambda *step: steps.append(step), **options)
    assert steps == [("pictures", n, None) for n in range(1, len(records) + 1)]
    joined = list(pictures.attach(records, root / "j.jsonl", limits))
    assert [r.id for r in joined] == [r.id for r in records]
    return {r.id: r.reason if isinstance(r, Drop) else r.picture for r in joined}


def one(root: Path, answer: Answer, **options: Any) -> str:
    with serving({"/p": answer}) as server:
        return str(fetched(root, [record("r", server.url + "/p")], **options)["r"])


@pytest.mark.parametrize(("form", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_sound_pictures_are_kept_under_their_hash(tmp_path: Path, form: str, suffix: str) -> None:
    body = encoded(picture(1), form)
    sha256 = hashlib.sha256(body).hexdigest()
    assert one(tmp_path, gives(body)) == f"pictures/{sha256[:2]}/{sha256}.{suffix}"
    assert (tmp_path / f"pictures/{sha256[:2]}/{sha256}.{suffix}").read_bytes() == body
    line = json.loads((tmp_path / "j.jsonl").read_text())
    assert (line["width"], line["height"], line["sha256"]) == (96, 64, sha256)
    assert len(line["phash"]) == 16
    assert int(line["phash"], 16) > 0
    assert 0 <= line["nsfw"] < 0.5


def test_content_decides_not_the_content_type(tmp_path: Path) -> None:
    assert one(tmp_path / "a", gives(encoded(picture(1)), "text/html")).startswith("pictures/")
    assert one(tmp_path / "b", gives(b"<html>\x89PNG</html>", "image/png")) == "picture-not-an-image"


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
MOVING = encoded(picture(1), "PNG", save_all=True, append_images=[picture(2)])
LOSSLESS = bytearray(encoded(picture(1), "WEBP", lossless=True))
LOSSLESS[21:25] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
LOSSY = bytearray(encoded(picture(1), "WEBP"))
LOSSY[26:30] = b"\xff\x3f\xff\x3f"
WIDE = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\x00" * 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(SVG, "picture-not-an-image", id="svg"),
        pytest.param(encoded(picture(1), "GIF"), "picture-not-an-image", id="gif"),
        pytest.param(encoded(picture(1), "TIFF"), "picture-not-an-image", id="tiff"),
        pytest.param(b"", "picture-not-an-image", id="empty"),
        pytest.param(MOVING, "picture-not-an-image", id="animated"),
        pytest.param(encoded(picture(1))[:-400], "picture-damaged", id="truncated-png"),
        pytest.param(encoded(picture(1), "JPEG")[:-400], "picture-damaged", id="truncated-jpeg"),
        pytest.param(encoded(picture(1), "WEBP")[:-200], "picture-damaged", id="truncated-webp"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + SVG, "picture-damaged", id="svg-with-png-signature"),
        pytest.param(b"\xff\xd8\xff" + bytes(50), "picture-damaged", id="no-jpeg"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBP", "picture-damaged", id="no-webp"),
        pytest.param(png(64, 64, chunk(b"IDAT", b"no zlib")), "picture-damaged", id="broken-zlib"),
        pytest.param(
            png(20_000, 10_000, chunk(b"IDAT", zeros(1 << 20))), "picture-too-many-pixels", id="200-megapixels"
        ),
        pytest.param(png(8_000, 5_001, chunk(b"IDAT", zeros(1 << 20))), "picture-too-many-pixels", id="just-over"),
        pytest.param(png(2**31 - 1, 2**31 - 1), "picture-too-many-pixels", id="endless-png"),
        pytest.param(bytes(LOSSLESS), "picture-too-many-pixels", id="endless-lossless-webp"),
        pytest.param(bytes(LOSSY), "picture-too-many-pixels", id="endless-lossy-webp"),
        pytest.param(WIDE, "picture-too-many-pixels", id="endless-extended-webp"),
        pytest.param(png(8, 8, chunk(b"zTXt", b"a\0\0" + zeros(200 << 20))), "picture-damaged", id="text-bomb"),
        pytest.param(png(8, 8, chunk(b"iCCP", b"a\0\0" + zeros(200 << 20))), "picture-damaged", id="profile-bomb"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_sound_picture_is_refused(tmp_path: Path, body: bytes, reason: str) -> None:
    before = peak_memory()
    assert one(tmp_path, gives(body)) == reason
    assert reason in pictures.REASONS
    assert not (tmp_path / "pictures").exists()
    assert peak_memory() - before < 300 << 20


def peak_memory() -> int:
    """Bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_zip_bomb_png_unpacks_no_more_than_its_size(tmp_path: Path) -> None:
    bomb = png(16, 16, chunk(b"IDAT", zeros(300 << 20)))
    before = peak_memory()
    assert one(tmp_path, gives(bomb)).startswith("pictures/")
    assert peak_memory() - before < 200 << 20


def test_large_bodies_are_not_read_to_the_end(tmp_path: Path) -> None:
    def claims(handler: BaseHTTPRequestHandler, times: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(netguard.MAX_BYTES + 1))
        handler.end_headers()

    assert one(tmp_path / "a", claims) == "picture-too-large"
    assert one(tmp_path / "b", endless) == "picture-too-large"


def test_metadata_of_usual_size_does_no_harm(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a lighthouse\nSteps: 20")
    info.add_text("workflow", "{}" * 100_000)
    assert one(tmp_path, gives(encoded(picture(3), pnginfo=info))).startswith("pictures/")


def test_gone_and_refused(tmp_path: Path) -> None:
    for status, reason in (
        (404, "picture-gone"),
        (410, "picture-gone"),
        (403, "picture-refused"),
        (204, "picture-refused"),
    ):
        assert one(tmp_path / str(status), gives(b"", status=status)) == reason


def test_moody_servers_are_asked_again(tmp_path: Path) -> None:
    sound = gives(encoded(picture(1)))
    answers = {
        "/500": in_turn(gives(b"oh", status=500), gives(b"oh", status=503), sound),
        "/429": in_turn(gives(b"", status=429, Retry_After="0"), sound),
        "/date": in_turn(gives(b"", status=503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), sound),
        "/cut": in_turn(hangs_up, sound),
    }
    with serving(answers) as server:
        found = fetched(tmp_path, [record(path, server.url + path) for path in answers])
        assert server.asked == {"/500": 3, "/429": 2, "/date": 2, "/cut": 2}
    assert len(set(found.values())) == 1
    assert found["/500"].startswith("pictures/")


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    start = time.monotonic()
    one(tmp_path, in_turn(gives(b"", status=429, Retry_After="1"), gives(encoded(picture(1)))))
    assert time.monotonic() - start >= 1


def test_servers_that_never_answer_are_no_drop(tmp_path: Path) -> None:
    answers = {"/a": gives(b"no", status=500), "/b": gives(encoded(picture(1))), "/c": hangs_up}
    with serving(answers) as server:
        records = [record(path, server.url + path) for path in answers]
        with pytest.raises(InfraError, match=r"2 pictures stayed unanswered .*type the same command again") as caught:
            fetched(tmp_path, records)
        assert server.url not in str(caught.value)
        assert server.asked == {"/a": 5, "/b": 1, "/c": 5}
        with pytest.raises(InfraError, match="was not fetched"):
            list(pictures.attach(records, tmp_path / "j.jsonl"))
        answers["/a"] = answers["/c"] = gives(encoded(picture(2)))
        assert all(path.startswith("pictures/") for path in fetched(tmp_path, records).values())
        assert server.asked == {"/a": 6, "/b": 1, "/c": 6}


def test_what_is_never_answered_can_be_given_up(tmp_path: Path) -> None:
    answers = {"/a": gives(b"no", status=500), "/b": gives(encoded(picture(1))), "/c": hangs_up}
    with serving(answers) as server:
        records = [record(path, server.url + path) for path in answers]
        with pytest.raises(InfraError, match="or add --skip-unanswered to go on without what"):
            fetched(tmp_path, records)
        found = fetched(tmp_path, records, skip=True)
        assert (found["/a"], found["/c"]) == ("picture-unanswered",) * 2
        asked = dict(server.asked)
        assert asked == {"/a": 10, "/b": 2, "/c": 10}  # /b once more, to see that the network is up
        assert fetched(tmp_path, records, skip=True) == found
        assert server.asked == asked
        assert pictures.missing(iter(records), tmp_path / "pictures", tmp_path / "j.jsonl", Limits(), True) == 0
        assert pictures.missing(iter(records), tmp_path / "pictures", tmp_path / "j.jsonl", Limits()) == 2
        answers["/a"] = answers["/c"] = gives(encoded(picture(2)))
        assert "picture-unanswered" not in fetched(tmp_path, records).values()


def test_a_dead_network_is_not_taken_for_pictures_that_are_gone(tmp_path: Path) -> None:
    with serving({"/b": gives(encoded(picture(1)))}) as server:
        known = record("b", server.url + "/b")
        fetched(tmp_path, [known])
        other = record("x", server.url + "/x")
    with pytest.raises(InfraError, match=r"1 picture stayed unanswered \(last: \w+\): type the same command again$"):
        fetched(tmp_path, [known, other], skip=True)


def test_what_is_written_into_a_picture_is_not_kept(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a lighthouse\nSteps: 20, User: Quillon")
    body = encoded(picture(1), pnginfo=info)
    one(tmp_path, gives(body))
    kept = next((tmp_path / "pictures").rglob("*.png"))
    assert kept.read_bytes() == encoded(picture(1))
    (known,) = pictures.attach([record("r", "x")], tmp_path / "j.jsonl")
    assert isinstance(known, Record)
    assert known.picture_sha256 == kept.stem
    assert known.original_sha256 == hashlib.sha256(body).hexdigest()
    for digest in (known.picture_sha256, known.original_sha256):
        assert Removals(frozenset({digest})).hits(known)


def test_a_dead_network_ends_the_attempts_early(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(InfraError, match=r"(\d+) pictures stayed unanswered") as caught:
        fetched(tmp_path, [record(str(n), f"{url}{n}") for n in range(500)])
    assert int(str(caught.value).split()[0]) < 30


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.9.9", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0",
     "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1",
     "2001:db8::1", "fec0::1", "2001:0:1::1", "not an address"],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not netguard.is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert netguard.is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"],
)
def test_private_hosts_are_never_connected_to(tmp_path: Path, host: str) -> None:
    with serving({"/p": gives(encoded(picture(1)))}) as server:
        url = f"http://{host}:{server.url.rsplit(':', 1)[1]}/p"
        found = fetched(tmp_path, [record("r", url)], allow_private=False)
        assert found == {"r": "picture-private-address"}
        assert not server.asked


def test_many_refusals_leave_no_connection_behind(tmp_path: Path) -> None:
    records = [record(str(n), f"http://127.0.0.1:{n}/p") for n in range(2000, 2030)]
    assert set(fetched(tmp_path, records, allow_private=False).values()) == {"picture-private-address"}


def test_one_private_address_among_public_ones_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.216.34", "10.0.0.7")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    found = fetched(tmp_path, [record("r", "http://rebinding.example/p")], allow_private=False)
    assert found == {"r": "picture-private-address"}


def test_the_address_that_was_checked_is_the_one_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when asked first and private when asked again: it is asked once only."""
    true_lookup, asked = socket.getaddrinfo, []

    def answers(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if host != "rebinding.example":
            return true_lookup(host, port, *args, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    monkeypatch.setattr(netguard, "is_public", lambda address: len(asked) == 1)
    with serving({"/p": gives(encoded(picture(1)))}) as server:
        port = server.url.rsplit(":", 1)[1]
        found = fetched(tmp_path, [record("r", f"http://rebinding.example:{port}/p")], allow_private=False)
        assert found["r"].startswith("pictures/")
        assert f"Host: rebinding.example:{port}" in server.headers[0]
    assert len(asked) == 1


def test_redirects_are_followed_thrice_and_checked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {f"/{n}": gives(b"", status=302, Location=f"/{n + 1}") for n in range(1, 5)}
    answers |= {"/5": gives(encoded(picture(1))), "/loop": gives(b"", status=301, Location="/loop")}
    answers |= {"/file": gives(b"", status=302, Location="file:///etc/passwd")}
    with serving(answers) as server:
        names = ("/2", "/1", "/loop", "/file")
        found = fetched(tmp_path / "a", [record(name, server.url + name) for name in names])
        assert found.pop("/2").startswith("pictures/")
        assert set(found.values()) == {"picture-bad-url"}
        answers["/out"] = gives(b"", status=302, Location=server.url.replace("127.0.0.1", "127.0.0.2") + "/5")
        monkeypatch.setattr(netguard, "is_public", lambda address: address == "127.0.0.1")
        reached = server.asked["/5"]
        found = fetched(tmp_path / "b", [record("r", server.url + "/out")], allow_private=False)
        assert found == {"r": "picture-private-address"}
        assert server.asked["/5"] == reached


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a.png", "file:///etc/passwd", "data:image/png;base64,AA", "no url", "http://", "//x/y",
            "http://a b/", "http://user:pw@example.org/a.png", "http://[::1/", "http://example.org:99999/a",
            "http://example.org:0/a", "http://example.org%00.net/a", "javascript:1"],
)  # fmt: skip
def test_bad_addresses(tmp_path: Path, url: str) -> None:
    assert fetched(tmp_path, [record("r", url)]) == {"r": "picture-bad-url"}


def test_certificates_are_checked(tmp_path: Path) -> None:
    """TLS to a server that speaks none, or has no certificate for its name, ends without an answer."""
    with serving({"/p": gives(encoded(picture(1)))}) as server, pytest.raises(InfraError, match="ConnectError"):
        fetched(tmp_path, [record("r", server.url.replace("http:", "https:") + "/p")])
    assert ssl.create_default_context().check_hostname


def test_what_the_classifier_takes_for_unsafe_is_not_kept(tmp_path: Path) -> None:
    with serving({"/p": gives(encoded(picture(1)))}) as server:
        records = [record("r", server.url + "/p")]
        assert fetched(tmp_path, records, Limits(nsfw_threshold=-1)) == {"r": "picture-nsfw"}
        assert not (tmp_path / "pictures").exists()
        assert fetched(tmp_path, records, Limits(nsfw_threshold=-1)) == {"r": "picture-nsfw"}
        assert server.asked["/p"] == 1
        assert fetched(tmp_path, records)["r"].startswith("pictures/")
        assert server.asked["/p"] == 2
        assert fetched(tmp_path, records, Limits(nsfw_threshold=-1)) == {"r": "picture-nsfw"}
        assert server.asked["/p"] == 2


def test_a_picture_that_was_removed_is_fetched_again(tmp_path: Path) -> None:
    with serving({"/p": gives(encoded(picture(1)))}) as server:
        records = [record("r", server.url + "/p")]
        path = tmp_path / fetched(tmp_path, records)["r"]
        path.unlink()
        fetched(tmp_path, records)
        assert path.exists()
        assert server.asked["/p"] == 2


def test_records_without_address_are_counted(tmp_path: Path) -> None:
    plain = record("text", "")
    pictures.download([plain], tmp_path / "pictures", tmp_path / "j.jsonl", Limits(), lambda *step: None)
    assert list(pictures.attach([plain], tmp_path / "j.jsonl")) == [Drop("text", "picture-without-address")]


def test_hashes_are_near_for_alike_and_far_for_others(tmp_path: Path) -> None:
    bodies = {
        "/a": encoded(picture(1, (400, 300))), "/small": encoded(picture(1, (400, 300)).resize((200, 150)), "JPEG"),
        "/b": encoded(picture(2, (400, 300))),
    }  # fmt: skip
    with serving({path: gives(body) for path, body in bodies.items()}) as server:
        records = [record(path, server.url + path) for path in bodies]
        fetched(tmp_path, records)
        joined = [r for r in pictures.attach(records, tmp_path / "j.jsonl") if isinstance(r, Record)]
    a, small, b = (int(r.phash, 16) for r in joined)
    assert (a ^ small).bit_count() <= 4
    assert (a ^ b).bit_count() >= 16


def test_no_token_nor_cookie_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIVITAI_API_TOKEN", "secret-token")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving({"/p": gives(encoded(picture(1)))}) as server:
        fetched(tmp_path, [record("r", server.url + "/p")])
        sent = "".join(server.headers)
    assert "secret-token" not in sent + (tmp_path / "j.jsonl").read_text()
    assert sent.startswith("Host: 127.0.0.1:")
    assert "chatgenbench/" in sent
    assert not {"cookie", "authorization"} & {line.split(":")[0].lower() for line in sent.splitlines()}


def test_a_disk_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    with (
        serving({"/p": gives(encoded(picture(1)))}) as server,
        pytest.raises(InfraError, match=r"cannot write .*mend that"),
    ):
        fetched(tmp_path, [record(str(n), server.url + "/p") for n in range(9)])
    (tmp_path / "j.jsonl").unlink()
    (tmp_path / "j.jsonl").mkdir()
    with pytest.raises(InfraError, match="cannot open"):
        fetched(tmp_path, [])


def test_torn_and_damaged_journals(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"id":"a","reason":"picture-gone"}\n{"id":"b","rea')
    with pictures.Journal(path) as journal:
        assert journal.get("a") == {"id": "a", "reason": "picture-gone"}
        assert journal.get("b") is None
        journal.append({"id": "b", "reason": "picture-damaged"})
        journal.append({"id": "a", "reason": "picture-refused"})
    with pictures.Journal(path) as journal:
        assert journal.get("a") == {"id": "a", "reason": "picture-refused"}
        assert journal.get("b") == {"id": "b", "reason": "picture-damaged"}
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(UserError, match="line 1 is damaged"):
        pictures.Journal(path)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.build.test_pictures import fetched, record
fetched(Path(sys.argv[1]), [record(f"r{n}", f"{sys.argv[2]}/{n}") for n in range(24)])
"""


def test_killed_and_typed_again(tmp_path: Path) -> None:
    """After each kill what is in the journal stays; no settled picture is asked for again; the end is the same."""
    answers = {f"/{n}": gives(encoded(picture(n))) for n in range(23)} | {"/23": gives(b"", status=404)}
    with serving(answers, pause=0.08) as server:
        whole = fetched(tmp_path / "whole", [record(f"r{n}", f"{server.url}/{n}") for n in range(24)])
        server.asked.clear()
        killed = tmp_path / "killed"
        command = [sys.executable, "-c", CHILD, str(killed), server.url, str(Path(__file__).parents[2])]
        kills = 0
        for after in (1, 3, 4, 20):
            child = subprocess.Popen(command, stderr=subprocess.PIPE)
            start = lines(killed)
            while child.poll() is None and lines(killed) < start + after:
                time.sleep(0.005)
            settled = {f"/{json.loads(line)['id'][1:]}" for line in whole_lines(killed)}
            asked = {path: server.asked[path] for path in settled}
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            child.communicate()
            if kills > 1:
                assert {path: server.asked[path] for path in settled} == asked
        assert kills >= 3
        assert subprocess.run(command, check=False).returncode == 0
        assert max(server.asked.values()) <= 1 + kills
        assert fetched(killed, [record(f"r{n}", f"{server.url}/{n}") for n in range(24)]) == whole
    assert tree(killed / "pictures") == tree(tmp_path / "whole/pictures")


def whole_lines(root: Path) -> list[bytes]:
    path = root / "j.jsonl"
    return [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")] if path.exists() else []


def lines(root: Path) -> int:
    return len(whole_lines(root))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
