"""A finished run becomes a submission: submission.csv, manifest.json and a small gallery, signed."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError, RunFolderError, UserError
from chatgenbench.evaluate.pipeline import picture_seed
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import Settings
from chatgenbench.evaluate.summary import costs
from chatgenbench.leaderboard import columns, keys
from chatgenbench.leaderboard.manifest import (
    CSV,
    GALLERY,
    MANIFEST,
    Claim,
    Cost,
    How,
    Manifest,
    Shot,
    Table,
    What,
    Who,
)
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.report.data import RunData, stratified
from chatgenbench.schema import ARGUMENT_KEYS, Outcome

#: Thumbnails of the gallery, their longer side in pixels, and the quality they are written with.
SHOTS, SIDE, QUALITY = 48, 256, 80


def submit(
    run: RunData, benchmark: Benchmark, who: Who, cost: Cost, key: Ed25519PrivateKey, out: Path, created: str,
    shots: int = SHOTS,
) -> Path:  # fmt: skip
    """Write the submission of a finished run of all items to the folder `out`, and return it.

    What `cost` leaves open is filled in from the run, where it knows.

    Raises:
        RunFolderError: rows are missing or not finished, or their pictures are gone.
        UserError: `out` holds something else.
        InfraError: the disk refuses.
    """
    _refuse(run, benchmark)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file())):
        raise UserError(f"--out {out} holds something else: choose a new folder")
    draft = out.absolute().with_name(f".{out.absolute().name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        data = _table(run).encode()
        (draft / CSV).write_bytes(data)
        table = Table(sha256=hashlib.sha256(data).hexdigest(), rows=len(run.rows), size=len(data))
        gallery = _gallery(run, benchmark, draft / GALLERY, shots)
        manifest = _manifest(run, benchmark, who, cost, table, gallery, created)
        (draft / MANIFEST).write_text(keys.sign(manifest, key).model_dump_json(indent=1) + "\n", "utf-8")
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    except OSError as error:
        raise InfraError(f"cannot write {out}: {error.strerror or error}; mend that, type it again") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _refuse(run: RunData, benchmark: Benchmark) -> None:
    path = run.folder.path
    if len(run.rows) < len(benchmark.items):
        raise RunFolderError(
            f"{path} has {len(run.rows)} of {len(benchmark.items)} items: run it again without --limit, into the same "
            "folder, then submit"
        )
    if run.manifest["identity"].get("bases"):
        raise RunFolderError(f"{path} was drawn with --base, and the board's pictures are not: run it again without")
    failed = sum(row.outcome is Outcome.INFRA_FAILED for row in run.rows)
    if failed:
        raise RunFolderError(f"{failed} rows of {path} are infra-failed: type its eval command again, then submit")
    for row in run.rows:
        picture = run.drawn(row)
        if picture is not None and not picture.is_file():
            raise RunFolderError(f"the picture of '{row.item.id}' is gone ({picture}): type the eval command again")


def _table(run: RunData) -> str:
    out = io.StringIO(newline="")
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow((*columns.FIXED, *run.columns))
    settings = _settings(run)
    for row in run.rows:
        cells = _cells(run, row, settings)
        scores = run.scores.get(row.item.id, {})
        fixed = (cells.get(name, "") for name in columns.FIXED)
        lines.writerow((*fixed, *(columns.number(scores.get(name)) for name in run.columns)))
    return out.getvalue()


def _settings(run: RunData) -> Settings:
    told: Mapping[str, Any] = run.manifest["settings"]
    return Settings(benchmark=str(told["benchmark"]), system=str(told["system"]), seed=int(told["seed"]))


def _cells(run: RunData, row: Row, settings: Settings) -> dict[str, Any]:
    """The cells of one row; what is not there is empty."""
    cells: dict[str, Any] = {
        "id": row.item.id, "outcome": str(row.outcome), "reason": columns.text(row.reason),
        "seconds": columns.number(row.planned.latency), "tokens": "" if (n := row.planned.tokens) is None else n,
    }  # fmt: skip
    if row.plan is not None:
        asked = row.plan.arguments
        cells |= {
            "prompt": columns.text(row.plan.prompt), "negative_prompt": columns.text(row.plan.negative_prompt),
            "model": columns.text(row.plan.model), "ranking": columns.text(columns.JOINT.join(row.plan.ranking)),
            "seed": picture_seed(settings, row.item.id) if asked.seed is None else asked.seed,
        }  # fmt: skip
        for name in (*ARGUMENT_KEYS, "clip_skip", "lora_weight"):
            value = getattr(asked, name)
            cells[name] = columns.text(value) if isinstance(value, str) else "" if value is None else f"{value:g}"
    picture = run.drawn(row)
    if picture is not None:
        cells |= {"image_sha256": row.image_sha256, "image_phash": phash(picture)}
    return cells


def phash(path: PictureFile) -> str:
    """Perceptual hash of a picture, 16 hexadecimal digits."""
    import imagehash
    from PIL import Image

    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return str(imagehash.phash(image.convert("RGB")))


def _gallery(run: RunData, benchmark: Benchmark, folder: Path, shots: int) -> tuple[Shot, ...]:
    """Thumbnails of stratified rows, without anything but pixels."""
    from PIL import Image

    pictured = [row for row in run.rows if run.drawn(row) is not None]
    chosen = stratified(benchmark, pictured, shots)
    found = []
    for row in pictured:
        picture = run.drawn(row)
        if row.item.id not in chosen or picture is None:
            continue
        with Image.open(io.BytesIO(picture.read_bytes())) as image:
            small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=QUALITY)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        folder.mkdir(exist_ok=True)
        (folder / f"{digest}.jpg").write_bytes(buffer.getvalue())
        found.append(Shot(item=row.item.id, sha256=digest))
    return tuple(found)


def _manifest(
    run: RunData, benchmark: Benchmark, who: Who, cost: Cost, table: Table, gallery: tuple[Shot, ...], created: str
) -> Manifest:
    told, identity = run.manifest, run.manifest["identity"]
    means = _means(run)
    metrics = _claims(run.summary["metrics"], means(run.rows))
    places: dict[str, list[Row]] = {}
    for row in run.rows:
        for name, value in row.slices.items():
            places.setdefault(f"{name}={value}", []).append(row)
    return Manifest(
        system=who, table=table, gallery=gallery, created=created, metrics=metrics,
        benchmark=What(
            name=benchmark.manifest.name, version=benchmark.manifest.version, hash=benchmark.hash,
            items=len(benchmark.items),
        ),
        run=How(
            seed=int(identity["seed"]), text=identity["text"], weights=str(identity["weights"]), drawn=run.pictured,
            scoring=int(run.summary["scoring"]), device=str(told.get("device", "")), dtype=str(told.get("dtype", "")),
            engine=str(told.get("engine", "")), versions=dict(told["versions"]),
        ),
        cost=_cost(run, cost),
        slices={
            where: _claims(entries, means(places[where])) for where, entries in run.summary["slices"].items()
        },
    )  # fmt: skip


def _means(run: RunData) -> Any:
    """Means as whoever reads the CSV finds them."""
    spelt = {
        row.item.id: {m: float(columns.number(run.scores[row.item.id][m])) for m in run.columns} for row in run.rows
    }

    def means(rows: Sequence[Row]) -> dict[str, float]:
        return {m: float(np.mean([spelt[row.item.id][m] for row in rows])) for m in run.columns}

    return means


def _claims(entries: Mapping[str, Mapping[str, Any]], means: Mapping[str, float]) -> dict[str, Claim]:
    return {
        metric: Claim(
            value=means.get(metric, entry["value"]), low=entry["low"], high=entry["high"], n=entry["n"],
            title=entry["title"], unit=entry["unit"], higher_is_better=entry["higher_is_better"],
        )
        for metric, entry in entries.items() if entry["value"] is not None
    }  # fmt: skip


def _cost(run: RunData, stated: Cost) -> Cost:
    """Means per item of what the run counted for every row; what the submitter states comes first."""
    counted = costs(run.rows)
    seconds = float(np.mean([row.planned.latency for row in run.rows]))
    whole = {name: told["mean"] for name, told in counted.items() if told["rows"] == len(run.rows)}
    tokens, usd = whole.get("tokens"), whole.get("usd")
    return Cost(
        seconds=round(seconds, 6) if stated.seconds is None else stated.seconds,
        tokens=(None if tokens is None else round(tokens, 3)) if stated.tokens is None else stated.tokens,
        usd=(None if usd is None else round(usd, 9)) if stated.usd is None else stated.usd,
    )
