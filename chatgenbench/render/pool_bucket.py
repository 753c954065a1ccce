"""A pool at an fsspec URL: an object store, or anything else that fsspec can write to.

Object stores put one object at once and cannot rename.  So a batch is first put as one object, a zip of its files
(now the batch is whole), then its files are put one by one, then the zip is taken away.  Whoever finds a zip puts
what is missing of it.  Each picture so travels twice; drawing it takes far longer.

The first writer of a name wins: a file is put only where none is, in one step on stores that can (S3, GCS, Azure),
else after looking.  Stores that are no object stores (sftp, smb) may be left with half a file by a kill.  Half a zip
is told by its checksums, half a picture by its own: the next writer of it replaces it.
"""

from __future__ import annotations

import io
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from chatgenbench.errors import UserError, shorten
from chatgenbench.render.pool_store import STAGING, Entry, may_live, writer

#: Requests under way at once, where a file system can.
THREADS = 16
#: What file systems call the moment of writing.
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)(://|::)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def is_url(where: str) -> bool:
    """Whether `where` is an fsspec URL rather than a path."""
    return _URL.match(where) is not None


class Bucket:
    """Keeps the contract of `Store` with objects under `url`.

    Args:
        url: say "s3://bucket/folder".  Credentials and endpoints come from the environment or fsspec's
            configuration, never from the URL, which runs record.
        whole: tells a whole file from a broken one.

    Raises:
        UserError: the URL holds a password.
    """

    def __init__(self, url: str, whole: Callable[[bytes], bool]) -> None:
        self.url, self._whole = url if url.endswith("://") else url.rstrip("/"), whole
        self._made: set[str] = set()
        found = _URL.match(url)
        if found and re.match(r"[^/]*:[^/]*@", found["rest"]):
            raise UserError("a pool's URL is recorded by runs: leave the password out, and put it into the environment")

    @property
    def threads(self) -> int:
        return THREADS if self._flat else 1

    @property
    def _flat(self) -> bool:
        """Whether this is an object store: no folders to make (and no bucket by mistake), many requests at once."""
        inner = self._fs
        while hasattr(inner, "fs"):  # caches and the like
            inner = inner.fs
        return bool(getattr(inner, "async_impl", False))

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system and the pool's path in it; listings are never cached, for others write too."""
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise UserError(f"pool {self.url}: {_package(self.url) or shorten(str(error), 160)}") from None
        except Exception as error:  # every file system has errors of its own
            raise UserError(f"pool {self.url}: {_unknown(str(error)) or _line(error)}") from None
        return fs, str(root).rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._place[0]

    def _at(self, path: str) -> str:
        """A file's path in the file system."""
        return "/".join(part for part in (self._place[1], path) if part)

    def where(self, path: str) -> str:
        return f"{self.url}/{path}"

    def probe(self) -> None:
        path = f"{STAGING}/{writer()}{secrets.token_hex(4)}.probe"
        self._put(path, b"")
        self.remove(path)

    def there(self) -> bool:
        fs, at = self._fs, self._at("")
        with _told():
            return bool(fs.exists(at))

    def has(self, path: str) -> bool:
        fs, at = self._fs, self._at(path)
        with _told():
            return bool(fs.exists(at))

    def read(self, path: str) -> bytes:
        fs, at = self._fs, self._at(path)
        with _told():
            return bytes(fs.cat_file(at))

    def add(self, files: Mapping[str, bytes]) -> None:
        batch = f"{STAGING}/{writer()}{secrets.token_hex(8)}.zip"
        try:
            self._put(batch, _zipped(files))
        except OSError:
            with suppress(OSError):
                self.remove(batch)
            raise
        self._settle(files)
        self.remove(batch)

    def recover(self) -> None:
        for entry in self._list(STAGING):
            name = entry.path.removeprefix(f"{STAGING}/").rpartition(".")[0]
            with suppress(FileNotFoundError):  # its writer, or another run, was faster
                files = _unzipped(self.read(entry.path))
                if files is not None:
                    self._settle(files)
                elif may_live(name):
                    continue
                self.remove(entry.path)

    def remove(self, path: str) -> None:
        fs, at = self._fs, self._at(path)
        with _told(), suppress(FileNotFoundError):
            fs.rm_file(at)

    def entries(self) -> Iterator[Entry]:
        yield from sorted(
            (entry for entry in self._list("") if not entry.path.startswith(f"{STAGING}/")), key=lambda e: e.path
        )

    def staged(self) -> int:
        return len(self._list(STAGING))

    def _settle(self, files: Mapping[str, bytes]) -> None:
        """Put each file where no whole one is."""
        for path, data in files.items():
            try:
                self._put(path, data)
            except FileExistsError:
                if not self._whole(self.read(path)):
                    self._put(path, data, mode="overwrite")

    def _put(self, path: str, data: bytes, mode: str = "create") -> None:
        fs, at = self._fs, self._at(path)
        folder = at.rpartition("/")[0]
        with _told():
            if not self._flat and folder not in self._made:
                fs.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            fs.pipe_file(at, data, mode=mode)

    def _list(self, folder: str) -> list[Entry]:
        fs, root = self._place
        with _told():
            try:
                found = fs.find(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
            return [
                Entry(str(name)[len(root) :].lstrip("/"), int(about["size"] or 0), _written(fs, name, about))
                for name, about in found.items()
            ]


def _written(fs: Any, name: str, about: Mapping[str, Any]) -> float:
    moment = next((about[key] for key in _TIMES if about.get(key) is not None), None)
    if moment is None:
        moment = fs.modified(name)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def _unzipped(data: bytes) -> dict[str, bytes] | None:
    """The files of a batch by their path; None if it is not whole or names anything but pictures."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError):
        return None
    return files if all(re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{64}\.png", name) for name in files) else None


@contextmanager
def _told() -> Iterator[None]:
    """File systems raise errors of their own libraries: all become OSError with one line."""
    try:
        yield
    except (UserError, FileNotFoundError, FileExistsError, PermissionError):
        raise
    except Exception as error:
        raise OSError(_line(error)) from error


def _line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return shorten(text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}", 200)


def _package(url: str) -> str | None:
    """What to install for a URL, where fsspec knows."""
    from fsspec.registry import known_implementations

    found = _URL.match(url)
    protocol = found["protocol"].lower() if found else ""
    module = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
    if not module or module == "fsspec":
        return None
    return f"{module} is needed for {protocol}:// pools: pip install {module}"


def _unknown(said: str) -> str | None:
    """What to type instead where fsspec says that it knows no such kind of URL."""
    from fsspec.registry import known_implementations

    found = re.fullmatch(r"Protocol not known: (\S+)", said)
    if found is None:
        return None
    kind = found[1]
    if kind.lower() in known_implementations:
        return f"write {kind.lower()} in small letters"
    return f"{shorten(kind, 40)} is no kind of URL that fsspec knows: use a folder, or a URL such as s3://bucket/pool"
