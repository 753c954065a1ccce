"""One version of a model, read from the body that the hub gives of the model: files, hashes, texts, permissions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Literal

from chatgenbench.build import fields
from chatgenbench.build.funnel import Count

#: Model types a plan can name.
TYPES: dict[str, Literal["checkpoint", "lora"]] = {
    "Checkpoint": "checkpoint", "LORA": "lora", "LoCon": "lora", "DoRA": "lora",
}  # fmt: skip
#: Longest description of a model, in characters.
DESCRIPTION = 2000
_FILES = ("Model", "Pruned Model")
_SAFE = "SafeTensor"
#: Ids of the hub, and sizes in kB, stay below it.
_LARGEST_ID = 2**31
#: First part of an AIR urn, by how the base model's name begins; other base models get no urn.
_ECOSYSTEMS = (
    ("SD 1.", "sd1"), ("SD 2.", "sd2"), ("SDXL", "sdxl"), ("Pony", "sdxl"), ("Illustrious", "sdxl"),
    ("Flux.1", "flux1"),
)  # fmt: skip
_LINK = re.compile(r"(?:https?://|www\.)\S+|\S{1,64}@\S{1,255}\.\w+")


@dataclass(frozen=True)
class Version:
    """One version of a model, as far as it can be a catalog entry.

    `hashes` are those by which any tool may name any of its files; `shown` those of the file that stands for it.
    `told` holds the lengths, in hex digits, of the hashes that the hub gives of it.  `source` is how a catalog names
    the file that is downloaded for drawing, "" when it is not safetensors.
    """

    key: str
    number: int
    type: Literal["checkpoint", "lora"]
    name: str
    title: str
    stem: str
    stems: tuple[str, ...]
    sha256: str
    hashes: tuple[str, ...]
    shown: tuple[str, ...]
    told: frozenset[int]
    base_model: str
    description: str
    trigger_words: tuple[str, ...]
    urn: str | None
    source: str
    flags: Mapping[str, Any]

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the most downloaded version first, of equals the oldest."""
        return -int(self.flags["downloads"]), self.number

    @property
    def can_be_base(self) -> bool:
        """Whether a LoRA may be drawn on it: an open, safe checkpoint, with everything about it said."""
        flags = self.flags
        told = flags["format"] == _SAFE and flags["availability"] == "Public" and not flags["mode"]
        return self.type == "checkpoint" and told and all(flags[f] is False for f in ("nsfw", "minor", "poi"))


def uses(value: Any) -> tuple[str, ...] | None:
    """The commercial uses a model allows, from any of the shapes the hub gave them; None when it says nothing.

    Shapes: `"Rent"`, `["Image", "Rent"]`, `"{Image,Rent}"`.
    """
    if isinstance(value, str):
        value = value.strip("{} ").split(",")
    if not isinstance(value, list | tuple):
        return None
    words = [str(word).strip(' "') for word in value if isinstance(word, str)]
    return tuple(sorted({word for word in words if word and word != "None"}))


def plain(html: Any, limit: int = DESCRIPTION) -> str:
    """The text of an HTML description without links and addresses, cut at `limit` characters."""
    if not isinstance(html, str):
        return ""
    reader = _Text()
    reader.feed(html[: limit * 20])
    reader.close()
    lines = (" ".join(_LINK.sub("", line).split()) for line in "".join(reader.parts).splitlines())
    return "\n".join(line for line in lines if line)[:limit].rstrip()


