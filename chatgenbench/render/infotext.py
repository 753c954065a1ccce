"""A1111 infotext: the text that image tools of this field keep in the PNG chunk "parameters".

    PROMPT (may span lines)
    Negative prompt: NEGATIVE PROMPT (may span lines; absent when empty)
    Steps: 20, Sampler: Euler a, CFG scale: 3, Seed: 1, Size: 64x64, ...

The form is ambiguous: a prompt may itself hold such lines.  Where it would not read back as written, the exact
texts are repeated as quoted parameters, which other tools skip and `parse` prefers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chatgenbench.schema import ModelRecord, RenderRequest

#: The PNG text chunk.
CHUNK = "parameters"
_NEGATIVE = "Negative prompt:"
_EXACT, _EXACT_NEGATIVE = "Exact prompt", "Exact negative prompt"
_PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
#: A last line with fewer `key: value` pairs is part of the prompt (A1111's rule).
_FEWEST = 3


@dataclass(frozen=True)
class Infotext:
    """Prompt, negative prompt and parameters of one picture; parameters are text, in the order written."""

    prompt: str
    negative_prompt: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def describe(request: RenderRequest, checkpoint: ModelRecord, lora: ModelRecord | None) -> Infotext:
    """The infotext of a request.  Hashes are the first 10 hex digits of the weights' sha256, as A1111 shows them."""
    parameters = {
        "Steps": str(request.steps),
        "Sampler": request.sampler,
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": str(request.seed),
        "Size": f"{request.width}x{request.height}",
        "Model hash": checkpoint.sha256[:10],
        "Model": checkpoint.file_stem,
    }
    if request.clip_skip is not None:
        parameters["Clip skip"] = str(request.clip_skip)
    if lora is not None:
        parameters["Lora hashes"] = f"{lora.file_stem}: {lora.sha256[:10]}"
        parameters["Lora weight"] = f"{request.lora_weight:g}"
    parameters["Version"] = request.engine
    return Infotext(request.prompt, request.negative_prompt, parameters)


def write(info: Infotext) -> str:
    """`info` as infotext; `parse` gives it back unchanged when it has at least three parameters."""
    text = _join(info, info.parameters)
    if _plain(text) == info:
        return text
    exact = {_EXACT: info.prompt, _EXACT_NEGATIVE: info.negative_prompt}
    return _join(info, {**info.parameters, **exact})


def parse(text: str) -> Infotext:
    """Read infotext, ours or another tool's."""
    info = _plain(text)
    parameters = dict(info.parameters)
    prompt = parameters.pop(_EXACT, info.prompt)
    negative = parameters.pop(_EXACT_NEGATIVE, info.negative_prompt)
    return Infotext(prompt, negative, parameters)


def _join(info: Infotext, parameters: Mapping[str, str]) -> str:
    negative = f"\n{_NEGATIVE} {info.negative_prompt}" if info.negative_prompt else ""
    last = ", ".join(f"{key}: {_quote(value)}" for key, value in parameters.items())
    return f"{info.prompt}{negative}\n{last}"


def _plain(text: str) -> Infotext:
    *lines, last = text.strip("\n").split("\n")
    found = _PARAMETER.findall(last)
    if len(found) < _FEWEST:
        lines, found = [*lines, last], []
    for at, line in enumerate(lines):
        if line.strip().startswith(_NEGATIVE):
            first = line.strip().removeprefix(_NEGATIVE).removeprefix(" ")
            return Infotext("\n".join(lines[:at]), "\n".join([first, *lines[at + 1 :]]), _unquoted(found))
    return Infotext("\n".join(lines), "", _unquoted(found))


def _unquoted(found: list[tuple[str, str]]) -> dict[str, str]:
    return {key: _unquote(value) for key, value in found}


def _quote(value: str) -> str:
    plain = value and value == value.strip() and not re.search(r'[,:"\\\n\r]', value)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        return value
    return read if isinstance(read, str) else value
