"""Demonstrations and item briefs: who asks for what, decided once from a fixed seed.

Writes `data/miniature/demonstrations.jsonl` + `pictures/` (the original artwork as PNG, letterboxed to the
demonstration's size) and `data/make/briefs.jsonl`: one line per benchmark item that says which thing, style,
kind, reference picture and voice its freestyle input must have.  The inputs themselves were written by hand
from these briefs and live in `data/make/inputs/`.

    python data/make/demos.py
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import captions
import numpy as np
import world
from PIL import Image

OUT = world.HERE.parent / "miniature"
SUPERVISED_TEST = 48
FEW_SHOT_TEST = 60
GROUPS = {3: "animals-nature", 4: "food-drink", 5: "places-travel", 6: "activities", 7: "objects", 0: "faces"}
SIZES = ((64, 64), (64, 64), (64, 80), (80, 64))

#: Each model's owner has habits: (sampler, steps, CFG) used for most of its demonstrations.
HABITS: dict[str, tuple[tuple[str, int, float], ...]] = {
    "twemoji": (("Euler a", 24, 2.0), ("DPM++ 2M Karras", 20, 1.8)),
    "noto": (("DPM++ 2M Karras", 25, 2.0), ("UniPC", 20, 1.8)),
    "fluent-3d": (("DPM++ 2M SDE Karras", 28, 2.0), ("Euler", 28, 2.2)),
    "fluent-high-contrast": (("DDIM", 25, 1.6), ("Euler", 20, 1.8)),
    "emojione": (("DPM++ 2M", 22, 1.8), ("Euler a", 30, 2.0)),
    "fluent-flat": (("DPM++ 2M Karras", 20, 2.0), ("DPM++ 2S a Karras", 20, 1.8)),
    "noto-v1": (("Euler", 25, 2.0), ("Heun", 16, 1.8)),
}

PERSONAS = (
    "grandmother, 74, warm, writes letters", "corner shop owner, in a rush, drops words",
    "teenager, 15, slang, lower case", "graphic designer on a deadline, terse",
    "non-native speaker (Polish), simple grammar", "primary school teacher, kind, exact",
    "dad making a birthday card at midnight", "startup marketer, buzzwords", "retired engineer, pedantic",
    "college student, half asleep, typos", "cafe owner doing a menu board", "nurse on break, friendly",
    "children's book author, playful", "gamer, hyped, abbreviations", "librarian, full sentences",
    "truck driver dictating by voice, no punctuation", "museum guide, eloquent", "8-year-old child, spelling mistakes",
    "non-native speaker (Brazilian), cheerful", "lawyer, formal", "yoga instructor, dreamy",
    "carpenter, plain-spoken", "wedding planner, excited", "scientist making a slide, precise",
    "farmer, laconic", "podcaster, rambling", "scout leader, practical", "tattoo fan, knows what they want",
    "office worker, passive-aggressive polite", "new parent, distracted", "baker with an online shop",
    "night-shift security guard, bored", "exchange student (Japanese), polite, short", "football coach, shouty",
    "poet, roundabout", "accountant, lists requirements", "indie musician making merch", "vet, matter of fact",
    "pensioner new to computers, apologetic", "UX researcher, thinks aloud", "florist, sensuous",
    "hobby baker's teenage son, sarcastic", "travel blogger, gushing", "sysadmin, dry",
    "non-native speaker (Arabic), respectful", "community volunteer making flyers", "comic fan, references",
    "craft-fair seller", "kindergarten assistant, cheerful", "grumpy neighbour",
)  # fmt: skip
LENGTHS = ("very short (3-8 words)", "short (one sentence)", "short (one sentence)", "medium (2-3 sentences)",
           "medium (2-3 sentences)", "long (4-6 rambling sentences)")  # fmt: skip


def seeded(*parts: object) -> random.Random:
    return random.Random("/".join(str(p) for p in ("miniature-1", *parts)))


def letterbox(pixels: np.ndarray, width: int, height: int) -> Image.Image:
    page = Image.new("RGB", (width, height), "white")
    page.paste(Image.fromarray(pixels), ((width - world.SIZE) // 2, (height - world.SIZE) // 2))
    return page


def arguments(style: str, rng: random.Random) -> dict[str, Any]:
    sampler, steps, cfg = HABITS[style][0 if rng.random() < 0.65 else 1]
    width, height = rng.choice(SIZES)
    return {"sampler": sampler, "steps": steps, "cfg_scale": cfg, "width": width, "height": height,
            "seed": rng.randrange(2**31)}  # fmt: skip


def splits(style: world.Style, labels: list[str]) -> dict[str, str]:
    """label -> train | supervised | few-shot, for the demonstrations this benchmark uses of a style."""
    rng = seeded("split", style.key)
    if style.few_shot:
        train = world.handful(style)
        rest = [label for label in labels if label not in train]
        return dict.fromkeys(train, "train") | dict.fromkeys(rng.sample(rest, FEW_SHOT_TEST), "few-shot")
    test = set(rng.sample(labels, SUPERVISED_TEST))
    return {label: "supervised" if label in test else "train" for label in labels}


def demonstrations(w: world.World) -> list[dict[str, Any]]:
    labels = list(world.THINGS)
    points = {label: point for point, label in w.things.items()}
    rows = []
    for style in world.STYLES:
        for label, split in splits(style, labels).items():
            rng = seeded("demo", style.key, label)
            args = arguments(style.key, rng)
            record = w.records[points[label]]
            name = f"{style.key}-{world.slug(label).lower()}"
            picture = OUT / "pictures" / f"{name}.png"
            letterbox(w.pixels[style.key][points[label]], args["width"], args["height"]).save(picture, optimize=True)
            rows.append({
                "id": name,
                "plan": {
                    "prompt": captions.prompt(label, captions.tags_of(record), style.key, rng, rng.random() < 0.8),
                    "negative_prompt": rng.choice(captions.NEGATIVES),
                    "model": captions.LOOKS[style.key].stem,
                    "arguments": args,
                },
                "picture": f"pictures/{name}.png",
                "picture_sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
                "split": split,
                "source": f"{style.package} {points[label]}",
                "licence": style.licence,
                "attribution": style.attribution,
                "slices": {"style": captions.LOOKS[style.key].name, "group": GROUPS[record["group"]]},
            })  # fmt: skip
    return rows


def kind_of(rank: int) -> str:
    return ("single", "single", "multimodal", "single", "history")[rank % 5]


def reference(row: dict[str, Any], rows: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    """A training picture that is not the gold one: same look of another thing, or same thing in another look."""
    train = [r for r in rows if r["split"] == "train"]
    label = row["id"].removeprefix(style_key(row) + "-")
    if rng.random() < 0.4:
        same = [r for r in train if r["id"] == f"{style_key(r)}-{label}"]
        if same:
            return rng.choice(same) | {"role": "the same thing drawn in ANOTHER look (the person wants another look)"}
    look = [r for r in train if r["plan"]["model"] == row["plan"]["model"]]
    return rng.choice(look) | {"role": "another thing drawn in exactly the wanted look"}


def style_key(row: dict[str, Any]) -> str:
    return next(k for k, look in captions.LOOKS.items() if look.stem == row["plan"]["model"])


def label_of(row: dict[str, Any]) -> str:
    tail = row["id"].removeprefix(style_key(row) + "-")
    return next(label for label in world.THINGS if world.slug(label).lower() == tail)


def briefs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    test = [r for r in rows if r["split"] != "train"]
    seeded("order").shuffle(test)
    out = []
    counters = {"supervised": 0, "few-shot": 0}
    for row in test:
        rng = seeded("brief", row["id"])
        rank = counters[row["split"]] = counters[row["split"]] + 1
        args = row["plan"]["arguments"]
        brief: dict[str, Any] = {
            "id": f"{'sup' if row['split'] == 'supervised' else 'few'}-{rank:03d}",
            "demonstration": row["id"],
            "split": row["split"],
            "kind": kind_of(rank),
            "thing": label_of(row),
            "look": captions.LOOKS[style_key(row)].description,
            "persona": rng.choice(PERSONAS),
            "length": rng.choice(LENGTHS),
            "shape": {64: "square", 80: "wide"}[args["width"]] if args["height"] == 64 else "tall",
        }
        if brief["kind"] == "multimodal":
            other = reference(row, rows, rng)
            brief["reference"] = {
                "picture": other["picture"], "shows": label_of(other),
                "look": captions.LOOKS[style_key(other)].description, "role": other["role"],
            }  # fmt: skip
        if brief["kind"] == "history":
            brief["turns"] = rng.choice((2, 2, 3))
            brief["course"] = rng.choice(("builds up step by step", "changes their mind about the thing",
                                          "changes their mind about the look", "adds the look late"))  # fmt: skip
        out.append(brief)
    return out


def main() -> None:
    (OUT / "pictures").mkdir(parents=True, exist_ok=True)
    rows = demonstrations(world.load())
    for path, lines in ((OUT / "demonstrations.jsonl", rows), (world.HERE / "briefs.jsonl", briefs(rows))):
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    print(len(rows), "demonstrations")


if __name__ == "__main__":
    main()
