"""The folder of a board: what was submitted, and whose verifications count.

submissions/SLUG/       submission.csv, manifest.json, gallery/, and verification.json once somebody verified it
maintainers.txt         public keys of those whose verifications count
results.csv results.json site/    what ranking and building make of it
"""

from __future__ import annotations

import hashlib
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.manifest import CSV, GALLERY, MANIFEST, Manifest
from chatgenbench.leaderboard.verification import read_maintainers

MAX_MANIFEST = 5_000_000


@dataclass(frozen=True)
class Submission:
    """One folder of the board: its manifest, or why it cannot be read."""

    slug: str
    folder: Path
    manifest: Manifest | None
    reason: str | None = None


class Board:
    """A board's folder; see the module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "submissions"

    def submissions(self) -> list[Submission]:
        """Every submission, by slug."""
        if not self.folder.is_dir():
            return []
        found = (path for path in sorted(self.folder.iterdir()) if path.is_dir() and not path.name.startswith("."))
        return [_read(path) for path in found]

    def maintainers(self) -> frozenset[str]:
        """Public keys whose verifications count."""
        return read_maintainers(self.root / "maintainers.txt")

    def add(self, folder: Path) -> Path:
        """Copy a checked submission in; only the files that belong to it, and no verification.

        Raises:
            UserError: its system and revision are on the board already, or it cannot be copied.
        """
        submission = _read(folder)
        if submission.manifest is None:
            raise UserError(f"{folder}: {submission.reason}")
        who = submission.manifest.system
        target = self.folder / slug_of(who.name, who.revision)
        if target.exists():
            raise UserError(f"{target} is there already: give the new one another --revision")
        draft = target.with_name(f".{target.name}.part")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            (draft / GALLERY).mkdir(parents=True)
            names = [CSV, MANIFEST, *(f"{GALLERY}/{shot.sha256}.jpg" for shot in submission.manifest.gallery)]
            for name in names:
                shutil.copyfile(folder / name, draft / name)
            draft.rename(target)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(f"{target} cannot be written ({error.strerror}): mend that, type it again") from None
        return target


def folder_of(path: Path) -> Path:
    """The submission's folder that is meant by the folder itself, or by the table or manifest in it.

    Raises:
        UserError: it is neither.
    """
    if path.is_dir():
        return path
    if path.name not in (CSV, MANIFEST):
        raise UserError(f"{path} is no submission: give its folder, or the {CSV} in it")
    if not path.exists():
        raise UserError(f"{path} is not there: give a submission's folder, or the {CSV} in it")
    return path.parent


def slug_of(name: str, revision: str) -> str:
    """A folder's name for a system's revision: readable, ASCII, and different for different ones."""
    flat = unicodedata.normalize("NFKD", f"{name}-{revision}").encode("ascii", "ignore").decode().casefold()
    text = re.sub(r"[^a-z0-9]+", "-", flat).strip("-")[:40].strip("-")
    mark = hashlib.sha256(f"{name}\n{revision}".encode()).hexdigest()[:8]
    return f"{text}-{mark}" if text else mark


def _read(folder: Path) -> Submission:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST:
            return Submission(folder.name, folder, None, f"{MANIFEST} is larger than {MAX_MANIFEST:,} bytes")
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError:
        return Submission(folder.name, folder, None, f"{MANIFEST} is missing or cannot be read")
    except (ValidationError, ValueError, RecursionError):
        return Submission(folder.name, folder, None, f"{MANIFEST} is not of the form: `leaderboard check` says where")
    return Submission(folder.name, folder, manifest)
