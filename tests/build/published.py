"""A small build by hand: records with real pictures, chats, counters; some may be handed on, some may not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from chatgenbench.build.publish import Built
from chatgenbench.build.records import Drop, Record
from chatgenbench.schema import Arguments, FreestyleInput, Licence, Message, ModelRecord, Plan

SECRET_USER = "jane_doe_1987"
CREATOR = "c0ffee00c0ffee00"
FUNNEL = {
    "parse": {"seen": 20, "kept": 14, "dropped": {"no-prompt": 4, "no-meta": 2}, "noted": {"repeated": 3}},
    "filter": {"seen": 14, "kept": 12, "dropped": {"picture-nsfw-level": 2}, "noted": {}},
    "roleplay": {"seen": 8, "kept": 7, "dropped": {"leaks-model-name": 1}, "noted": {}},
}
LEAKS = {"leaks": 0, "pairs": {"train / supervised": {"prompts": 0}}}
#: Records 0-5 train, 6-8 supervised, 9-10 few-shot; every third is under an open licence.
SPLITS = ["train"] * 6 + ["supervised"] * 3 + ["few-shot"] * 2


def picture(root: Path, number: int) -> tuple[str, str]:
    """A PNG of one colour in the workspace: its path and sha256."""
    draft = root / "draft.png"
    Image.new("RGB", (8, 8), (number * 20, 90, 255 - number * 20)).save(draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    path = f"pictures/{digest[:2]}/{digest}.png"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    draft.replace(root / path)
    return path, digest


def record(root: Path, number: int, with_picture: bool = True) -> Record:
    open_licence, drawn_with = number % 3 == 0, ("civitai:7@71", "civitai:5@51")
    path, digest = picture(root, number) if with_picture else ("", "")
    plan = Plan(
        prompt=f"a painted lighthouse number {number}, storm", negative_prompt=f"blurry {number}",
        model=drawn_with[number != 10], ranking=drawn_with if number == 10 else (),
        arguments=Arguments(sampler="Euler a", steps=20 + number, cfg_scale=7, width=512, height=768, seed=number),
    )  # fmt: skip
    return Record(
        id=f"civitai-{100 + number}", source="civitai", creator=CREATOR, plan=plan, base_model="SD 1.5", level=1,
        url=f"https://image.example.org/xyz/{SECRET_USER}_{number}.png",
        page=f"https://civitai.com/images/{100 + number}", redistributable=open_licence,
        licence="CC0-1.0" if open_licence else "LicenseRef-Civitai", attribution="painter" if open_licence else "",
        picture=path, picture_sha256=digest, phash="00ff00ff00ff00ff" if path else "",
    )  # fmt: skip


def records(root: Path, with_picture: bool = True) -> list[tuple[Record, str]]:
    return [(record(root, number, with_picture), split) for number, split in enumerate(SPLITS)]


def chats(made: list[tuple[Record, str]]) -> list[dict[str, Any]]:
    """One single chat each from the sixth on, two more of other kinds; the last refers to no published picture."""
    found = [_chat(f"in-{r.id}", "single", (Message(text=f"hey, {i} lighthouses please"),), r.id)
             for i, (r, _) in enumerate(made[5:])]  # fmt: skip
    turns = (Message(text="a tower?"), Message(role="assistant", text="where?"), Message(text="by the sea"))
    found.append(_chat("in-history", "history", turns, made[6][0].id))
    if made[1][0].picture:
        looks = (Message(text="a tower like this", images=(made[1][0].picture,)),)
        found.append(_chat("in-multimodal", "multimodal", looks, made[6][0].id))
    return found


def _chat(key: str, kind: Any, messages: tuple[Message, ...], demonstration: str) -> dict[str, Any]:
    return {
        "id": key, "input": FreestyleInput(id=key, kind=kind, messages=messages), "demonstration": demonstration,
        "persona": "fisher", "style": "question", "model": "tiny-llm", "request": "ab" * 32, "response_id": "r-1",
        "seed": 3, "attempts": 2, "closeness": 0.5, "facts": 1.0, "not published": "x",
    }  # fmt: skip


def catalog() -> list[ModelRecord]:
    shared: dict[str, Any] = {"base_model": "SD 1.5", "files": {}, "licence": Licence(spdx="LicenseRef-Civitai")}
    return [
        ModelRecord(id="civitai:7@71", name="Stormy – v1", file_stem="stormy_v1", type="lora", base="civitai:5@51",
                    description="Storms.", sha256="7" * 64, **shared),
        ModelRecord(id="civitai:5@51", name="Real – v5", file_stem="real_v5", type="checkpoint", description="Real.",
                    sha256="5" * 64, **shared),
    ]  # fmt: skip


def built(root: Path, with_picture: bool = True, **changes: Any) -> Built:
    made = changes.pop("records", None) or records(root, with_picture)
    fields: dict[str, Any] = {
        "name": "harbour", "version": "1.0", "label": "harbour: a test", "records": made, "catalog": catalog(),
        "inputs": chats(made), "funnel": FUNNEL, "leaks": LEAKS, "created": "2026-01-02",
        "settings": {"source": "civitai", "limits": {"languages": ["en"], "max_level": 1}},
        "sources": (("Civitai, by its public API", "LicenseRef-Civitai", "its users"),), "few_shot_threshold": 20,
        "contact": "remove@example.org", "root": root,
    }  # fmt: skip
    return Built(**(fields | changes))


def source_of(made: list[tuple[Record, str]], root: Path) -> Any:
    """A fetch over saved records, in an order of its own; pictures by absolute path."""

    def fetch(ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        known = {r.id: r for r, _ in made}
        for key in reversed(ids):
            yield key, known[key].model_copy(update={"picture": str(root / known[key].picture)})

    return fetch
