"""Find weights, and hold them to what they were.

A hub file is downloaded by name once; its commit and sha256 are recorded in a lock (one small JSON file per
weight file under `$T2IMETRICS_HOME`, default `~/.cache/t2imetrics`) and demanded ever after.  A folder of weights
carries its own digests in `weights.json`.  No digest in this package is made up: it comes from a publisher's file
name, from a file that was measured, or from the first download.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from t2imetrics._card import Weights
from t2imetrics.errors import WeightsError, shorten

T = TypeVar("T")
OFFLINE_HINT = "weights='miniature' needs no network"
#: Files that are read of each network's folder; a vocabulary can lie in other files as well.
READ = {
    "clip": ("model.safetensors", "open_clip_config.json", "bpe.txt.gz"),
    "hps": ("model.safetensors", "open_clip_config.json", "bpe.txt.gz"),
    "reward": ("model.safetensors", "config.json", "vocab.txt"),
    "pick": ("model.safetensors", "config.json", "tokenizer.json"),
    "aesthetic": ("model.safetensors",),
    "dino": ("model.safetensors", "config.json"),
}
INSTEAD = {"tokenizer.json": ("vocab.json", "merges.txt")}
#: Locks written by this process, by the file they hold.
_new_locks: dict[Path, list[Path]] = {}


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository; `sha256` only where a source other than the download states it."""

    repo: str
    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class UrlFile:
    """A file behind a URL; `sha256_prefix` is what its publisher put into its name, "" where nothing is stated."""

    url: str
    sha256_prefix: str


def sha256_of(path: Path) -> str:
    """sha256 of a file (64 hex digits)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(digests: Mapping[str, str]) -> str:
    """`Weights.files` of files given as name -> sha256 (64 hex digits), in whatever order."""
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def together(*weights: Weights) -> str:
    """`Weights.files` of a metric that reads several sets of weights; "" unless it is known of each."""
    return fingerprint({one.name: one.files for one in weights}) if all(one.files for one in weights) else ""


def cache_home() -> Path:
    """Where locks and downloads that have no cache of their own are kept."""
    home = os.environ.get("T2IMETRICS_HOME")
    return Path(home) if home else Path.home() / ".cache" / "t2imetrics"


# --- published -------------------------------------------------------------------------------------------------


def fetch(file: HubFile | UrlFile) -> tuple[Path, Weights]:
    """The local path of a published file, and its provenance; downloads on first use.

    Raises:
        WeightsError: no network and no cached copy, or not the bytes that were recorded.
    """
    if isinstance(file, UrlFile):
        return _fetch_url(file)
    label = f"{file.repo}/{file.name}"
    locked = _locked(label)
    path = _download(file, locked.get("revision"))
    revision = path.parts[path.parts.index("snapshots") + 1] if "snapshots" in path.parts else None
    expected = locked if file.sha256 is None else {"sha256": file.sha256}
    digest = _hold(label, path, expected, revision)
    return path, Weights(label, revision, digest, files=fingerprint({file.name: digest}))


def fetch_folder(repo: str, files: Sequence[str], main: str) -> tuple[Path, Weights]:
    """Several files of one hub repository in one folder; the provenance is that of the file `main`."""
    got = {name: fetch(HubFile(repo, name)) for name in files}
    path, weights = got[main]
    if any(other.parent != path.parent for other, _ in got.values()):
        raise WeightsError(f"{repo} changed between two downloads: delete {cache_home() / 'locks'} and load again")
    digests = {name: str(other.sha256) for name, (_, other) in got.items()}
    return path.parent, replace(weights, files=fingerprint(digests))


def adopt(label: str, path: Path) -> Weights:
    """Provenance of a file that another library fetched; held to its first digest like any other."""
    digest = _hold(label, path, _locked(label), None)
    return Weights(label, None, digest, files=fingerprint({label: digest}))


def _download(file: HubFile, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(file.repo, file.name, revision=revision))
    except Exception as error:  # the hub client raises errors of five libraries
        reason = f"cannot fetch {file.repo}/{file.name} from the Hugging Face hub: {shorten(error, 120)}"
        raise WeightsError(f"{reason} ({OFFLINE_HINT})") from None


def _fetch_url(file: UrlFile) -> tuple[Path, Weights]:
    import torch

    name = file.url.rsplit("/", 1)[1]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(file.url, str(path), hash_prefix=file.sha256_prefix or None, progress=False)
        except Exception as error:  # urllib, socket, disk, or a wrong digest
            raise WeightsError(f"cannot fetch {file.url}: {shorten(error, 120)} ({OFFLINE_HINT})") from None
    digest = _hold(name, path, _locked(name), None)
    if not digest.startswith(file.sha256_prefix):
        raise WeightsError(f"{path} is damaged: sha256 {digest[:8]}…, published {file.sha256_prefix}…; delete it")
    return path, Weights(name, None, digest, files=fingerprint({name: digest}))


def _lock_path(label: str) -> Path:
    return cache_home() / "locks" / (label.replace("/", "--") + ".json")


def _locked(label: str) -> dict[str, str]:
    path = _lock_path(label)
    if not path.is_file():
        return {}
    try:
        return {k: v for k, v in json.loads(path.read_text("utf-8")).items() if v}
    except (ValueError, AttributeError):
        raise WeightsError(f"{path} is not a lock file: delete it to record the weights anew") from None


def _hold(label: str, path: Path, expected: dict[str, str], revision: str | None) -> str:
    """Digest of the file; compared with what is expected, recorded when nothing was."""
    digest = sha256_of(path)
    wanted = expected.get("sha256")
    if wanted and digest != wanted:
        raise WeightsError(f"{label}: sha256 is {digest}, expected {wanted} (file {path}, lock {_lock_path(label)})")
    lock = _lock_path(label)
    if not lock.is_file():
        lock.parent.mkdir(parents=True, exist_ok=True)
        draft = lock.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"sha256": digest, "revision": revision}) + "\n", "utf-8")
        draft.replace(lock)
        _new_locks.setdefault(path, []).append(lock)
    return digest


# --- folders ---------------------------------------------------------------------------------------------------


def miniature_home() -> Path:
    """The small weights: inside the package when installed, under `data/` in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "_miniature", here.parent.parent / "data" / "miniature" / "scorers"):
        if folder.is_dir():
            return folder
    raise WeightsError("the miniature weights are missing from this installation: reinstall t2imetrics")


