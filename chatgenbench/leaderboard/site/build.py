"""Writes the folder of the site: whole or not at all, and only where a site (or nothing) was before."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from chatgenbench.errors import InfraError, UserError
from chatgenbench.leaderboard.manifest import GALLERY
from chatgenbench.leaderboard.results import Entry, Results
from chatgenbench.leaderboard.site.page import STYLE, TEMPLATES, render
from chatgenbench.leaderboard.site.views import Shown, entry_view, index_view

#: Tells a folder that a new site may replace.
MARK = ".chatgenbench-site"


def build_site(results: Sequence[Results], submissions: Path, out: Path) -> Path:
    """Write the site of one or more boards to `out`; returns its index.

    Args:
        results: a board each; the first is shown, the others are linked from it.
        submissions: folder in which `SLUG/gallery/SHA256.jpg` are the pictures.

    Raises:
        UserError: `out` holds something else.
        InfraError: the disk refuses.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise UserError(f"--out {out} holds something else: choose a new folder")
    draft = out.absolute().with_name(f".{out.absolute().name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "s").mkdir(parents=True)
        (draft / "p").mkdir()
        (draft / STYLE).write_bytes((TEMPLATES / STYLE).read_bytes())
        (draft / MARK).write_text("written by chatgenbench leaderboard build\n", "utf-8")
        names = ["index.html", *(f"{found.hash[:12]}.html" for found in results[1:])]
        others = [(found.benchmark, found.version, name) for found, name in zip(results, names, strict=True)]
        for found, name in zip(results, names, strict=True):
            page = render("index.html.j2", "site.js", index_view(found, [o for o in others if o[2] != name]))
            (draft / name).write_bytes(page)
            for entry in found.entries:
                shown = _pictures(entry, submissions, draft / "p")
                page = render("entry.html.j2", None, entry_view(found, entry, shown, name), "../")
                (draft / "s" / f"{entry.slug}.html").write_bytes(page)
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    except OSError as error:
        raise InfraError(f"cannot write {out}: {error.strerror or error}; mend that, type it again") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / "index.html"


def _pictures(entry: Entry, submissions: Path, folder: Path) -> list[Shown]:
    """The pictures of a gallery, copied; without a file where one is not what it should be."""
    found: list[Shown] = []
    for picture in entry.gallery:
        name = f"{picture.sha256}.jpg"
        source = submissions / entry.slug / GALLERY / name
        try:
            data = b"" if source.is_symlink() else source.read_bytes()
        except OSError:
            data = b""
        size = _size(data) if hashlib.sha256(data).hexdigest() == picture.sha256 else None
        if size is not None:
            (folder / name).write_bytes(data)
        found.append(Shown(picture, name if size else None, *(size or (0, 0))))
    return found


def _size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, so that the page does not move when it comes; None if it is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
