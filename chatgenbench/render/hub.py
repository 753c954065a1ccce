"""Weights from the Hugging Face hub: one pinned commit, safetensors and configuration only, never code."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from chatgenbench.errors import WeightsError, shorten
from chatgenbench.render.cache import Reserve
from chatgenbench.render.header import HeaderError, read_header
from chatgenbench.render.sources import Hub

#: What a diffusers folder is made of; weights in the parts' folders only.
WANTED = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")
#: Copies of weights in other precisions, and parts that no picture needs.
UNWANTED = ("*.fp16.*", "*.bf16.*", "*.non_ema.*", "*.fp16-*", "safety_checker/*", "feature_extractor/*")


def download(source: Hub, partial: Path, reserve: Reserve, parts: Sequence[str] = ()) -> None:
    """Fill `partial` (a file, or a folder) from the hub; what of it lies there already is kept.

    Args:
        parts: of a folder, only these sub-folders and `model_index.json`; none: all.

    Raises:
        WeightsError: offline, gated, gone, not safetensors, or not the bytes that the hub says.
    """
    from huggingface_hub import HfApi, hf_hub_download

    if offline():
        raise WeightsError(f"{source} is not on this machine, and $HF_HUB_OFFLINE is set: unset it, or fetch it before")
    endpoint = os.environ.get("HF_ENDPOINT") or None
    with _told(source):
        info = HfApi(endpoint).model_info(source.repo, revision=source.commit, files_metadata=True)
        files = [s for s in info.siblings or [] if _is_wanted(s.rfilename, source, parts)]
        if not files:
            raise WeightsError(f"{source} holds nothing that can be drawn with: no diffusers folder, no safetensors")
        reserve(sum(file.size or 0 for file in files))
        folder = partial if source.file is None else partial.with_name(f"{partial.name}.parts")
        for file in files:
            where: dict[str, Any] = {"revision": source.commit, "local_dir": folder, "endpoint": endpoint}
            _check(Path(hf_hub_download(source.repo, file.rfilename, **where)), file)
    if source.file is not None:
        (folder / source.file).replace(partial)
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(partial / ".cache", ignore_errors=True)


def at_hand(source: Hub, parts: Sequence[str] = ()) -> Path | None:
    """The file or folder in the hub's own cache of this machine, if it is there and whole."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, source.file or "model_index.json", revision=source.commit)
    if not isinstance(found, str):
        return None
    path = Path(found)
    if source.file is not None:
        return path
    return path.parent if is_whole(path.parent, parts) else None


def is_whole(folder: Path, parts: Sequence[str] = ()) -> bool:
    """Whether a diffusers folder has a file of every part that its index names (or of those `parts`)."""
    import json

    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    named = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    needed = [name for name in named if name not in ("safety_checker", "feature_extractor")]
    return all(_has_part(folder / name) for name in (parts or needed))


def offline() -> bool:
    """Whether the hub must not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _has_part(folder: Path) -> bool:
    """Weights with their configuration, or the files of a tokenizer or scheduler."""
    names = {file.name for file in folder.glob("*")}
    if "config.json" not in names:
        return bool(names)
    index = next((n for n in names if n.endswith(".safetensors.index.json") and ".fp16." not in n), None)
    if index is None:
        return any(name.endswith(".safetensors") for name in names)
    import json

    try:
        shards = set(json.loads((folder / index).read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return shards <= names


def _is_wanted(name: str, source: Hub, parts: Sequence[str]) -> bool:
    if source.file is not None:
        return name == source.file
    if ".." in name.split("/") or any(fnmatch(name, pattern) for pattern in UNWANTED):
        return False
    if parts and name != "model_index.json" and name.partition("/")[0] not in parts:
        return False
    return any(fnmatch(name, pattern) for pattern in WANTED)


def _check(path: Path, told: Any) -> None:
    """That a file is the hub's, and safetensors where it says so."""
    if path.suffix != ".safetensors":
        return
    try:
        read_header(path)
    except HeaderError as error:
        path.unlink(missing_ok=True)
        raise WeightsError(f"{told.rfilename} of the hub is {error}") from None
    expected = told.lfs.sha256 if told.lfs else None
    if expected is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            path.unlink(missing_ok=True)
            raise WeightsError(f"{told.rfilename} is not the file that the hub says (sha256 {found})")


@contextmanager
def _told(source: Hub) -> Iterator[None]:
    """What the hub's library raises, as one line each."""
    from huggingface_hub import errors

    where = f"huggingface.co/{source.repo}"
    try:
        yield
    except errors.GatedRepoError:
        raise WeightsError(f"{where} is gated: accept its terms there, and put a token into $HF_TOKEN") from None
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError):
        raise WeightsError(f"the hub has no {source}") from None
    except errors.RepositoryNotFoundError:
        raise WeightsError(f"the hub has no {source.repo}, or $HF_TOKEN may not see it") from None
    except errors.OfflineModeIsEnabled:
        raise WeightsError(f"{source} is not on this machine, and $HF_HUB_OFFLINE was set") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "none"
        raise WeightsError(f"the hub does not give {source} (status {status})") from None
    except errors.LocalEntryNotFoundError as error:
        raise WeightsError(f"the hub does not answer: {shorten(str(error), 120)}") from None
    except (WeightsError, OSError):
        raise
    except Exception as error:  # its HTTP library's own
        raise WeightsError(f"the hub does not answer ({type(error).__name__}): {shorten(str(error), 120)}") from None
