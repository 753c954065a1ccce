"""Manifests that lie, or that somebody changed after signing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chatgenbench.leaderboard import keys
from chatgenbench.leaderboard.manifest import CSV, GALLERY, MANIFEST, Manifest
from tests.leaderboard.boards import Shop, edit_manifest, has, problems_of, resign, set_cell, weak

Edit = Callable[[dict[str, Any]], Any]


def _set(*path: str | int, to: Any) -> Edit:
    def edit(told: dict[str, Any]) -> None:
        place: Any = told
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = to

    return edit


#: Edits that the owner signs: name -> (edit, column, what)
SIGNED: dict[str, tuple[Edit, str, str]] = {
    "other-version": (_set("benchmark", "version", to="0.9"), "benchmark", "another benchmark"),
    "other-hash": (_set("benchmark", "hash", to="ab" * 32), "benchmark", "another benchmark"),
    "other-name": (_set("benchmark", "name", to="bigger"), "benchmark", "another benchmark"),
    "fewer-items": (_set("benchmark", "items", to=6), "benchmark.items", "there are 12"),
    "higher-mean": (_set("metrics", "bertscore", "value", to=0.99), "metrics.bertscore", "the rows' mean is"),
    "higher-slice": (_set("slices", "kind=single", "sbert", "value", to=0.9), "slices.kind=single.sbert", "rows' mean"),
    "no-such-slice": (_set("slices", "kind=best", to={}), "slices", "no slice of the benchmark"),
    "fewer-rows": (_set("metrics", "clipscore", "n", to=3), "metrics.clipscore", "there are 12 rows"),
    "turned-round": (_set("metrics", "fid", "higher_is_better", to=True), "metrics.fid", "lower is better"),
    "renamed": (_set("metrics", "sbert", "title", to="CLIP score"), "metrics.sbert", "it is called"),
    "inside-out": (_set("metrics", "sbert", "low", to=5.0), "metrics.sbert", "ends before it begins"),
    "outside": (
        lambda told: told["metrics"]["fid"].update(low=900.0, high=901.0), "metrics.fid", "is not in its interval",
    ),
    "silent": (lambda told: told["metrics"].pop("hpsv2"), "metrics", "nothing is said of 'hpsv2'"),
    "another-text": (_set("run", "text", to="plan"), "run.text", "another text"),
    "other-weights": (_set("run", "weights", to="mine"), "run.weights", "'mine' weights"),
    "other-rules": (_set("run", "scoring", to=1), "run.scoring", "rules 1"),
    "higher-unified": (_set("metrics", "unified", "value", to=99.0), "metrics.unified", "follows from the others"),
    "invented": (
        lambda told: told["metrics"].update({"beauty": told["metrics"]["sbert"]}), "metrics.beauty", "no row has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_what_an_owner_signs_must_be_true(name: str, spoilt: Path, shop: Shop) -> None:
    edit, where, what = SIGNED[name]
    resign(spoilt, shop.key, edit)
    assert has(problems_of(spoilt, shop), MANIFEST, None, where, what)


#: Edits of the form, which cannot be signed: name -> (edit, column)
FORM: dict[str, tuple[Edit, str]] = {
    "unknown-field": (_set("sponsor", to="x"), "sponsor"),
    "unknown-part": (_set("system", "email", to="x"), "system.email"),
    "no-author": (_set("system", "authors", to=[]), "system.authors"),
    "blank-name": (_set("system", "name", to="  "), "system.name"),
    "long-name": (_set("system", "name", to="n" * 201), "system.name"),
    "script-link": (_set("system", "link", to="javascript:alert(1)"), "system.link"),
    "http-link": (_set("system", "link", to="http://example.org"), "system.link"),
    "turned-round": (_set("system", "name", to="good \u202egpj"), "system.name"),
    "nothing-to-see": (_set("system", "name", to="ora\u200bcle"), "system.name"),
    "escape": (_set("system", "revision", to="1\x1b[2J"), "system.revision"),
    "two-lines": (_set("system", "licence", to="MIT\nand more"), "system.licence"),
    "hidden-data": (_set("system", "training_data", to="none\u2066"), "system.training_data"),
    "quote-in-link": (_set("system", "link", to='https://a"onclick="x'), "system.link"),
    "data-link": (_set("system", "link", to="data:text/html,<script>1</script>"), "system.link"),
    "date": (_set("created", to="yesterday"), "created"),
    "format": (_set("format", to=2), "format"),
    "traversal": (_set("gallery", 0, "sha256", to="../../../../etc/passwd"), "gallery.0.sha256"),
    "cost": (_set("cost", "usd", to=-1), "cost.usd"),
    "cost-text": (_set("cost", "usd", to="free"), "cost.usd"),
    "key": (_set("key", to="zz"), "key"),
    "signature": (_set("signature", to="<script>"), "signature"),
    "many-authors": (_set("system", "authors", to=["a"] * 51), "system.authors"),
    "rows": (_set("table", "rows", to=0), "table.rows"),
}


@pytest.mark.parametrize("name", FORM)
def test_a_wrong_field_is_named(name: str, spoilt: Path, shop: Shop) -> None:
    edit, where = FORM[name]
    edit_manifest(spoilt, edit)
    found = problems_of(spoilt, shop)
    assert any(p.file == MANIFEST and p.column == where for p in found), [str(p) for p in found]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", '"x"', "NaN", "\ufeff{}", '{"format": 1, "format": 1}', "[" * 100_000,
        '{"cost": {"usd": 1e999}}',
    ],
    ids=["empty", "open", "null", "list", "text", "nan", "bom", "twice", "deep", "huge-number"],
)  # fmt: skip
def test_no_manifest(text: str, spoilt: Path, shop: Shop) -> None:
    (spoilt / MANIFEST).write_text(text, "utf-8")
    assert any(p.file == MANIFEST for p in problems_of(spoilt, shop))


def test_infinity_in_a_claim(spoilt: Path, shop: Shop) -> None:
    text = (spoilt / MANIFEST).read_text("utf-8")
    value = json.loads(text)["metrics"]["sbert"]["value"]
    (spoilt / MANIFEST).write_text(text.replace(f'"value": {value!r}', '"value": Infinity', 1), "utf-8")
    assert any(p.file == MANIFEST for p in problems_of(spoilt, shop))


def test_a_manifest_of_ten_megabytes_is_not_read(spoilt: Path, shop: Shop) -> None:
    (spoilt / MANIFEST).write_text('{"x": "' + "a" * 10_000_000 + '"}')
    assert has(problems_of(spoilt, shop), MANIFEST, None, None, "more than 5,000,000")


# ------------------------------------------------------------------ signatures


def test_a_row_edited_after_signing(spoilt: Path, shop: Shop) -> None:
    set_cell(spoilt, 3, "bertscore", "0.999999999")
    assert has(problems_of(spoilt, shop), MANIFEST, None, "table.sha256", "changed after signing")


def test_a_row_added_after_signing(spoilt: Path, shop: Shop) -> None:
    with (spoilt / CSV).open("a") as file:
        file.write("i9-single,ok\n")
    assert has(problems_of(spoilt, shop), MANIFEST, None, "table.size", "were signed")


@pytest.mark.parametrize("field", ["name", "revision", "training_data", "licence"])
def test_a_field_edited_after_signing(field: str, spoilt: Path, shop: Shop) -> None:
    edit_manifest(spoilt, _set("system", field, to="something else"))
    assert has(problems_of(spoilt, shop), MANIFEST, None, "signature", "changed after signing")


def test_another_key_in_the_manifest(spoilt: Path, shop: Shop) -> None:
    edit_manifest(spoilt, _set("key", to=keys.public_of(Ed25519PrivateKey.generate())))
    assert has(problems_of(spoilt, shop), MANIFEST, None, "signature", "changed after signing")


def test_no_signature(spoilt: Path, shop: Shop) -> None:
    edit_manifest(spoilt, lambda told: told.update({"signature": "", "key": ""}))
    assert has(problems_of(spoilt, shop), MANIFEST, None, "signature", "not signed")


def test_a_key_that_is_no_point(spoilt: Path, shop: Shop) -> None:
    edit_manifest(spoilt, _set("key", to="ff" * 32))
    assert has(problems_of(spoilt, shop), MANIFEST, None, "signature", "changed after signing")


def test_a_replayed_signature_and_file(spoilt: Path, sound: Path, shop: Shop) -> None:
    """Somebody sends another's file under a name of their own, signed by their own key."""
    board = shop.board(sound)
    known = [s.manifest for s in board.submissions() if s.manifest]
    thief = Ed25519PrivateKey.generate()
    resign(spoilt, thief, _set("system", "name", to="better"))
    assert has(problems_of(spoilt, shop, known=known), MANIFEST, None, "table.sha256", "the file of 'mine' 1")
    edit_manifest(spoilt, _set("signature", to=known[0].signature))
    assert has(problems_of(spoilt, shop, known=known), MANIFEST, None, "signature", "the signature of 'mine' 1")


