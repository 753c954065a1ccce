"""A small benchmark and finished runs of it, written by the very functions that write real ones.

Only the scores are made up: no weights are loaded, so that pages can be tested in a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import t2imetrics
from PIL import Image

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.evaluate import ladder
from chatgenbench.evaluate.pipeline import Finished, read_finished, state_of
from chatgenbench.evaluate.rows import Row, join
from chatgenbench.evaluate.run import RunFolder, Settings, open_run, write_json
from chatgenbench.evaluate.score import IMAGE_METRICS, TEXT_METRICS, Scored
from chatgenbench.evaluate.stepwise import score_plans
from chatgenbench.evaluate.submission import write_tables
from chatgenbench.evaluate.summary import summarise
from chatgenbench.journal import Journal
from chatgenbench.render.pool import Pool
from chatgenbench.schema import DrawnRow, Failure, Item, Outcome, Plan, PlannedRow

LABEL = "miniature weights; not comparable with the paper"
MODELS = ("inkSketch_v1", "glossyToy_v3")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" & 'single' <!-- {{ 7*7 }} \u2028"

#: What a system answers for an item, given its gold plan.
Answer = Callable[[Item, Plan], Plan | Failure]


def write_benchmark(root: Path, pairs: int = 6, chat: str = "draw me thing") -> Benchmark:
    """`pairs` demonstrations in two styles and splits, each with a single-turn and a multimodal item."""
    (root / "pictures").mkdir(parents=True)
    demonstrations, items = [], []
    for k in range(pairs):
        name = f"pictures/d{k}.png"
        Image.new("RGB", (64, 80), (20 * k % 256, 90, 200)).save(root / name)
        model, split = MODELS[k % 2], ("supervised", "few-shot")[k % 2]
        demonstrations.append(_demonstration(k, name, model, split, (root / name).read_bytes()))
        for kind in ("single", "multimodal"):
            images = ["pictures/d0.png"] if kind == "multimodal" else []
            messages = [{"role": "user", "text": f"{chat} {k}", "images": images}]
            key = f"i{k}-{kind}"
            chats = {"id": key, "kind": kind, "messages": messages}
            items.append({"id": key, "input": chats, "demonstration": f"d{k}", "split": split})
    manifest = {
        "name": "miniature", "version": "1", "label": LABEL, "licence": "MIT", "weights": "miniature",
        "default_model": MODELS[0], "few_shot_threshold": 2,
    }  # fmt: skip
    (root / "benchmark.json").write_text(json.dumps(manifest))
    tables = {"catalog": [_model(n) for n in MODELS], "demonstrations": demonstrations, "items": items}
    for name, rows in tables.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_benchmark(str(root))


def _model(name: str) -> dict[str, object]:
    return {
        "id": name, "name": name, "file_stem": name, "type": "checkpoint", "base_model": "SD 1.5", "description": "x",
        "sha256": hashlib.sha256(name.encode()).hexdigest(), "files": {"diffusers": "m"}, "licence": {"spdx": "MIT"},
    }  # fmt: skip


def _demonstration(k: int, picture: str, model: str, split: str, data: bytes) -> dict[str, object]:
    arguments = {"sampler": "Euler a", "steps": 20 + k, "cfg_scale": 3.5, "width": 64, "height": 80}
    plan = {"prompt": f"thing {k}, clean style", "negative_prompt": "blurry", "model": model, "arguments": arguments}
    return {
        "id": f"d{k}", "plan": plan, "picture": picture, "picture_sha256": hashlib.sha256(data).hexdigest(),
        "split": split, "source": "test", "licence": "MIT", "attribution": "", "slices": {"style": f"style {k % 2}"},
    }  # fmt: skip


def gold_answer(item: Item, gold: Plan) -> Plan | Failure:
    return gold


def write_run(
    path: Path, benchmark: Benchmark, pool: Pool, system: str = "oracle", answer: Answer = gold_answer,
    limit: int | None = None, seed: int = 0, picture: Callable[[Item, Plan], Image.Image] | None = None,
    approximated: Callable[[Plan], str | None] = lambda plan: None, unanswered: Sequence[str] = (),
) -> RunFolder:  # fmt: skip
    """Write a whole run folder; scores are seeded noise around values that differ by `seed`."""
    settings = Settings(benchmark="miniature", system=system, seed=seed, limit=limit, device="cpu")
    path.mkdir(parents=True)
    folder = open_run(path, settings, benchmark, (system, "1"), {"device": "cpu", "engine": "test", "pool": "p"})
    folder.manifest.write_text(json.dumps(folder.read_manifest() | {"created": "2026-01-02T03:04:05+00:00"}))
    items = benchmark.subset(limit)
    with Journal(folder.plans) as plans, Journal(folder.pictures) as pictures:
        for item in items:
            if item.id in unanswered:
                continue
            given = answer(item, benchmark.gold(item).plan)
            plans.append(_planned(item, given).model_dump(mode="json"))
            if isinstance(given, Plan):
                image = picture(item, given) if picture else Image.new("RGB", (64, 64), (0, len(item.id), seed))
                row = _drawn(item, given, image, pool, seed)
                pictures.append(row.model_copy(update={"approximated": approximated(given)}).model_dump(mode="json"))
    finish(folder, join(folder, benchmark, items), benchmark, settings)
    return folder


def write_ladder(folder: RunFolder, benchmark: Benchmark, pool: Pool) -> None:
    """What `eval --ladder` leaves, its rungs written like the runs above."""
    run = read_finished(folder.path, benchmark)
    stored = folder.read_manifest()["settings"]
    settings = Settings(**{**stored, "metrics": tuple(stored["metrics"])})

    def rung(path: Path, asked: Settings, _: Benchmark, system: ladder.Rung, *rest: object) -> Finished:
        def answer(item: Item, gold: Plan) -> Plan | Failure:
            return system.answer(item.id)

        seed = 1 + list(ladder.RUNGS).index(path.name)
        write_run(path, benchmark, pool, asked.system, answer, asked.limit, seed)
        return read_finished(path, benchmark)

    with mock.patch.object(ladder, "evaluate", rung):
        ladder.climb(run, settings, benchmark, pool, mock.Mock())


def _planned(item: Item, given: Plan | Failure) -> PlannedRow:
    if isinstance(given, Failure):
        return PlannedRow(item=item.id, outcome=given.outcome, reason=given.reason, latency=0.01)
    return PlannedRow(item=item.id, outcome=Outcome.OK, plan=given, latency=0.01)


def _drawn(item: Item, plan: Plan, image: Image.Image, pool: Pool, seed: int) -> DrawnRow:
    name = hashlib.sha256(f"{item.id}{plan.model_dump_json()}{seed}".encode()).hexdigest()
    digest = pool.put(name, image, plan.prompt)
    return DrawnRow(item=item.id, outcome=Outcome.OK, picture=name, image_sha256=digest, seconds=0.1)


def finish(folder: RunFolder, rows: list[Row], benchmark: Benchmark, settings: Settings) -> None:
    """What the score stage leaves, from made-up scores."""
    rng = np.random.default_rng(settings.seed)
    missing = np.array([row.outcome is Outcome.INFRA_FAILED for row in rows])
    centres = {
        "bertscore": (0.6, 0.1), "sbert": (0.5, 0.1), "clipscore": (60, 8), "imagereward": (0.4, 0.8),
        "hpsv2": (24, 2), "clip_image": (70, 9),
    }  # fmt: skip
    values = score_plans(rows, benchmark)
    for metric, (centre, spread) in centres.items():
        column = rng.normal(centre * (1 - 0.15 * settings.seed), spread, len(rows))
        column[[row.image_sha256 is None for row in rows]] = t2imetrics.card(metric).failed_value
        values[metric] = np.where(missing, np.nan, column)
    reference = rng.normal(size=(len(rows), 4))
    drawn = reference + 0.3 * (1 + settings.seed) * rng.normal(size=reference.shape)
    cards = {m: t2imetrics.card(m) for m in (*TEXT_METRICS, *IMAGE_METRICS, "fid")}
    cut = {"limit": 77.0, "tokens": 900.0, "unseen": 12.0, "share_unseen": 12 / 900, "rows_cut": 2.0}
    ledger = {"clipscore": cut | {"rows_whole": 7.0, "mean_whole": 61.25}}
    scored = Scored(values, drawn, reference, ledger, cards)
    write_tables(folder, rows, scored)
    summary = summarise(rows, scored, settings.seed)
    summary["run"] = {
        "system": settings.system, "benchmark": benchmark.manifest.name, "label": benchmark.manifest.label,
        "items_in_benchmark": len(benchmark.items), "text": settings.text, "state": state_of(rows),
        "weights": {m: {"name": f"miniature/{m}", "revision": None, "sha256": "ab" * 32} for m in cards},
    }  # fmt: skip
    write_json(folder.summary, summary)
