"""Generation data out of what the hub and the tools wrote about a picture: `meta` objects and A1111 infotext.

Nothing here raises on foreign data, whatever its types.  What can be read becomes a `Generation`, where the metadata
stays silent a field is None; what cannot becomes one of `REASONS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chatgenbench.build import comfy, fields, resources
from chatgenbench.build.records import Generation
from chatgenbench.render import infotext

#: Why there is no generation data, each with what it means.
REASONS = {
    "no-meta": "the picture comes without generation data",
    "no-parameters": "a text without sampling parameters",
    "no-prompt": "generation data without a prompt",
    "image-guided": "made from another picture (img2img, inpainting, ControlNet): its prompt alone cannot make it",
    "image-grid": "a grid of several pictures (X/Y/Z plot)",
    **comfy.REASONS,
}
_JSON_VALUE = re.compile(r",?\s{0,4}(Civitai resources|Civitai metadata|Hashes)\s{0,4}:\s{0,4}(?=[\[{])")
#: Longer infotext is not read, nor one with so many words in a row on its last line: no picture's is like that, and the
#: grammar costs the square of them.
_LONGEST, _LONGEST_RUN = 60_000, 2000
_HIRES = ("hiresupscale", "hiresresize", "hiresresize1", "hiresupscaler", "hiressteps", "hiresmode", "firstpasssize")
_INPAINT = ("maskblur", "initimagehash", "maskedcontent", "inpaintarea")


def read(meta: Any, width: int | None = None, height: int | None = None) -> Generation | str:
    """The generation data of a hub's `meta` object.

    `width` and `height` are the picture's own pixels; they stand in for a size that the metadata does not tell, unless
    it tells of a second pass that enlarged the picture, or holds a graph that may.  Where both flat fields and a
    ComfyUI graph are given, the flat fields count and the graph fills what they leave open.
    """
    if not isinstance(meta, Mapping) or not meta:
        return "no-meta"
    found = fields.folded(meta)
    flat = _from_fields(found, _tool(found))
    graph = found.get("comfy")
    if isinstance(graph, str | Mapping) and graph and (isinstance(flat, str) or _open(flat)):
        flat = _filled(flat, comfy.read(graph))
    return flat if isinstance(flat, str) else _sized(flat, found, width, height)


def from_infotext(text: str) -> Generation | str:
    """The generation data of A1111 infotext, from any tool that writes it."""
    if len(text) > _LONGEST:
        return "no-parameters"
    bare, extra = _cut_json(text)
    if max(map(len, re.split(r"[^\w\s\-/]", bare.rstrip("\n").rpartition("\n")[2]))) > _LONGEST_RUN:
        return "no-parameters"
    info = infotext.parse(bare)
    if not info.parameters:
        return "no-parameters"
    found = fields.folded({**info.parameters, **extra})
    found |= {"prompt": info.prompt, "negativeprompt": info.negative_prompt}
    return _from_fields(found, _tool(found))


def from_fields(values: Mapping[str, Any], tool: str) -> Generation | str:
    """The generation data of any flat object with the field names of `meta`, in any spelling."""
    return _from_fields(fields.folded(values), tool)


def _from_fields(found: Mapping[str, Any], tool: str) -> Generation | str:
    prompt = fields.text(found.get("prompt"))
    if prompt is None:
        return "no-prompt"
    if _image_guided(found):
        return "image-guided"
    if str(found.get("script", "")).startswith(("X/Y", "Prompt matrix")):
        return "image-grid"
    width, height = _size(found)
    seed, skip = fields.integer(_first(found, "seed", "noiseseed")), fields.integer(found.get("clipskip"))
    return Generation(
        prompt=prompt,
        negative_prompt=fields.text(found.get("negativeprompt")) or "",
        sampler=_sampler(found),
        steps=_positive(fields.integer(found.get("steps"))),
        cfg_scale=_cfg(found),
        width=width,
        height=height,
        seed=seed if seed is not None and seed >= 0 else None,
        clip_skip=_positive(skip if skip is None else abs(skip)),
        resources=resources.of(found, prompt),
        tool=tool,
    )


def _sampler(found: Mapping[str, Any]) -> str | None:
    schedule = _first(found, "scheduletype", "scheduler", "samplersigma", "noiseschedule")
    name = _first(found, "sampler", "samplername")
    return fields.sampler(name, schedule) if fields.text(name) else fields.sampler(schedule)


def _cfg(found: Mapping[str, Any]) -> float | None:
    """CFG scale; of a guidance-distilled model (CFG 1) the distilled scale, which the hub calls CFG scale too."""
    scale, distilled = (
        fields.number(_first(found, *keys))
        for keys in (("cfgscale", "cfg", "guidancescale"), ("distilledcfgscale", "fluxguidance"))
    )
    return distilled if distilled is not None and scale in (None, 1.0) else scale


def _size(found: Mapping[str, Any]) -> tuple[int | None, int | None]:
    pair = next((p for key in ("firstpasssize", "size", "resolution") if (p := fields.size(found.get(key)))), None)
    if pair is None:
        width, height = fields.integer(found.get("width")), fields.integer(found.get("height"))
        pair = (width, height) if width and height else None
    return pair if pair and min(pair) > 0 else (None, None)


def _image_guided(found: Mapping[str, Any]) -> bool:
    if any(found.get(key) not in (None, "", False) for key in _INPAINT):
        return True
    if any(key.startswith("controlnet") and value for key, value in found.items()):
        return True
    denoised = fields.number(found.get("denoisingstrength"))
    return denoised is not None and denoised < 1 and not any(key in found for key in _HIRES)


def _enlarged(found: Mapping[str, Any]) -> bool:
    flow = " ".join(str(found.get(key, "")) for key in ("workflow", "workflowid", "process")).casefold()
    return any(found.get(key) for key in _HIRES) or any(word in flow for word in ("hires", "upscale", "img2img"))


def _sized(flat: Generation, found: Mapping[str, Any], width: Any, height: Any) -> Generation:
    pair = (fields.integer(width), fields.integer(height))
    if flat.width or not all(pair) or found.get("comfy") or _enlarged(found):
        return flat
    return flat.model_copy(update={"width": pair[0], "height": pair[1]})


def _open(flat: Generation) -> bool:
    told = (flat.sampler, flat.steps, flat.cfg_scale, flat.width, flat.resources)
    return any(value in (None, ()) for value in told)


def _filled(flat: Generation | str, graph: Generation | str) -> Generation | str:
    if isinstance(flat, str):
        return graph if flat == "no-prompt" else flat
    if isinstance(graph, str):
        return flat
    values = {name: getattr(graph, name) for name in type(flat).model_fields if getattr(flat, name) in (None, "")}
    if flat.width is None or flat.height is None:
        values |= {"width": graph.width, "height": graph.height}
    return flat.model_copy(update={**values, "resources": resources.merged(flat.resources, graph.resources)})


def _cut_json(text: str) -> tuple[str, dict[str, Any]]:
    """Infotext without the raw JSON values in it, which no rule of the grammar covers, and these values."""
    found: dict[str, Any] = {}
    decoder, kept, at = json.JSONDecoder(), [], 0
    for match in _JSON_VALUE.finditer(text, text.rstrip("\n").rfind("\n") + 1):
        if match.start() < at:
            continue
        try:
            value, end = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        found[match[1]] = value
        kept.append(text[at : match.start()])
        at = end
    return "".join([*kept, text[at:]]), found


def _tool(found: Mapping[str, Any]) -> str:
    version, app = str(found.get("version") or ""), str(found.get("app") or "")
    if "civitairesources" in found:
        return "civitai"
    if app.startswith("SD.Next"):
        return "sd-next"
    if version.startswith("ComfyUI") or "comfy" in found:
        return "comfyui"
    if re.match(r"f\d|classic$|neo$", version):
        return "forge"
    return "a1111" if re.match(r"v?1\.\d", version) else "unknown"


def _first(found: Mapping[str, Any], *keys: str) -> Any:
    return next((found[key] for key in keys if found.get(key) not in (None, "")), None)


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None
