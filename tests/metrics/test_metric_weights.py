"""Published weights: recorded once, held to it ever after; a clear word when there is no network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import t2imetrics
from t2imetrics import _weights
from t2imetrics._weights import HubFile, UrlFile, cache_home, fetch, fetch_folder
from t2imetrics.errors import WeightsError

FILE = HubFile("someone/model", "weights.bin")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one commit; writes `files` and records which revision was asked for."""
    root = tmp_path / "hub" / "snapshots" / "c0ffee"
    root.mkdir(parents=True)
    asked: list[str | None] = []

    def download(repo: str, name: str, revision: str | None = None) -> str:
        asked.append(revision)
        return str(root / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return root, asked


def test_the_first_download_is_recorded_and_then_demanded(hub) -> None:
    root, asked = hub
    (root / "weights.bin").write_bytes(b"one")
    digest = hashlib.sha256(b"one").hexdigest()
    path, weights = fetch(FILE)
    assert path.read_bytes() == b"one"
    assert weights == t2imetrics.Weights(
        "someone/model/weights.bin", "c0ffee", digest, files=_weights.fingerprint({"weights.bin": digest})
    )
    fetch(FILE)
    assert asked == [None, "c0ffee"], "the second time the recorded commit is asked for"
    (root / "weights.bin").write_bytes(b"two")
    with pytest.raises(WeightsError, match=f"expected {digest}"):
        fetch(FILE)


def test_a_digest_that_a_source_states_is_demanded_at_once(hub) -> None:
    root, _ = hub
    (root / "weights.bin").write_bytes(b"one")
    with pytest.raises(WeightsError, match="sha256 is"):
        fetch(HubFile("someone/model", "weights.bin", "0" * 64))
    assert not list(cache_home().rglob("*.json")), "a wrong file is not recorded"


def test_a_folder_of_files_has_the_provenance_of_its_main_file(hub) -> None:
    root, _ = hub
    for name in ("config.json", "model.safetensors"):
        (root / name).write_text(name)
    folder, weights = fetch_folder("someone/model", ["config.json", "model.safetensors"], "model.safetensors")
    assert folder == root
    assert weights.name == "someone/model/model.safetensors"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("model.safetensors", "config.json")}
    assert weights.files == _weights.fingerprint(digests), "in whatever order"


def test_the_fingerprint_of_weights_of_which_one_is_unknown_is_unknown() -> None:
    known, unknown = t2imetrics.Weights("a", files="0" * 64), t2imetrics.Weights("b")
    assert len(_weights.together(known, known)) == 64
    assert _weights.together(known, unknown) == ""


def test_a_damaged_lock_says_what_to_do(hub) -> None:
    root, _ = hub
    (root / "weights.bin").write_bytes(b"one")
    fetch(FILE)
    next(cache_home().rglob("*.json")).write_text("{")
    with pytest.raises(WeightsError, match="delete it to record"):
        fetch(FILE)


def test_a_file_name_that_carries_its_digest_is_checked(tmp_path, monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    data = b"features"
    prefix = hashlib.sha256(data).hexdigest()[:8]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net.pth").write_bytes(data)
    assert fetch(UrlFile("https://example.org/net.pth", prefix))[1].sha256.startswith(prefix)
    (tmp_path / "checkpoints" / "other.pth").write_bytes(data)
    with pytest.raises(WeightsError, match="is damaged"):
        fetch(UrlFile("https://example.org/other.pth", "00000000"))


@pytest.mark.parametrize("name", ["bertscore", "clipscore", "hpsv2", "imagereward", "fid"])
def test_without_network_the_error_is_one_line_that_helps(name, tmp_path, monkeypatch) -> None:
    import torch

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network\nin here")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"cannot fetch .*miniature' needs no network") as caught:
        t2imetrics.load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bertscore", "clipscore", "hpsv2", "imagereward", "fid"])
def test_a_folder_that_is_not_there_is_an_error(name, tmp_path) -> None:
    with pytest.raises(WeightsError, match="choose 'published', 'miniature' or a folder"):
        t2imetrics.load(name, weights=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["clipscore", "hpsv2", "imagereward", "fid"])
def test_a_folder_without_the_network_is_an_error(name, tmp_path) -> None:
    with pytest.raises(WeightsError, match="holds no"):
        t2imetrics.load(name, weights=tmp_path)


def test_the_published_paths_load_what_was_downloaded(tmp_path, monkeypatch) -> None:
    """The real loading code on a stand-in for ViT-H-14's checkpoint."""
    import open_clip
    import torch

    from tests.metrics import small_weights as small

    model = small.fill(open_clip.model.CLIP(**small.CLIP_CONFIG))
    path = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"state_dict": model.state_dict()}, path)
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **_: (asked.append(a), str(path))[1])
    fresh = lambda architecture, **_: open_clip.model.CLIP(**small.CLIP_CONFIG)  # noqa: E731
    monkeypatch.setattr(open_clip, "create_model", fresh)
    scorer = t2imetrics.load("hpsv2", device="cpu")
    assert asked == [("xswu/HPSv2", "HPS_v2.1_compressed.pt")]
    assert scorer.card.weights.sha256 == _weights.sha256_of(path)
    assert "version 2.1; preprocessing B with antialias" in scorer.card.note
    assert torch.equal(scorer.towers.model.logit_scale, model.logit_scale)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> object:
            return (Path(tmp_path / "owned").touch, ())

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        _weights.read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_weights_json_must_be_an_object(tmp_path) -> None:
    (tmp_path / "weights.json").write_text(json.dumps([1]))
    with pytest.raises(WeightsError, match="is not a JSON object"):
        _weights.find_folder(tmp_path, "clip")
