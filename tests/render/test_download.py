from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.errors import WeightsError
from chatgenbench.render.download import ATTEMPTS, Service, download
from chatgenbench.render.sources import Civitai
from tests.render import hosts
from tests.render.hosts import Answer, Host

DATA = hosts.safetensors(1)
SHA256 = hosts.sha256(DATA)


@pytest.fixture
def hub() -> Iterator[Host]:
    with hosts.serve() as host:
        yield host


@pytest.fixture
def storage() -> Iterator[Host]:
    with hosts.serve() as host:
        yield host


def get(hub: Host, target: Path, sha256: str = SHA256, **service: Any) -> list[int]:
    """Download version 7; the sizes that were reserved."""
    reserved: list[int] = []
    usual = {"token": "secret-token", "allow_private": True, "patience": 0.0}
    download(Civitai(7, 9), sha256, target, Service(hub.address, **{**usual, **service}), reserved.append)
    return reserved


def offer(hub: Host, *answers: Answer) -> None:
    hub.answers["/api/download/models/7?fileId=9"] = list(answers)


def test_the_token_goes_to_the_hub_and_not_to_its_storage(hub: Host, storage: Host, tmp_path: Path) -> None:
    offer(hub, hosts.redirect(f"{storage.address}/signed?X=1"))
    storage.answers["/signed?X=1"] = [hosts.file(DATA)]
    assert get(hub, tmp_path / "f") == [len(DATA)]
    assert (tmp_path / "f").read_bytes() == DATA
    assert hub.log[0][1]["Authorization"] == "Bearer secret-token"
    assert "Authorization" not in storage.log[0][1]


def test_a_torn_download_is_gone_on_with(hub: Host, storage: Host, tmp_path: Path) -> None:
    offer(hub, hosts.redirect(f"{storage.address}/f"))
    storage.answers["/f"] = [hosts.torn(DATA, 1500), hosts.file(DATA)]
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert [headers.get("Range") for _, headers in storage.log] == [None, "bytes=1500-"]
    assert [headers.get("Range") for _, headers in hub.log] == [None, "bytes=1500-"]


@pytest.mark.parametrize("before", [DATA[:7], DATA[:60], DATA[:2000], DATA])
def test_what_a_killed_program_left_is_gone_on_with(before: bytes, hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.file(DATA))
    (tmp_path / "f").write_bytes(before)
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert hub.log[0][1]["Range"] == f"bytes={len(before)}-"


@pytest.mark.parametrize("before", [b"x" * 100, hosts.safetensors(2)[:2000], hosts.safetensors(2, 9000)])
def test_leftovers_of_another_file_are_thrown_away(before: bytes, hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.file(DATA))
    (tmp_path / "f").write_bytes(before)
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_server_that_knows_no_ranges_starts_again(hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.torn(DATA, 1500), hosts.file(DATA, ranges=False))
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_server_that_sends_all_of_it_as_a_part_is_taken_at_its_word(hub: Host, tmp_path: Path) -> None:
    whole = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}", "Content-Type": "application/octet-stream"}
    offer(hub, hosts.torn(DATA, 1500), lambda handler: handler.say(206, whole, DATA))
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_hub_out_of_breath_is_asked_again(hub: Host, tmp_path: Path) -> None:
    busy = [hosts.status(429, Retry_After="0"), hosts.status(503), hosts.status(500)]
    offer(hub, *busy, hosts.chunked(DATA))
    get(hub, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (hosts.status(401), r"wants a login for it \(status 401\): put a key .* into \$CIVITAI_TOKEN"),
        (hosts.status(403), r"refuses it \(status 403\): it is in early access"),
        (hosts.status(404), r"no longer has it \(status 404\)"),
        (hosts.status(410), r"archived by its author .*\(status 410\)"),
        (hosts.status(451), r"refuses it \(status 451\)"),
        (hosts.page(), r"sends a page \(text/html\) instead of weights"),
        (hosts.status(200, b'{"error": "x"}'), r"sends a page \(application/json\) instead of weights"),
    ],
)
def test_a_refusal_is_one_line_and_asked_once(answer: Answer, told: str, hub: Host, tmp_path: Path) -> None:
    offer(hub, answer)
    with pytest.raises(WeightsError, match=told) as caught:
        get(hub, tmp_path / "f")
    assert "\n" not in str(caught.value)
    assert len(hub.log) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (hosts.status(429, Retry_After="0"), rf"allows no more downloads for now \(status 429\), {ATTEMPTS} times"),
        (hosts.torn(DATA, 0), "the connection broke"),
    ],
)
def test_a_hub_that_stays_out_of_breath_is_told(answer: Answer, told: str, hub: Host, tmp_path: Path) -> None:
    offer(hub, answer)
    with pytest.raises(WeightsError, match=told):
        get(hub, tmp_path / "f")
    assert len(hub.log) == ATTEMPTS


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1, 2, 3]))
    return buffer.getvalue()


