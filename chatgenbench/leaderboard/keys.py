"""Ed25519 keys: who signed a submission, and whether a byte of it was changed since."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.manifest import Manifest

DOMAIN = b"chatgenbench submission v1\n"


def keygen(path: Path) -> str:
    """Write a new private key (PKCS8 PEM, readable by its owner alone) to `path`; returns the public key, 64 digits.

    Raises:
        UserError: there is a file already, or it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise UserError(f"{path} is there already, and a lost key cannot be made again: choose another name") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place") from None
    return public_of(key)


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in a file.

    Raises:
        UserError: it is not there, or no such key.
    """
    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UserError(
            f"no key at {path} ({error.strerror}): make one with `chatgenbench leaderboard keygen {path}`"
        ) from None
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise UserError(f"{path} holds no unencrypted Ed25519 private key: make one with `leaderboard keygen`")
    return found


def public_of(key: Ed25519PrivateKey) -> str:
    """The public half of a key, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def sign(manifest: Manifest, key: Ed25519PrivateKey) -> Manifest:
    """The manifest with the key's public half and its signature."""
    named = manifest.model_copy(update={"key": public_of(key), "signature": ""})
    return named.model_copy(update={"signature": key.sign(_signed(named)).hex()})


def check_signature(manifest: Manifest) -> str | None:
    """Why the signature is not that of this manifest by its key; None when it is."""
    if not manifest.key or not manifest.signature:
        return "it is not signed"
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(manifest.key))
        public.verify(bytes.fromhex(manifest.signature), _signed(manifest))
    except (InvalidSignature, ValueError):
        return "its signature is not that of this manifest: something was changed after signing"
    return None


def _signed(manifest: Manifest) -> bytes:
    told = manifest.model_dump(mode="json", exclude={"signature"})
    return DOMAIN + json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
