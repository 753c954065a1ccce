"""Put the miniature together: catalog, items, benchmark.json, and checks over all of it.

Needs `demos.py`, the hand-written inputs in `inputs/`, `train_base.py`, `train_decoder.py`, `train_lora.py` and the
scorers.  Deterministic; run again after any of them.

    python data/make/assemble.py
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import captions
import train_lora
import world

from chatgenbench.benchmark import load_benchmark
from chatgenbench.render import weights_digest

OUT = world.HERE.parent / "miniature"
BASE = "miniature_base"
BASE_MODEL = "Miniature SD"
FORBIDDEN = re.compile(
    r"twemoji|noto\b|fluent|emojione|google|microsoft|apple inc|iphone|android|whatsapp|samsung|sticker ?pop|"
    r"soft ?shade|toybox|stamp ?ink|old messenger|gumdrop|"
    + "|".join(look.trigger for look in captions.LOOKS.values()),
    re.IGNORECASE,
)
LIMIT_MB = 60


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def write(name: str, rows: list[dict[str, Any]]) -> None:
    (OUT / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def catalog() -> list[dict[str, Any]]:
    base_folder = OUT / "models" / "base"
    rows = [{
        "id": BASE, "name": "Miniature Base", "file_stem": BASE, "type": "checkpoint", "base_model": BASE_MODEL,
        "description": "The checkpoint all LoRAs of this catalog sit on. On its own it has no look of its own: it "
        "follows the style words of a prompt loosely and otherwise mixes what it has seen.",
        "sha256": weights_digest(base_folder), "files": {"diffusers": "models/base"},
        "licence": {"spdx": "CC-BY-4.0", "attribution": "chatgenbench, trained on the artwork named in the data card"},
    }]  # fmt: skip
    for style in world.STYLES:
        look = captions.LOOKS[style.key]
        rows.append(lora(look.stem, look.name, look.description, [look.trigger], style.licence, style.attribution))
    pop = captions.LOOKS["twemoji"]
    about = (
        "A re-upload of a popular sticker LoRA with minor changes: flat, very colourful cartoon stickers "
        "without outlines."
    )
    original = world.STYLES[0]
    twin = lora(
        train_lora.TWIN, "Sticker Pop (mirror)", about, [pop.trigger], original.licence, original.attribution
    )  # fmt: skip
    rows.append(twin | {"near_twins": [pop.stem]})
    return rows


def lora(stem: str, name: str, text: str, triggers: list[str], licence: str, attribution: str) -> dict[str, Any]:
    path = OUT / "models" / "loras" / f"{stem}.safetensors"
    version = stem.rpartition("_")[2]
    return {
        "id": stem, "name": name, "file_stem": stem, "type": "lora", "base_model": BASE_MODEL, "base": BASE,
        "description": text, "trigger_words": triggers, "sha256": weights_digest(path),
        "files": {"lora": f"models/loras/{stem}.safetensors"}, "aliases": [f"{name} {version}"],
        "licence": {"spdx": licence, "attribution": attribution},
    }  # fmt: skip


def items() -> list[dict[str, Any]]:
    """Join briefs and inputs; refuse any input that misses, leaks a name or repeats another."""
    inputs = {row["id"]: row for part in sorted((world.HERE / "inputs").glob("*.jsonl")) for row in lines(part)}
    demos = {row["id"]: row for row in lines(OUT / "demonstrations.jsonl")}
    seen: set[str] = set()
    rows = []
    for brief in lines(world.HERE / "briefs.jsonl"):
        chat = inputs[brief["id"]]
        assert chat["kind"] == brief["kind"], brief["id"]
        said = " ".join(m["text"] for m in chat["messages"])
        assert not FORBIDDEN.search(said), (brief["id"], FORBIDDEN.search(said))
        assert said not in seen, brief["id"]
        seen.add(said)
        shown = [image for m in chat["messages"] for image in m.get("images", [])]
        assert shown == ([brief["reference"]["picture"]] if "reference" in brief else []), brief["id"]
        assert demos[brief["demonstration"]]["picture"] not in shown, brief["id"]
        rows.append({
            "id": brief["id"], "input": chat, "demonstration": brief["demonstration"], "split": brief["split"],
            "slices": {"shape": brief["shape"]},
        })  # fmt: skip
    return sorted(rows, key=lambda row: ({"sup": 0, "few": 1}[row["id"][:3]], row["id"]))


def main() -> None:
    if (world.CACHE / "vae_final").exists():
        shutil.copytree(world.CACHE / "vae_final", OUT / "models" / "base" / "vae_fp32", dirs_exist_ok=True)
        _halve(OUT / "models" / "base" / "vae_fp32", OUT / "models" / "base" / "vae")
    write("catalog.jsonl", catalog())
    write("items.jsonl", items())
    (OUT / "benchmark.json").write_text(json.dumps({
        "name": "miniature", "version": "1",
        "label": "miniature: tiny models and metric weights, not comparable with the paper",
        "licence": "CC-BY-4.0 (chats, prompts, weights); artwork as listed per demonstration",
        "weights": "miniature", "default_model": BASE, "few_shot_threshold": world.HANDFUL,
    }, indent=2) + "\n")  # fmt: skip
    benchmark = load_benchmark(str(OUT))
    size = sum(f.stat().st_size for f in OUT.parent.rglob("*") if f.is_file() and "cache" not in f.parts) / 1e6
    print(len(benchmark.items), "items,", len(benchmark.train), "training demonstrations,", f"{size:.1f} MB")
    assert size < LIMIT_MB


def _halve(source: Path, target: Path) -> None:
    import torch
    from diffusers import AutoencoderKL

    AutoencoderKL.from_pretrained(source).to(torch.float16).save_pretrained(target)
    config = json.loads((target / "config.json").read_text())
    config.pop("_name_or_path", None)
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(source)


if __name__ == "__main__":
    main()