LARGE = {"a": {"dtype": "U8", "shape": [10_000_000_000], "data_offsets": [0, 10_000_000_000]}}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pickle.dumps({"a": 1}), "is a pickle, which can run code"),
        (zipped(), "is a zip archive, as pickles of PyTorch are"),
        (b"<!doctype html><title>hello</title>", "is a page, not weights"),
        (struct.pack("<Q", 10_000_000_000) + b"{" * 3000, "its header claims 10,000,000,000 bytes"),
        (hosts.head(LARGE) + b"0" * 50, "announced with 138 bytes, and its header says 10,000,000,088"),
        (struct.pack("<Q", 20) + b"{not json at all....}" * 9, "its header is not readable"),
        (DATA + b"more", r"announced with 4,0\d\d bytes, and its header says 4,0\d\d"),
    ],
)
def test_other_files_end_the_download_at_their_head(data: bytes, told: str, hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.file(data))
    with pytest.raises(WeightsError, match=told):
        get(hub, tmp_path / "f", hosts.sha256(data))
    assert not (tmp_path / "f").exists()
    assert len(hub.log) == 1


def test_a_download_longer_than_it_says_is_cut_off(hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.chunked(DATA + b"m" * 500_000))
    with pytest.raises(WeightsError, match=r"longer than the 4,0\d\d bytes that its header says"):
        get(hub, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_another_sha256_is_told_and_nothing_kept(hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.file(hosts.safetensors(3)))
    with pytest.raises(
        WeightsError, match=f"not the file that the catalog describes .sha256 {hosts.sha256(hosts.safetensors(3))}"
    ):
        get(hub, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_redirect_to_a_private_address_is_not_followed(hub: Host, storage: Host, tmp_path: Path) -> None:
    storage.answers["/f"] = [hosts.file(DATA)]
    for address in (f"{storage.address}/f", "http://169.254.169.254/latest", "http://[::1]:9/", "http://10.0.0.1/f"):
        offer(hub, hosts.redirect(address))
        with pytest.raises(WeightsError, match="leads to an address of a private network"):
            get(hub, tmp_path / "f", allow_private=False)
    assert not storage.log


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.com/f", "file:///etc/passwd", "https://me:pw@example.com/f", "https://exa mple/f",
        "https://[::1", "https://127.0.0.1:99999/f", "https://127.0.0.1:x/f", "https://",
    ],
)  # fmt: skip
def test_a_redirect_to_no_web_address_is_not_followed(address: str, hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.redirect(address))
    with pytest.raises(WeightsError, match="redirects to an address that is not https"):
        get(hub, tmp_path / "f")


def test_redirects_in_a_circle_end(hub: Host, tmp_path: Path) -> None:
    offer(hub, hosts.redirect("/api/download/models/7?fileId=9"))
    with pytest.raises(WeightsError, match="redirects without end"):
        get(hub, tmp_path / "f")
