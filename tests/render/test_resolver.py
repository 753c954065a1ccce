from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError, UserError, WeightsError
from chatgenbench.render import Pool, draw
from chatgenbench.render.checkpoints import Shelf
from chatgenbench.render.resolver import Fetching, Resolver, bytes_of
from chatgenbench.render.sources import Civitai, Hub, Local, parse
from chatgenbench.render.weights import weights_key
from chatgenbench.schema import Outcome
from tests.render import hosts, tiny
from tests.render.conftest import PlanOf
from tests.render.hosts import Host

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "tiny/fox"


@pytest.fixture
def civitai() -> Iterator[Host]:
    with hosts.serve() as host:
        yield host


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """A server that the hub's own library takes for the hub, with an empty cache of its own."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    with hosts.serve() as host:
        monkeypatch.setenv("HF_ENDPOINT", host.address)
        yield host


def publish(hub: Host, folder: Path, names: list[str], spoiled: str = "") -> None:
    """Have the hub give files of a folder, with sizes and, for weights, digests, as it does."""
    siblings = []
    for name in names:
        data = (folder / name).read_bytes()
        sha256 = hosts.sha256(data)
        lfs = {"sha256": sha256, "size": len(data), "pointerSize": 130}
        siblings.append({"rfilename": name, "size": len(data)} | ({"lfs": lfs} if name.endswith("tensors") else {}))
        sent = data[:-1] + b"?" if name == spoiled else data
        hub.answers[f"/{REPO}/resolve/{COMMIT}/{name}"] = [hosts.hub_file(sent, sha256, COMMIT)]
    about = {"id": REPO, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
    answer = hosts.status(200, json.dumps(about).encode())
    hub.answers[f"/api/models/{REPO}/revision/{COMMIT}?blobs=true"] = [answer]
    hub.answers[f"/api/models/{REPO}/revision/{COMMIT}"] = [answer]


def fetching(root: Path, civitai: Host | None = None, **changes: Any) -> Fetching:
    address = civitai.address if civitai else "http://127.0.0.1:9"
    return Fetching(root / "weights", civitai=address, patience=0.0, **changes)


def remote(benchmark: Benchmark, root: Path, **files: dict[str, str]) -> Benchmark:
    """The benchmark with other `files` for the models named, whose weights do not lie in its folder."""
    records = [json.loads(record.model_dump_json()) for record in benchmark.catalog]
    for record in records:
        record["files"] = files.get(record["id"], record["files"])
    root.mkdir()
    for name in ("fox", "owl-config", "ink", "wax"):
        shutil.copytree(benchmark.root / "models" / name, root / "models" / name)
    return load_benchmark(str(tiny.write_benchmark(root, records)))


OWL = {"checkpoint": "civitai:7", "config": "models/owl-config"}


def owl(benchmark: Benchmark) -> bytes:
    return (benchmark.root / "models/owl.safetensors").read_bytes()


def test_sources_are_read() -> None:
    assert parse("models/fox") == Local("models/fox")
    assert parse("civitai:12?fileId=3#bytes=99") == Civitai(12, 3, "", 99)
    assert parse(f"vae.safetensors#sha256={'a' * 64}") == Local("vae.safetensors", "a" * 64)
    assert parse(f"hf:a/b@{COMMIT}:c/d.safetensors") == Hub("a/b", COMMIT, "c/d.safetensors")
    assert str(parse(f"hf:a/b@{COMMIT}")) == f"hf:a/b@{COMMIT}"


@pytest.mark.parametrize(
    "value",
    [
        "civitai:", "civitai:x", "civitai:1?fileId=", "civitai:1/../2", "civitai:1?token=x", "civitai:٣",
        "hf:a/b", "hf:a/b@main", f"hf:../b@{COMMIT}", f"hf:a/..@{COMMIT}", f"hf:a/b/c@{COMMIT}",
        f"hf:a/b@{COMMIT}:../x.safetensors", f"hf:a/b@{COMMIT}:/x.safetensors", f"hf:a/b@{COMMIT}:x.ckpt",
        "models/fox#sha256=12", "models/fox#other",
    ],
)  # fmt: skip
def test_other_sources_are_refused_in_one_line(value: str) -> None:
    with pytest.raises(BenchmarkError) as caught:
        parse(value)
    assert "\n" not in str(caught.value)


def test_a_file_of_civitai_draws_and_is_fetched_once(
    benchmark: Benchmark, civitai: Host, pool: Pool, plan: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("CHATGENBENCH_CIVITAI", civitai.address)
    monkeypatch.setenv("CIVITAI_TOKEN", "secret")
    civitai.offer(7, hosts.file(owl(benchmark)))
    away = remote(benchmark, tmp_path / "b", owl=OWL)
    rows = list(draw([("r1", plan("owl"))], away, pool, seed_of=lambda item: 1))
    assert rows[0].outcome is Outcome.OK
    again = list(draw([("r1", plan("owl"))], benchmark, Pool(tmp_path / "other"), seed_of=lambda item: 1))
    assert again[0].image_sha256 == rows[0].image_sha256
    assert [headers["Authorization"] for _, headers in civitai.log] == ["Bearer secret"]
    path = tmp_path / "weights" / hosts.sha256(owl(benchmark))[:2] / f"{hosts.sha256(owl(benchmark))}.safetensors"
    assert path.read_bytes() == owl(benchmark)


def test_a_model_that_cannot_be_fetched_fails_only_its_rows(
    benchmark: Benchmark, civitai: Host, pool: Pool, plan: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("CHATGENBENCH_CIVITAI", civitai.address)
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "0")
    civitai.offer(7, hosts.status(404))
    civitai.offer(8, hosts.file(pickle.dumps({"a": 1})))
    away = remote(benchmark, tmp_path / "b", owl=OWL, ink={"lora": "civitai:8"})
    plans = [("gone", plan("owl")), ("gone too", plan("owl", seed=2)), ("pickle", plan("ink")), ("fine", plan("fox"))]
    rows = {row.item: row for row in draw(plans, away, pool, seed_of=lambda item: 1)}
    assert rows["fine"].outcome is Outcome.OK
    assert {rows[name].outcome for name in ("gone", "gone too", "pickle")} == {Outcome.INFRA_FAILED}
    assert rows["gone"].reason == "model 'owl' cannot be fetched: Civitai no longer has it (status 404)"
    assert rows["gone too"].reason == rows["gone"].reason
    assert rows["pickle"].reason == (
        "model 'ink' cannot be fetched: what Civitai sends is a pickle, which can run code"
    )
    assert len([1 for path, _ in civitai.log if path.endswith("/7")]) == 1


CLAIM = {"a": {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [0, 10_000_000_000]}}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pickle.dumps({"a": 1}), "lora.safetensors is a pickle, which can run code"),
        (b"PK\x03\x04" + b"0" * 50, "lora.safetensors is a zip archive, as pickles of PyTorch are"),
        (b"\x00\xe4\x0bT\x02\x00\x00\x00{" + b" " * 90, "its header claims 10,000,000,000 bytes"),
        (hosts.head(CLAIM) + b"0" * 90, "it has 178 bytes and its header says 10,000,000,088"),
    ],
)
def test_files_of_the_benchmark_must_be_what_they_are_called(
    data: bytes, told: str, benchmark: Benchmark, pool: Pool, plan: PlanOf, tmp_path: Path
) -> None:
    away = remote(benchmark, tmp_path / "b", owl=OWL)
    (away.root / "lora.safetensors").write_bytes(data)
    records = [json.loads(record.model_dump_json()) for record in away.catalog]
    ink = next(record for record in records if record["id"] == "ink")
    ink |= {"files": {"lora": "lora.safetensors"}, "sha256": hosts.sha256(data)}
    bad = load_benchmark(str(tiny.write_benchmark(away.root, records)))
    rows = {
        row.item: row for row in draw([("bad", plan("ink")), ("fine", plan("fox"))], bad, pool, seed_of=lambda i: 1)
    }
    assert rows["fine"].outcome is Outcome.OK
    assert rows["bad"].outcome is Outcome.INFRA_FAILED
    assert told in str(rows["bad"].reason)


def test_what_is_asked_at_once_is_fetched_once(benchmark: Benchmark, civitai: Host, tmp_path: Path) -> None:
    civitai.offer(7, hosts.file(owl(benchmark)))
    resolver = Resolver(remote(benchmark, tmp_path / "b", owl=OWL), fetching(tmp_path, civitai))
    record = resolver.benchmark.catalog.get("owl")
    copy: Resolver = pickle.loads(pickle.dumps(resolver))
    assert resolver.bytes_to_fetch(record) is None
    with ThreadPoolExecutor(8) as crew:
        found = list(crew.map(lambda at: (resolver, copy)[at % 2].fetch(record), range(8)))
    assert len(civitai.log) == 1
    assert len({located.path for located in found}) == 1
    assert all(located.verified and located.role == "checkpoint" for located in found)
    assert resolver.bytes_to_fetch(record) == 0


def test_bytes_to_fetch_are_the_catalogs(benchmark: Benchmark, tmp_path: Path) -> None:
    away = remote(benchmark, tmp_path / "b", owl=OWL | {"checkpoint": "civitai:7#bytes=1234"})
    resolver = Resolver(away, fetching(tmp_path))
    assert resolver.bytes_to_fetch(away.catalog.get("owl")) == 1234
    assert resolver.bytes_to_fetch(away.catalog.get("fox")) == 0


def test_weights_make_way_for_each_other_within_the_budget(benchmark: Benchmark, civitai: Host, tmp_path: Path) -> None:
    lora = next((benchmark.root / "models/ink").glob("*.safetensors")).read_bytes()
    civitai.offer(7, hosts.file(owl(benchmark)))
    civitai.offer(8, hosts.file(lora))
    away = remote(benchmark, tmp_path / "b", owl=OWL, ink={"lora": "civitai:8"})
    resolver = Resolver(away, fetching(tmp_path, civitai, budget=len(owl(benchmark)) + 100))
    for name, asked in (("owl", 1), ("ink", 2), ("owl", 3)):
        resolver.fetch(away.catalog.get(name))
        assert len(civitai.log) == asked
    small = Resolver(away, fetching(tmp_path / "small", civitai, budget=1000))
    with pytest.raises(WeightsError, match=r"model 'owl' cannot be fetched: .* more than --weights-budget allows"):
        small.fetch(away.catalog.get("owl"))


def test_civitai_is_not_asked_for_what_nobody_can_check(benchmark: Benchmark, civitai: Host, tmp_path: Path) -> None:
    away = remote(benchmark, tmp_path / "b", owl=OWL)
    record = away.catalog.get("owl").model_copy(update={"sha256": ""})
    with pytest.raises(WeightsError, match="the catalog has no sha256 for civitai:7"):
        Resolver(away, fetching(tmp_path, civitai)).fetch(record)
    assert not civitai.log


def fox_names(benchmark: Benchmark) -> list[str]:
    folder = benchmark.root / "models/fox"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_of_the_hub_draws(benchmark: Benchmark, hub: Host, tmp_path: Path) -> None:
    names = fox_names(benchmark)
    publish(hub, benchmark.root / "models/fox", names)
    away = remote(benchmark, tmp_path / "b", fox={"diffusers": f"hf:{REPO}@{COMMIT}"})
    shelf = Shelf(away, resolver=Resolver(away, fetching(tmp_path)))
    assert shelf.take(away.catalog.get("fox").sha256, None, 1.0).unet is not None
    located = shelf.resolver.fetch(away.catalog.get("fox"))
    assert sorted(p.relative_to(located.path).as_posix() for p in located.path.rglob("*") if p.is_file()) == names
    asked = len(hub.log)
    shelf.resolver.fetch(away.catalog.get("fox"))
    assert len(hub.log) == asked


def test_one_file_of_the_hub_needs_no_sha256(benchmark: Benchmark, hub: Host, tmp_path: Path) -> None:
    publish(hub, benchmark.root, ["models/owl.safetensors"])
    away = remote(benchmark, tmp_path / "b")
    source = f"hf:{REPO}@{COMMIT}:models/owl.safetensors"
    record = away.catalog.get("owl").model_copy(update={"sha256": "", "files": OWL | {"checkpoint": source}})
    assert len(weights_key(record)) == 64
    located = Resolver(away, fetching(tmp_path)).fetch(record)
    assert located.path.read_bytes() == owl(benchmark)


def test_what_the_hub_sends_must_be_what_it_says(benchmark: Benchmark, hub: Host, tmp_path: Path) -> None:
    publish(hub, benchmark.root, ["models/owl.safetensors"], spoiled="models/owl.safetensors")
    away = remote(benchmark, tmp_path / "b")
    source = f"hf:{REPO}@{COMMIT}:models/owl.safetensors"
    record = away.catalog.get("owl").model_copy(update={"sha256": "", "files": OWL | {"checkpoint": source}})
    with pytest.raises(WeightsError, match=r"model .owl. cannot be fetched: .*is not the file that the hub says"):
        Resolver(away, fetching(tmp_path)).fetch(record)


@pytest.mark.parametrize(
    ("code", "headers", "told"),
    [
        (403, {"X-Error-Code": "GatedRepo"}, r"huggingface.co/tiny/fox is gated: accept its terms there"),
        (401, {"X-Error-Code": "GatedRepo"}, r"huggingface.co/tiny/fox is gated: accept its terms there"),
        (404, {"X-Error-Code": "RepoNotFound"}, r"the hub has no tiny/fox, or \$HF_TOKEN may not see it"),
        (404, {"X-Error-Code": "RevisionNotFound"}, rf"the hub has no hf:tiny/fox@{COMMIT}"),
        (400, {}, r"the hub does not give hf:tiny/fox@.* \(status 400\)"),
    ],
)
def test_refusals_of_the_hub_are_one_line(
    code: int, headers: dict[str, str], told: str, benchmark: Benchmark, hub: Host, tmp_path: Path
) -> None:
    hub.answers[f"/api/models/{REPO}/revision/{COMMIT}?blobs=true"] = [hosts.status(code, **headers)]
    away = remote(benchmark, tmp_path / "b", fox={"diffusers": f"hf:{REPO}@{COMMIT}"})
    with pytest.raises(WeightsError, match=told) as caught:
        Resolver(away, fetching(tmp_path)).fetch(away.catalog.get("fox"))
    assert "\n" not in str(caught.value)


def test_offline_says_what_is_missing(benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    away = remote(benchmark, tmp_path / "b", fox={"diffusers": f"hf:{REPO}@{COMMIT}"})
    with pytest.raises(WeightsError, match=rf"hf:{REPO}@{COMMIT} is not on this machine, and \$HF_HUB_OFFLINE is set"):
        Resolver(away, fetching(tmp_path)).fetch(away.catalog.get("fox"))


def test_sizes_are_read() -> None:
    assert [bytes_of(text) for text in ("200GB", "1.5 tb", "7", "20k")] == [200 * 10**9, 1_500_000_000_000, 7, 20_000]
    for text in ("", "0", "many", "-5GB", "5 PB"):
        with pytest.raises(UserError, match="is no size: write it like 200GB"):
            bytes_of(text)


def test_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("CHATGENBENCH_WEIGHTS_BUDGET", "2GB")
    assert Fetching.of_environment() == Fetching(tmp_path / "weights", 2 * 10**9)
    for address in ("http://example.com", "https://me:pw@example.com", "https://example.com/path", "ftp://x"):
        monkeypatch.setenv("CHATGENBENCH_CIVITAI", address)
        with pytest.raises(UserError, match="must be an https address"):
            Fetching.of_environment()