class _Text(HTMLParser):
    """Collects text; blocks end lines."""

    _BLOCKS = frozenset({"p", "br", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "pre", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._BLOCKS:
            self.parts.append("\n")


def versions_of(body: Mapping[str, Any], count: Count) -> Iterator[Version]:
    kind, model_id, name = (
        TYPES.get(str(body.get("type"))),
        fields.integer(body.get("id")),
        fields.text(body.get("name")),
    )
    for version in fields.items(body.get("modelVersions")):
        number = fields.integer(version.get("id"))
        file = _file(version)
        sha256 = fields.digest(_hashes_of(file).get("SHA256"))
        if kind is None:
            count.noted["model-type"] += 1
        elif model_id is None or number is None or name is None or not file:
            count.noted["no-model-file"] += 1
        elif sha256 is None or len(sha256) != 64:
            count.noted["no-sha256"] += 1
        else:
            yield _version(body, version, file, kind, (model_id, number), name, sha256)


def _version(
    body: Mapping[str, Any],
    version: Mapping[str, Any],
    file: Mapping[str, Any],
    kind: Literal["checkpoint", "lora"],
    ids: tuple[int, int],
    name: str,
    sha256: str,
) -> Version:
    base_model = fields.text(version.get("baseModel")) or "not stated"
    files = [file, *(f for f in _model_files(version) if f is not file)]
    title = fields.text(version.get("name")) or str(ids[1])
    ecosystem = next((e for begin, e in _ECOSYSTEMS if base_model.startswith(begin)), None)
    stems = tuple(dict.fromkeys(s for f in files if (s := fields.stem(f.get("name")))))
    return Version(
        key=f"civitai:{ids[0]}@{ids[1]}",
        number=ids[1],
        type=kind,
        name=name,
        title=title,
        stem=stems[0] if stems else title,
        stems=stems,
        sha256=sha256,
        hashes=_all_hashes(files),
        shown=_shown(file),
        told=frozenset({10, 64, *map(len, _shown(file))}),
        base_model=base_model,
        description=_description(body, version),
        trigger_words=_words(version.get("trainedWords")),
        urn=f"urn:air:{ecosystem}:{kind}:civitai:{ids[0]}@{ids[1]}" if ecosystem else None,
        source=_source(ids[1], file),
        flags=_flags(body, version, file),
    )


def _source(number: int, file: Mapping[str, Any]) -> str:
    """Civitai's file as `chatgenbench.render.sources` reads it: version, file, and its bytes for estimates."""
    if _format(file) != _SAFE or not 0 < number < _LARGEST_ID:
        return ""
    told, size = fields.integer(file.get("id")), fields.number(file.get("sizeKB"))
    which = f"?fileId={told}" if told is not None and 0 < told < _LARGEST_ID else ""
    return f"civitai:{number}{which}" + (f"#bytes={round(size * 1024)}" if size and 0 < size < _LARGEST_ID else "")


def _model_files(version: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [f for f in fields.items(version.get("files")) if f.get("type") in _FILES]


def _file(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file that stands for a version: safetensors before others, the primary one before others."""
    files = _model_files(version)
    return min(files, key=lambda f: (_format(f) != _SAFE, f.get("primary") is not True), default={})


def _format(file: Mapping[str, Any]) -> str | None:
    about = file.get("metadata")
    told = fields.text(about.get("format")) if isinstance(about, Mapping) else None
    if told is None and str(file.get("name")).casefold().endswith(".safetensors"):
        return _SAFE
    return told


def _hashes_of(file: Mapping[str, Any]) -> Mapping[str, Any]:
    hashes = file.get("hashes")
    return hashes if isinstance(hashes, Mapping) else {}


def _all_hashes(files: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Every hash by which tools name these files: whole, and cut to the lengths they show."""
    found: list[str] = []
    for file in files:
        for kind, value in _hashes_of(file).items():
            read = fields.digest(value)
            if read and kind == "SHA256":
                found += [read, read[:10], read[:12]]
            elif read and kind in ("AutoV1", "AutoV2", "AutoV3"):
                found += [read[:12], read[:10]] if kind == "AutoV3" and len(read) >= 12 else [read]
    return tuple(dict.fromkeys(found))


def _shown(file: Mapping[str, Any]) -> tuple[str, ...]:
    """AutoV1 (8 digits), AutoV2 (10) and AutoV3 (12), as far as the hub gives them."""
    found = (fields.digest(_hashes_of(file).get(kind)) for kind in ("AutoV1", "AutoV2", "AutoV3"))
    return tuple(hash_[:12] for hash_ in found if hash_)


def _flags(body: Mapping[str, Any], version: Mapping[str, Any], file: Mapping[str, Any]) -> dict[str, Any]:
    names = ("nsfw", "nsfwLevel", "minor", "poi", "sfwOnly", "mode", "allowDerivatives", "allowNoCredit")
    told = {name: body.get(name) for name in (*names, "allowDifferentLicense")}
    states = [s for s in (body.get("availability"), version.get("availability")) if s is not None]
    stats = fields.items([version.get("stats"), body.get("stats")])
    downloads = [fields.integer(s.get("downloadCount")) for s in stats]
    return {
        **told,
        "availability": next((s for s in states if s != "Public"), states[0] if states else None),
        "format": _format(file),
        "allowCommercialUse": uses(body.get("allowCommercialUse")),
        "baseModelType": version.get("baseModelType"),
        "downloads": next((n for n in downloads if n is not None), 0),
    }


def _description(body: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    """Text of model and version; the uploader's name, which people do write there, is taken out."""
    text = "\n".join(part for part in (plain(body.get("description")), plain(version.get("description"))) if part)
    creator = body.get("creator")
    name = fields.text(creator.get("username")) if isinstance(creator, Mapping) else None
    if name:
        text = re.sub(rf"(?<!\w)@?{re.escape(name)}(?!\w)", "the author", text, flags=re.IGNORECASE)
    return text[:DESCRIPTION].rstrip()


def _words(value: Any) -> tuple[str, ...]:
    words = (fields.text(word) for word in (value if isinstance(value, list) else ()))
    return tuple(dict.fromkeys(word[:200] for word in words if word))[:50]
