"""Writes the folder of the site: whole or not at all, and only where a site (or nothing) was before."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from chatgenbench.errors import InfraError, UserError
from chatgenbench.leaderboard.manifest import GALLERY
from chatgenbench.leaderboard.results import Entry, Results
from chatgenbench.leaderboard.site.page import render
from chatgenbench.leaderboard.site.views import entry_view, index_view

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
        (draft / MARK).write_text("written by chatgenbench leaderboard build\n", "utf-8")
        names = ["index.html", *(f"{found.hash[:12]}.html" for found in results[1:])]
        others = [(found.benchmark, found.version, name) for found, name in zip(results, names, strict=True)]
        for found, name in zip(results, names, strict=True):
            page = render("index.html.j2", "site.js", index_view(found, [o for o in others if o[2] != name]))
            (draft / name).write_bytes(page)
            for entry in found.entries:
                shown = _pictures(entry, submissions, draft / "p")
                page = render("entry.html.j2", None, entry_view(found, entry, shown, name))
                (draft / "s" / f"{entry.slug}.html").write_bytes(page)
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    except OSError as error:
        raise InfraError(f"cannot write {out}: {error.strerror or error}; mend that, type it again") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / "index.html"


def _pictures(entry: Entry, submissions: Path, folder: Path) -> list[tuple[str, str | None]]:
    """(item id, file name in the site) of each picture of a gallery; None for one that is not what it should be."""
    found: list[tuple[str, str | None]] = []
    for item, sha256 in entry.gallery:
        source = submissions / entry.slug / GALLERY / f"{sha256}.jpg"
        name = f"{sha256}.jpg"
        try:
            data = b"" if source.is_symlink() else source.read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != sha256:
            found.append((item, None))
            continue
        (folder / name).write_bytes(data)
        found.append((item, name))
    return found
