"""Generation data that tools keep inside picture files: PNG text chunks, EXIF of JPEG and WebP, comments.

Read are A1111 and its kin (infotext), ComfyUI and the hub's generator (graphs), SwarmUI, Fooocus, NovelAI and InvokeAI
(JSON of their own).  Not read: data hidden in the alpha channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from chatgenbench.build import comfy, fields, metadata
from chatgenbench.build.records import Generation

REASONS = {
    "not-a-picture": "no PNG, JPEG or WebP file, or a damaged one",
    "no-metadata": "a picture without text of any tool",
    "foreign-metadata": "a picture with text, but of no tool known here",
    **metadata.REASONS,
}
_USER_COMMENT = ExifTags.Base.UserComment
_EXIF_TEXTS = (ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model)
#: The texts of PNG files that tools write, the most telling first.
_CHUNKS = ("parameters", "prompt", "invokeai_metadata", "sd-metadata", "Comment", "generation_data", "workflow")


def read(path: Path) -> Generation | str:
    """The generation data of a picture file, or one of `REASONS`."""
    texts = _texts(path)
    if isinstance(texts, str):
        return texts
    reason = "no-metadata"
    for text in texts:
        found = from_text(text)
        if isinstance(found, Generation):
            return found
        reason = found if reason in ("no-metadata", "foreign-metadata") else reason
    return reason


def from_text(text: str) -> Generation | str:
    """The generation data of one such text, whichever tool wrote it."""
    label, _, rest = text.partition(":")
    if label.strip().casefold() in ("prompt", "workflow") and rest.lstrip().startswith("{"):
        text = rest
    if not text.lstrip().startswith("{"):
        found = metadata.from_infotext(text)
        return "foreign-metadata" if found == "no-parameters" else found
    value = fields.load(text.strip())
    if not isinstance(value, Mapping):
        found = metadata.from_infotext(text)
        return "foreign-metadata" if found == "no-parameters" else found
    for known, reader in _READERS:
        if known(value):
            return reader(value)
    return comfy.read(value) if _looks_comfy(value) else "foreign-metadata"


def _texts(path: Path) -> list[str] | str:
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            return [text for text in _all_texts(image) if text.strip()]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError):
        return "not-a-picture"


def _all_texts(image: Image.Image) -> Iterator[str]:
    for name in _CHUNKS:
        value = image.info.get(name)
        if isinstance(value, str):
            yield value
    exif = image.getexif()
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for value in (inner.get(_USER_COMMENT), exif.get(_USER_COMMENT)):
        if isinstance(value, bytes | str):
            yield user_comment(value)
    for tag in _EXIF_TEXTS:
        value = exif.get(tag)
        if isinstance(value, str) and not value.casefold().startswith("workflow:"):
            yield value
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        yield comment.decode("utf-8", "replace")


def user_comment(value: bytes | str) -> str:
    """The text of an EXIF UserComment.

    Its first eight bytes name the code.  UNICODE is UTF-16 of unstated byte order: the order is taken that puts more
    characters below U+0100, since the keys and digits of every tool are there.
    """
    if isinstance(value, str):
        return value
    code, data = value[:8], value[8:]
    if code == b"UNICODE\x00":
        data = data[: len(data) // 2 * 2]
        big = data[0::2].count(0) >= data[1::2].count(0)
        return data.decode("utf-16-be" if big else "utf-16-le", "replace").lstrip("\ufeff").strip("\x00")
    if code in (b"ASCII\x00\x00\x00", b"\x00" * 8):
        return data.decode("utf-8", "replace").strip("\x00")
    return value.decode("utf-8", "replace").strip("\x00")


def _looks_comfy(value: Mapping[str, Any]) -> bool:
    inner = value.get("prompt")
    nodes = inner if isinstance(inner, Mapping) else value
    return (
        "extraMetadata" in value
        or "nodes" in value
        or any(isinstance(node, Mapping) and "class_type" in node for node in nodes.values())
    )


def _swarm(value: Mapping[str, Any]) -> Generation | str:
    found = value["sui_image_params"]
    names = found.get("loras") if isinstance(found.get("loras"), list) else []
    weights = found.get("loraweights") if isinstance(found.get("loraweights"), list) else []
    loras = [
        {"type": "lora", "name": n, "weight": w} for n, w in zip(names, [*weights, *[1] * len(names)], strict=False)
    ]
    models = [
        {"type": "model" if m.get("param") == "model" else m.get("param"), "name": m.get("name"), "hash": m.get("hash")}
        for m in fields.items(value.get("sui_models"))
    ]
    return metadata.from_fields({**found, "resources": [*models, *loras]}, "swarmui")


def _fooocus(value: Mapping[str, Any]) -> Generation | str:
    listed = value.get("loras")
    loras = [
        {"type": "lora", "name": entry[0], "weight": entry[1]}
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, list) and len(entry) >= 2
    ]
    found = {**value, "model": value.get("base_model"), "modelhash": value.get("base_model_hash"), "resources": loras}
    return metadata.from_fields(found, "fooocus")


def _novelai(value: Mapping[str, Any]) -> Generation | str:
    found = {**value, "negativeprompt": value["uc"], "cfgscale": value.get("scale")}
    return metadata.from_fields(found, "novelai")


def _invoke(value: Mapping[str, Any]) -> Generation | str:
    model = value.get("model")
    files = [{"type": "model", **{k: model.get(k) for k in ("name", "hash")}}] if isinstance(model, Mapping) else []
    for entry in fields.items(value.get("loras")):
        lora = entry.get("model") or entry.get("lora")
        if isinstance(lora, Mapping):
            name = lora.get("name") or lora.get("model_name")
            files.append({"type": "lora", "name": name, "hash": lora.get("hash"), "weight": entry.get("weight")})
    prompts = {"prompt": value["positive_prompt"], "negativeprompt": value.get("negative_prompt")}
    found = {k: v for k, v in value.items() if k in ("seed", "steps", "cfg_scale", "width", "height", "scheduler")}
    return metadata.from_fields({**found, **prompts, "resources": files}, "invokeai")


_READERS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Generation | str]], ...] = (
    (lambda v: isinstance(v.get("sui_image_params"), Mapping), _swarm),
    (lambda v: "positive_prompt" in v, _invoke),
    (lambda v: "uc" in v and "scale" in v, _novelai),
    (lambda v: "base_model" in v and "guidance_scale" in v, _fooocus),
)
