"""`croissant.json`: the dataset's files and columns in the Croissant 1.0 vocabulary of ML Commons (JSON-LD)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatgenbench.build.draft import sha256_of
from chatgenbench.build.tables import SPLITS, file_of

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet",
    "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references",
    "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
#: The vocabulary's own context; readers warn when a term is missing from it.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
}
#: Columns of the Parquet files that Croissant can type; nested ones (messages, pictures) are read with `datasets`.
COLUMNS = {
    "id": ("sc:Text", "Name of the freestyle input; empty for a demonstration without one."),
    "demonstration": ("sc:Text", "Name of the human record that the input came from."),
    "kind": ("sc:Text", "single, multimodal or history."),
    "prompt": ("sc:Text", "Positive prompt; empty where it is left out of the release form."),
    "negative_prompt": ("sc:Text", "Negative prompt."),
    "prompt_sha256": ("sc:Text", "sha256 of the positive prompt's UTF-8 bytes."),
    "model": ("sc:Text", "Target model, an id of catalog.jsonl."),
    "sampler": ("sc:Text", "Sampler, by its name in the A1111 web UI."),
    "steps": ("sc:Integer", "Sampling steps."),
    "cfg_scale": ("sc:Float", "Classifier-free guidance scale."),
    "width": ("sc:Integer", "Width in pixels."),
    "height": ("sc:Integer", "Height in pixels."),
    "picture_sha256": ("sc:Text", "sha256 of the demonstration's picture file; empty without one."),
    "base_model": ("sc:Text", "Family of the target model."),
    "page": ("sc:Text", "Page of the record at its source."),
    "licence": ("sc:Text", "Licence of the record."),
    "attribution": ("sc:Text", "Whom the record's licence asks to name."),
    "persona": ("sc:Text", "Who was played."),
    "style": ("sc:Text", "How they ask."),
}
JSON_LINES = {
    "catalog.jsonl": "The models that a plan may name.",
    "demonstrations.jsonl": "Plans and pictures of people.",
    "items.jsonl": "The items of the benchmark.",
    "train_inputs.jsonl": "Chats of training demonstrations.",
    "records.jsonl": "Provenance and hashes of the demonstrations.",
    "chats.jsonl": "Every freestyle input and how it was made.",
}


def metadata(facts: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The Croissant description of a dataset whose files lie in `folder`; `facts` is the content of `build.json`."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts["name"],
        "description": f"{facts['label']}. Chats, prompts, models and arguments for automatic text-to-image.",
        "version": _version(facts["version"]),
        "license": facts["licence"],
        "datePublished": facts["created"],
        "citeAs": f"{facts['name']}, version {facts['version']}, {facts['created']}",
        "keywords": ["text-to-image", "prompt", "Stable Diffusion"],
        "distribution": _files(folder),
        "recordSet": [_record_set(split) for split in SPLITS],
    }


def _version(version: str) -> str:
    """MAJOR.MINOR.PATCH, as the vocabulary asks: missing parts are zeros, a digest is build metadata of 1.0.0."""
    parts = version.lstrip("v").split(".")
    if len(parts) <= 3 and all(part.isdigit() for part in parts):
        return ".".join([*parts, "0", "0"][:3])
    return "1.0.0+" + re.sub(r"[^0-9A-Za-z.-]", "-", version)


def _files(folder: Path) -> list[dict[str, Any]]:
    tables = {file_of(split): f"The {split} split." for split in SPLITS}
    found = []
    for path, description in {**tables, **JSON_LINES}.items():
        file = folder / path
        found.append(
            {
                "@type": "cr:FileObject", "@id": path, "name": path, "description": description, "contentUrl": path,
                "contentSize": f"{file.stat().st_size} B", "sha256": sha256_of(file),
                "encodingFormat": "application/x-parquet" if path in tables else "application/jsonlines",
            }
        )  # fmt: skip
    return found


def _record_set(split: str) -> dict[str, Any]:
    name = SPLITS[split]
    fields = [
        {
            "@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "description": about, "dataType": kind,
            "source": {"fileObject": {"@id": file_of(split)}, "extract": {"column": column}},
        }
        for column, (kind, about) in COLUMNS.items()
    ]  # fmt: skip
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": f"The {split} split.", "field": fields}