def test_the_same_system_and_revision_twice(shop: Shop, sound: Path) -> None:
    board = shop.board(sound)
    known = [s.manifest for s in board.submissions() if s.manifest]
    again = shop.submission("MINE", weak, seed=3)
    assert has(problems_of(again, shop, known=known), MANIFEST, None, "system", "on the board already")
    assert problems_of(sound, shop, known=known) == []


def test_the_name_of_another_and_of_a_reference_system(shop: Shop, sound: Path) -> None:
    board, other = shop.board(sound), Ed25519PrivateKey.generate()
    known = [s.manifest for s in board.submissions() if s.manifest]
    taken = shop.submission("mine", weak, seed=2, revision="2", key=other)
    assert has(problems_of(taken, shop, known=known), MANIFEST, None, "system.name", "another key's")
    oracle = shop.submission("Oracle", weak, seed=2, key=other)
    trusted = board.maintainers()
    assert has(problems_of(oracle, shop, maintainers=trusted), MANIFEST, None, "system.name", "only a maintainer")
    wide = shop.submission("\uff4f\uff52acle", weak, seed=2, key=other)
    assert has(problems_of(wide, shop, maintainers=trusted), MANIFEST, None, "system.name", "only a maintainer")
    own = shop.submission("oracle", seed=0, key=shop.maintainer)
    assert problems_of(own, shop, maintainers=trusted) == []


