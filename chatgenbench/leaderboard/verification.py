"""verification.json: what a maintainer found when computing a submission again, signed with the maintainer's key."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.manifest import VERIFICATION, Manifest, Part, Sha256
from chatgenbench.leaderboard.results import Level

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DOMAIN = b"chatgenbench verification v1\n"


class Difference(Part):
    """One number that came out otherwise than claimed; `item` is "" for values of the whole set."""

    item: str
    what: str
    claimed: str
    found: str


class Verification(Part):
    """What was computed again, and what came of it.

    `rerun` names the rows whose pictures were drawn again, `exact` says how many of those had the very same bytes;
    `largest` is the largest difference by metric; `failures` are beyond `tolerances`.  `secret` is a fingerprint of
    what the rows were chosen by.
    """

    format: Literal[1] = 1
    table: Sha256
    benchmark: Sha256
    level: Level
    rows: int
    rerun: tuple[str, ...] = ()
    exact: int = 0
    largest: dict[str, float] = Field(default_factory=dict)
    failures: tuple[Difference, ...] = ()
    tolerances: dict[str, float] = Field(default_factory=dict)
    engine: str = ""
    device: str = ""
    created: str
    secret: str = ""
    key: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    signature: str = Field(default="", pattern=r"^([0-9a-f]{128})?$")

    def signed(self) -> bytes:
        """The bytes that `signature` is of."""
        told = self.model_dump(mode="json", exclude={"signature"})
        return DOMAIN + json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def read(folder: Path) -> Verification | None:
    """The verification in a submission's folder; None if there is none, or it cannot be read."""
    try:
        return Verification.model_validate_json((folder / VERIFICATION).read_bytes())
    except (OSError, ValidationError):
        return None


def level_of(folder: Path, manifest: Manifest, maintainers: Collection[str]) -> Level:
    """How far an entry was looked into, as a maintainer whose public key is among `maintainers` signed it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = read(folder)
    if found is None or found.key not in maintainers or found.table != manifest.table.sha256:
        return "claimed"
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.key)).verify(
            bytes.fromhex(found.signature), found.signed()
        )
    except (InvalidSignature, ValueError):
        return "claimed"
    return found.level


def read_maintainers(path: Path) -> frozenset[str]:
    """Public keys (64 hexadecimal digits) of those whose verifications count, one a line, `#` begins a comment.

    Raises:
        UserError: a line is no key.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path} cannot be read: it must be a text file of public keys, one a line") from None
    found = set()
    for number, line in enumerate(lines, 1):
        key = line.partition("#")[0].strip().lower()
        if key and (len(key) != 64 or not set(key) <= set("0123456789abcdef")):
            raise UserError(f"{path}, line {number}: no public key: write the 64 digits that `keygen` printed")
        if key:
            found.add(key)
    return frozenset(found)


def signed_by(found: Verification, key: Ed25519PrivateKey) -> Verification:
    """The verification with a maintainer's key and signature."""
    public = key.public_key().public_bytes_raw().hex()
    named = found.model_copy(update={"key": public, "signature": ""})
    return named.model_copy(update={"signature": key.sign(named.signed()).hex()})
