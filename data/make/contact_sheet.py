"""Look at what the painter does: twelve things in all styles, artwork above, drawn below.

Draws through the very engine that `chatgenbench eval` uses.  Writes `data/contact_sheet.png`.

    python data/make/contact_sheet.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import captions
import world
from PIL import Image, ImageDraw

from chatgenbench.benchmark import load_benchmark
from chatgenbench.render import Pool, draw
from chatgenbench.schema import Arguments, Plan

LABELS = ("cat face", "castle", "red apple", "rocket", "pizza", "tulip", "robot", "butterfly", "guitar", "elephant",
          "house", "umbrella")  # fmt: skip
CELL, LEFT = 96, 190
OUT = world.HERE.parent / "contact_sheet.png"


def plan(style: str, label: str) -> Plan:
    look = captions.LOOKS[style]
    words = f"{captions.article(world.THINGS[label])}, {look.phrases[0]}, {look.phrases[1]}, {look.trigger}"
    seed = LABELS.index(label)
    arguments = Arguments(sampler="DPM++ 2M Karras", steps=25, cfg_scale=2, width=64, height=64, seed=seed)
    return Plan(prompt=words, model=look.stem, arguments=arguments)


def main() -> None:
    w = world.load()
    point = {label: p for p, label in w.things.items()}
    benchmark = load_benchmark(str(world.HERE.parent / "miniature"))
    cells = [(style, label) for style in world.STYLES for label in LABELS]
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool(Path(folder))
        rows = [(f"{style.key}/{label}", plan(style.key, label)) for style, label in cells]
        results = draw(rows, benchmark, pool, seed_of=lambda item: 0, batch_size=12)
        drawn = {r.item: pool.read(r.picture) for r in results if r.picture is not None}
    sheet = Image.new("RGB", (LEFT + CELL * len(LABELS), 2 * CELL * len(world.STYLES) + 24), "white")
    pen = ImageDraw.Draw(sheet)
    for column, label in enumerate(LABELS):
        pen.text((LEFT + column * CELL + 4, 6), label, fill="black")
    for line, style in enumerate(world.STYLES):
        top = 24 + 2 * line * CELL
        name = captions.LOOKS[style.key].name + (" (few-shot)" if style.few_shot else "")
        pen.text((6, top + 40), f"{name}\nartwork", fill="black")
        pen.text((6, top + CELL + 40), "drawn (miniature)", fill="black")
        for column, label in enumerate(LABELS):
            art = Image.fromarray(w.pixels[style.key][point[label]])
            for row, picture in enumerate((art, drawn[f"{style.key}/{label}"])):
                small = picture.convert("RGB").resize((CELL - 6, CELL - 6), Image.Resampling.LANCZOS)
                sheet.paste(small, (LEFT + column * CELL + 3, top + row * CELL + 3))
            if style.few_shot and label in world.handful(style):
                left = LEFT + column * CELL
                pen.rectangle((left, top, left + CELL - 1, top + 2 * CELL - 1), outline="gray")
    sheet.quantize(192).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