# ------------------------------------------------------------------ the folder


def _first(folder: Path) -> Path:
    return next((folder / GALLERY).iterdir())


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no-csv": (lambda f: (f / CSV).unlink(), "is missing"),
    "no-manifest": (lambda f: (f / MANIFEST).unlink(), "is missing"),
    "more": (lambda f: (f / "run.sh").write_text("rm -rf /"), "belongs to no submission"),
    "link": (lambda f: (f / "passwd").symlink_to("/etc/passwd"), "is a link"),
    "csv-is-a-link": (
        lambda f: (shutil.move(f / CSV, f.parent / "t.csv"), (f / CSV).symlink_to(f.parent / "t.csv")), "is a link",
    ),
    "csv-is-a-folder": (lambda f: ((f / CSV).unlink(), (f / CSV).mkdir()), "no plain file"),
    "csv-is-a-pipe": (lambda f: ((f / CSV).unlink(), os.mkfifo(f / CSV)), "no plain file"),
    "gallery-link": (
        lambda f: (shutil.rmtree(f / GALLERY), (f / GALLERY).symlink_to("/etc", target_is_directory=True)), "is a link",
    ),
    "shot-gone": (lambda f: _first(f).unlink(), "is missing or no plain file"),
    "shot-changed": (lambda f: _first(f).write_bytes(b"GIF89a"), "is not the picture"),
    "shot-large": (lambda f: _first(f).write_bytes(b"x" * 70_000), "has more than"),
    "shot-more": (lambda f: (f / GALLERY / "x.svg").write_text("<svg onload='alert(1)'/>"), "not in the manifest"),
    "shot-link": (lambda f: (p := _first(f), p.unlink(), p.symlink_to("/etc/passwd")), "no plain file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_holds_something_else(name: str, spoilt: Path, shop: Shop) -> None:
    spoil, what = FILES[name]
    spoil(spoilt)
    found = problems_of(spoilt, shop)
    assert any(what in p.what for p in found), [str(p) for p in found]


def test_a_gallery_picture_that_is_no_jpeg(spoilt: Path, shop: Shop) -> None:
    """An SVG under the hash that the owner signed."""
    data = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    digest = hashlib.sha256(data).hexdigest()
    (spoilt / GALLERY / f"{digest}.jpg").write_bytes(data)
    resign(spoilt, shop.key, _set("gallery", 0, "sha256", to=digest))
    assert has(problems_of(spoilt, shop), f"{GALLERY}/{digest}.jpg", None, None, "no JPEG")


def test_a_gallery_picture_of_something_else(spoilt: Path, shop: Shop) -> None:
    """A fine JPEG, signed by its owner, that the plan does not draw."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 80), 90).convert("RGB").save(buffer, "JPEG")
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    (spoilt / GALLERY / f"{digest}.jpg").write_bytes(buffer.getvalue())
    resign(spoilt, shop.key, _set("gallery", 0, "sha256", to=digest))
    assert has(problems_of(spoilt, shop), f"{GALLERY}/{digest}.jpg", None, None, "no thumbnail of the row's picture")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_manifest_gives_problems_and_no_exception(data: bytes, spoilt: Path, shop: Shop) -> None:
    (spoilt / MANIFEST).write_bytes(data)
    assert any(p.file == MANIFEST for p in problems_of(spoilt, shop))


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(sorted(Manifest.model_fields)), value=_JSON)
def test_any_value_in_any_field_gives_problems_and_no_exception(
    field: str, value: Any, spoilt: Path, sound: Path, shop: Shop
) -> None:
    told = json.loads((sound / MANIFEST).read_text("utf-8"))
    same = told[field] == value
    (spoilt / MANIFEST).write_text(json.dumps(told | {field: value}), "utf-8")
    assert bool(problems_of(spoilt, shop)) != same
