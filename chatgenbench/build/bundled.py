"""The bundled records: openly licensed prompt templates, filled with subjects of ours, as if they had been collected.

They let the whole build run without network, account or picture.  `bundled_data/README.md` says what is whose.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatgenbench.build.records import Drop, Record
from chatgenbench.schema import Arguments, Licence, ModelRecord, Plan

FOLDER = Path(__file__).parent / "bundled_data"
#: What a published dataset says of its sources: name, licence, attribution.
SOURCES = (
    ("AI Horde styles (prompt templates)", "CC0-1.0", "Haidra-Org and the contributors its attribution page names"),
    ("GEMRec roster (model names, base models)", "MIT", "MAPS research"),
    ("Subjects", "CC0-1.0", "the chatgenbench developers"),
)
#: Each template is filled with this many subjects.
SUBJECTS_PER_STYLE = 4
#: Names of the AI Horde, with and without Karras sigmas; a template that does not ask for Karras gets none.
SAMPLERS = {
    "k_euler": ("Euler", "Euler Karras"),
    "k_euler_a": ("Euler a", "Euler a Karras"),
    "k_dpmpp_2m": ("DPM++ 2M", "DPM++ 2M Karras"),
    "k_dpmpp_sde": ("DPM++ SDE", "DPM++ SDE Karras"),
    "k_dpmpp_2s_a": ("DPM++ 2S a", "DPM++ 2S a Karras"),
    "k_dpm_fast": ("DPM fast", "DPM fast Karras"),
}
_WILDCARD = re.compile(r"\{[^{}]*\|[^{}]*\}")


def revision() -> str:
    """sha256 of the bundled files."""
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(FOLDER.iterdir())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def records() -> Iterator[Record | Drop]:
    """Every template with each of its subjects: a record, or why it is none.

    A record's creator is its template, so that no template lies in two splits.
    """
    for name, style in sorted(_styles().items()):
        for subject in _subjects(name):
            key = f"horde-{_slug(name)}-{hashlib.sha256(f'{name}/{subject}'.encode()).hexdigest()[:8]}"
            yield _record(key, name, style, subject)


def catalog(used: Set[str]) -> list[ModelRecord]:
    """The models that `used` names and, as in any real catalog, many that nobody asked for (the roster).

    Nothing is known of their files: a plan for them can be scored, not drawn.
    """
    styles_of: dict[str, list[str]] = defaultdict(list)
    for name, style in sorted(_styles().items()):
        styles_of[str(style.get("model"))].append(name)
    ours = [_model(model, styles) for model, styles in sorted(styles_of.items()) if _model_id(model) in used]
    return [*ours, *_roster()]


def _model(name: str, styles: list[str]) -> ModelRecord:
    description = f"{name}. Prompt templates that ask for it: {', '.join(styles)}."
    return _checkpoint(_model_id(name), name, _slug(name), "not stated", description)


def _checkpoint(key: str, name: str, stem: str, base_model: str, description: str) -> ModelRecord:
    return ModelRecord(
        id=key, name=name, file_stem=stem, type="checkpoint", base_model=base_model, description=description[:2000],
        sha256="", files={}, licence=Licence(spdx="NOASSERTION", commercial=False),
    )  # fmt: skip


def _roster() -> Iterator[ModelRecord]:
    with (FOLDER / "roster.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = f"{row['model_name']} {row['modelVersion_name']}"
            tags = ", ".join(dict.fromkeys(row["tag"].split("|")))
            key = f"gemrec:{row['model_id']}@{row['modelVersion_id']}"
            yield _checkpoint(key, name, _slug(name), row["baseModel"], f"{row['model_name']}. Tags: {tags}.")


def _record(key: str, name: str, style: Mapping[str, Any], subject: str) -> Record | Drop:
    for field, reason in (
        ("model", "no-model"), ("sampler_name", "no-sampler"), ("steps", "no-steps"), ("cfg_scale", "no-cfg"),
        ("width", "no-size"), ("height", "no-size"),
    ):  # fmt: skip
        if not style.get(field):
            return Drop(key, reason)
    if style.get("loras") or style.get("tis"):
        return Drop(key, "lora-unknown")
    template = str(style["prompt"])
    if _WILDCARD.search(template):
        return Drop(key, "wildcards")
    if style["sampler_name"] not in SAMPLERS:
        return Drop(key, "unknown-sampler")
    prompt, _, negative = template.replace("{p}", subject).replace("{np}", "").partition("###")
    arguments = Arguments(
        sampler=SAMPLERS[style["sampler_name"]][bool(style.get("karras"))], steps=style["steps"],
        cfg_scale=style["cfg_scale"], width=style["width"], height=style["height"], clip_skip=style.get("clip_skip"),
    )  # fmt: skip
    model = str(style["model"])
    return Record(
        id=key, source="bundled", page="https://github.com/Haidra-Org/AI-Horde-Styles",
        plan=Plan(prompt=_tidy(prompt), negative_prompt=_tidy(negative.lstrip("#")), model=_model_id(model),
                  arguments=arguments),
        base_model="not stated", creator=hashlib.sha256(name.encode()).hexdigest()[:16],
        level=1, tags=(name,), licence="CC0-1.0", attribution="AI Horde styles; subjects by chatgenbench",
        redistributable=True,
    )  # fmt: skip


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" ,.")


def _subjects(style: str) -> list[str]:
    """The subjects of one template, the same ones whenever it is asked."""
    lines = (FOLDER / "subjects.txt").read_text("utf-8").splitlines()
    return sorted(lines, key=lambda line: hashlib.sha256(f"{style}\n{line}".encode()).digest())[:SUBJECTS_PER_STYLE]


@lru_cache(maxsize=1)
def _styles() -> dict[str, dict[str, Any]]:
    found = json.loads((FOLDER / "styles.json").read_text("utf-8"))
    return {name: style for name, style in found.items() if isinstance(style, dict) and "prompt" in style}


def _model_id(name: str) -> str:
    return f"horde:{_slug(name)}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