def own_folder(weights: str | Path) -> Path:
    """The folder a user named; WeightsError when it is not there."""
    if not Path(weights).is_dir():
        raise WeightsError(f"weights '{weights}': choose 'published', 'miniature' or a folder that is there")
    return Path(weights)


def find_folder(weights: str | Path, part: str) -> tuple[Path, Weights]:
    """The folder of one network (`clip`, `hps`, `reward`) and its provenance, every digest checked.

    `weights` is `miniature`, the folder that holds `part`, or the network's folder itself, which is then called
    `part` or states `part` as `kind` in its `weights.json`: another network's numbers would look as good.

    Raises:
        WeightsError: no such folder, a file missing, or a digest that is missing or differs from `weights.json`.
    """
    root = miniature_home() if str(weights) == "miniature" else own_folder(weights)
    if (root / part / "weights.json").is_file():
        return root / part, _check(root / part, part)
    if (root / "weights.json").is_file():
        if part in (root.absolute().name, read_json(root / "weights.json").get("kind")):
            return root, _check(root, part)
        raise WeightsError(f'{root} holds no {part}/weights.json, nor does its own state "kind": "{part}"')
    raise WeightsError(f"{root} holds no {part}/weights.json")


def find_part(metric: str, weights: str | Path, part: str) -> tuple[Path, Weights]:
    """Like `find_folder` for a metric that the miniature has no weights for."""
    if str(weights) == "miniature":
        raise WeightsError(f"{metric} has no miniature weights: use 'published' or a folder that holds {part}/")
    return find_folder(weights, part)


def _check(folder: Path, part: str) -> Weights:
    about = read_json(folder / "weights.json")
    digests = about.get("sha256")
    digests = digests if isinstance(digests, dict) else {}
    needed = [name for file in READ[part] for name in _in_place_of(folder, file)]
    for name in needed:
        if name not in digests and ((folder / name).is_file() or name == needed[0]):
            raise WeightsError(f"{folder / 'weights.json'} states no sha256 of {name}: add it, every file counts")
    for name, wanted in digests.items():
        if not (folder / name).is_file():
            raise WeightsError(f"{folder / name} is missing")
        if (found := sha256_of(folder / name)) != wanted:
            raise WeightsError(f"{folder / name} is not the file weights.json describes: {found[:12]}…")
    label, note = str(about.get("label", "")), str(about.get("note", ""))
    note = f"{label}: {note}" if label and note else label or note
    files = fingerprint({name: digests[name] for name in needed if name in digests})
    return Weights(str(about.get("name", folder.name)), None, digests["model.safetensors"], note, files)


def _in_place_of(folder: Path, file: str) -> tuple[str, ...]:
    """Names of the files that are read where `file` is asked for."""
    return (file,) if (folder / file).is_file() else INSTEAD.get(file, (file,))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; WeightsError when the file is not one."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path}: {shorten(error)}") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path} is not a JSON object")
    return value


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A state dict from safetensors, or from a torch file without running any code in it; tensors on the CPU."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return or_damaged(path, lambda: load_file(path))
    import torch

    return or_damaged(path, lambda: torch.load(path, map_location="cpu", weights_only=True))


def require_finite(weights: Weights, model: Any) -> None:
    """WeightsError if a parameter or buffer of a loaded network is not a number: it would give numbers all the same."""
    for name, tensor in model.state_dict().items():
        # a finite sum has finite terms, and is found much sooner; a sum that is not may have overflowed
        if tensor.is_floating_point() and not (tensor.sum().isfinite() or bool(tensor.isfinite().all())):
            raise WeightsError(f"{weights.name}: '{name}' holds values that are not numbers: fetch the weights again")


def or_damaged(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives, or a WeightsError that names the file.

    Nothing is initialised at random meanwhile: that takes longer than reading, and every weight is replaced.
    A first download that turns out damaged is not held to: the next one may be whole.
    """
    from transformers.initialization import no_init_weights

    try:
        with no_init_weights():
            return read()
    except WeightsError:
        raise
    except Exception as error:  # pickle, zip, header and shape errors share no base class
        for lock in _new_locks.pop(path, ()):
            lock.unlink(missing_ok=True)
        missing = f"it has no entry {error}" if isinstance(error, KeyError) else str(error)
        reason = shorten(missing.strip() or f"{type(error).__name__}, {path.stat().st_size:,} bytes")
        raise WeightsError(f"{path} cannot be loaded: {reason}; delete it to fetch it again") from None
