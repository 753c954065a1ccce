"""Keys: nobody else reads them, nothing overwrites them, and only they sign."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from chatgenbench.errors import UserError
from chatgenbench.leaderboard import keys
from tests import cli


def test_a_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "my key.pem"
    public = keys.keygen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.public_of(keys.load(path)) == public
    before = path.read_bytes()
    with pytest.raises(UserError, match="is there already"):
        keys.keygen(path)
    assert path.read_bytes() == before


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(UserError, match="leaderboard keygen"):
        keys.load(path)
    for data in (
        b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        keys.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
    ):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(UserError, match="no unencrypted Ed25519 private key"):
            keys.load(path)


def test_the_command_prints_the_public_half_only(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    done = cli.run("leaderboard", "keygen", str(path), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert keys.public_of(keys.load(path)) in done.stdout
    assert "PRIVATE" not in done.stdout
    again = cli.run("leaderboard", "keygen", str(path), home=tmp_path)
    assert again.returncode == 1
    assert "choose another name" in again.stderr
