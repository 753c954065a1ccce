"""Everything that is wrong with a submission, at once.  Nothing in it is trusted, and nothing in it is run."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chatgenbench.benchmark import Benchmark
from chatgenbench.leaderboard.board import MAX_MANIFEST
from chatgenbench.leaderboard.check_rows import Rows
from chatgenbench.leaderboard.keys import check_signature
from chatgenbench.leaderboard.manifest import CSV, GALLERY, MANIFEST, VERIFICATION, Claim, Manifest
from chatgenbench.leaderboard.problems import Problem, Problems
from chatgenbench.leaderboard.terms import strange
from chatgenbench.systems.declare import BUILTINS

#: Metrics of the whole set, which no row has.
SETS = ("fid", "unified")
MAX_SHOT, MAX_SIDE = 64_000, 512
#: A thumbnail is of the row's picture when at most so many of the 64 bits of their perceptual hashes differ.
SHOT_BITS = 12
#: Relative difference of a stated mean and that of the rows, which have nine digits.
ROUNDING = 1e-6


def check(
    path: Path, benchmark: Benchmark, known: Iterable[Manifest] = (), maintainers: Collection[str] | None = None
) -> list[Problem]:
    """The problems of the submission in a folder (or whose CSV or manifest is given); empty when it is sound.

    Args:
        known: manifests that are on the board, of which this may be no copy.
        maintainers: public keys that may submit under the name of a reference system; None: not known, all may.
    """
    problems = Problems()
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        return [Problem(str(path), None, None, "is not there", "give a submission's folder")]
    _files(folder, problems)
    manifest = _manifest(folder, problems)
    if manifest is not None:
        _who(manifest, folder, benchmark, known, maintainers, problems)
    rows = Rows(benchmark, manifest.run.drawn if manifest else benchmark.manifest.pictures, problems, CSV)
    if (folder / CSV).exists():
        rows.read(folder / CSV)
    if manifest is not None:
        _gallery(folder, manifest, benchmark, rows.phashes, problems)
        if rows.whole:
            _claims(manifest, rows, benchmark, problems)
    return problems.all()


def _files(folder: Path, problems: Problems) -> None:
    for name in (CSV, MANIFEST):
        if not (folder / name).exists():
            problems.tell(Problem(name, None, None, "is missing", "write it with `leaderboard submit`"))
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            problems.tell(Problem(path.name, None, None, "is a link or no plain file", "put the file itself there"))
        elif path.name not in (CSV, MANIFEST, VERIFICATION, GALLERY):
            problems.tell(Problem(path.name, None, None, "belongs to no submission", "take it out"))


def _manifest(folder: Path, problems: Problems) -> Manifest | None:
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > MAX_MANIFEST:
        told = f"has {path.stat().st_size:,} bytes, more than {MAX_MANIFEST:,}"
        problems.tell(Problem(MANIFEST, None, None, told, "write it again"))
        return None
    try:
        value = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_once)
        return Manifest.model_validate_json(json.dumps(value))
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            where = ".".join(map(str, fault["loc"]))
            problems.tell(Problem(MANIFEST, None, where, fault["msg"], "see docs/SUBMISSIONS.md"))
    except (ValueError, RecursionError, OSError) as error:
        told = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON in UTF-8 ({error})"
        problems.tell(Problem(MANIFEST, None, None, told, "write it with `leaderboard submit`"))
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _who(
    manifest: Manifest, folder: Path, benchmark: Benchmark, known: Iterable[Manifest],
    maintainers: Collection[str] | None, problems: Problems,
) -> None:  # fmt: skip
    """Signature, file and benchmark, and whether it is a copy."""

    def tell(where: str, what: str, mend: str) -> None:
        problems.tell(Problem(MANIFEST, None, where, what, mend))

    if (why := check_signature(manifest)) is not None:
        tell("signature", why, "submit the run again")
    told, ours = manifest.benchmark, benchmark.manifest
    if told.hash != benchmark.hash or (told.name, told.version) != (ours.name, ours.version):
        mend = f"run on '{ours.name}' {ours.version}, or name another --benchmark"
        tell("benchmark", f"it is of '{told.name}' {told.version}, another benchmark", mend)
    if told.items != len(benchmark.items):
        tell("benchmark.items", f"{told.items} items, there are {len(benchmark.items)}", "run without --limit")
    for field, what, mend in strange(manifest.run, benchmark):
        tell(f"run.{field}", what, mend)
    _table(manifest, folder / CSV, tell)
    who = manifest.system
    if maintainers is not None and who.plain in BUILTINS and manifest.key not in maintainers:
        tell(
            "system.name", f"'{who.name}' is a reference system, which only a maintainer submits", "choose another name"
        )
    for other in known:
        name = f"'{other.system.name}' {other.system.revision}"
        if other == manifest:
            continue
        if other.table.sha256 == manifest.table.sha256:
            tell("table.sha256", f"it is the file of {name} on the board", "submit a run of your own")
        if other.signature == manifest.signature:
            tell("signature", f"it is the signature of {name} on the board", "sign your own manifest")
        if (other.system.plain, other.system.revision) == (who.plain, who.revision):
            tell("system", f"{name} is on the board already", "choose another name or revision")
        elif other.system.plain == who.plain and other.key != manifest.key:
            tell("system.name", f"{name} on the board is another key's", "sign with that key, or choose another name")


def _table(manifest: Manifest, path: Path, tell: Any) -> None:
    if path.is_symlink() or not path.is_file():
        return
    size = path.stat().st_size
    if size != manifest.table.size:
        tell("table.size", f"{CSV} has {size:,} bytes, {manifest.table.size:,} were signed", "submit the run again")
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest.table.sha256:
            tell("table.sha256", f"{CSV} was changed after signing", "submit the run again")


def _gallery(
    folder: Path, manifest: Manifest, benchmark: Benchmark, phashes: Mapping[str, str], problems: Problems
) -> None:
    named = set()
    for shot in manifest.gallery:
        hashed = phashes.get(shot.item)
        name = f"{GALLERY}/{shot.sha256}.jpg"
        named.add(f"{shot.sha256}.jpg")
        if shot.item not in benchmark.by_id:
            problems.tell(Problem(MANIFEST, None, "gallery", f"'{shot.item}' is no item", "take the shot out"))
        if (what := _shot(folder / name, shot.sha256, hashed)) is not None:
            problems.tell(Problem(name, None, None, what, "submit the run again"))
    if (folder / GALLERY).is_dir() and not (folder / GALLERY).is_symlink():
        for path in sorted((folder / GALLERY).iterdir()):
            if path.name not in named:
                problems.tell(Problem(f"{GALLERY}/{path.name}", None, None, "is not in the manifest", "take it out"))


def _shot(path: Path, sha256: str, hashed: str | None) -> str | None:
    """What is wrong with the thumbnail of a picture of this perceptual hash; None if nothing is."""
    import imagehash
    from PIL import Image

    if path.is_symlink() or not path.is_file():
        return "is missing or no plain file"
    if path.stat().st_size > MAX_SHOT:
        return f"has more than {MAX_SHOT:,} bytes"
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return "is not the picture it is named after"
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            if max(image.size) > MAX_SIDE:
                return f"is larger than {MAX_SIDE} pixels"
            if hashed is not None and _bits(imagehash.phash(image.convert("RGB")), hashed) > SHOT_BITS:
                return "is no thumbnail of the row's picture (by its perceptual hash)"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "is no JPEG"
    return None


def _bits(found: Any, told: str) -> int:
    import imagehash

    return int(found - imagehash.hex_to_hash(told))


def _claims(manifest: Manifest, rows: Rows, benchmark: Benchmark, problems: Problems) -> None:
    """What the manifest says of all rows and of slices against the rows themselves."""
    places: dict[str, list[str]] = defaultdict(list)
    for item in benchmark.items:
        gold = benchmark.gold(item)
        for name, value in {"split": item.split, "kind": item.input.kind, **gold.slices, **item.slices}.items():
            places[f"{name}={value}"].append(item.id)
    _unified(manifest, problems)
    _compare("metrics", manifest.metrics, rows, [item.id for item in benchmark.items], problems)
    for metric in rows.metrics:
        if metric not in manifest.metrics:
            told = f"nothing is said of '{metric}'"
            problems.tell(Problem(MANIFEST, None, "metrics", told, "submit the run again"))
    for where, claims in manifest.slices.items():
        if where not in places:
            told = f"'{where}' is no slice of the benchmark"
            problems.tell(Problem(MANIFEST, None, "slices", told, "take it out"))
        else:
            _compare(f"slices.{where}", claims, rows, places[where], problems)


def _unified(manifest: Manifest, problems: Problems) -> None:
    """The unified score follows from the means that are stated beside it."""
    from t2imetrics.unified import PARTS, unified

    for where, claims in {
        "metrics": manifest.metrics,
        **{f"slices.{k}": v for k, v in manifest.slices.items()},
    }.items():
        if "unified" not in claims or not all(part in claims for part in PARTS):
            continue
        wanted = unified(*(claims[part].value for part in PARTS))
        stated = claims["unified"].value
        if abs(wanted - stated) > ROUNDING * max(1.0, abs(wanted)):
            told = f"{stated:.9g} is stated, it follows from the others as {wanted:.9g}"
            problems.tell(Problem(MANIFEST, None, f"{where}.unified", told, "submit the run again"))


def _compare(where: str, claims: Mapping[str, Claim], rows: Rows, items: list[str], problems: Problems) -> None:
    for metric, claim in claims.items():
        place = f"{where}.{metric}"

        def tell(what: str, place: str = place) -> None:
            problems.tell(Problem(MANIFEST, None, place, what, "submit the run again"))

        if metric not in rows.values and metric not in SETS:
            tell("no row has this metric")
            continue
        if (about := _about(metric)) != (claim.title, claim.higher_is_better):
            tell(f"it is called '{about[0]}', {'higher' if about[1] else 'lower'} is better")
        if None not in (claim.low, claim.high) and not float(claim.low or 0) <= float(claim.high or 0):
            tell("its interval ends before it begins")
        if claim.n != len(items):
            tell(f"n is {claim.n}, there are {len(items)} rows")
        if metric in SETS:
            if claim.low is not None and claim.high is not None and not claim.low <= claim.value <= claim.high:
                tell("its value is not in its interval")
            continue
        mean = sum(rows.values[metric][item] for item in items) / len(items)
        if abs(mean - claim.value) > ROUNDING * max(1.0, abs(mean)):
            tell(f"{claim.value:.9g} is stated, the rows' mean is {mean:.9g}")


def _about(metric: str) -> tuple[str, bool]:
    """Title and direction that a metric has here; its unit depends on its weights."""
    import t2imetrics

    from chatgenbench.evaluate.summary import describe

    found = describe(metric, {metric: t2imetrics.card(metric)} if metric in t2imetrics.list() else {})
    return str(found["title"]), bool(found["higher_is_better"])
