"""Names and numbers as people and language models write them, in the terms of a Plan."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from chatgenbench.errors import shorten
from chatgenbench.systems.answers.kinds import AnswerError
from chatgenbench.systems.answers.lenient import Twice

_NAMES = {
    "prompt": "prompt positiveprompt positive imageprompt textprompt finalprompt 提示词 正向提示词 正面提示词 提示",
    "negative_prompt": "negativeprompt negative negprompt negativeprompts 负向提示词 反向提示词 负面提示词 反向提示",
    "model": "model modelname modelid checkpoint checkpointname sdmodel chosenmodel selectedmodel 模型 模型名称 模型名",
    "arguments": "arguments args parameters params settings config configuration generationparameters 参数 生成参数",
    "sampler": "sampler samplername samplingmethod samplermethod 采样器 采样方法 采样方式",
    "scheduler": "scheduler scheduletype schedule",
    "steps": "steps step samplingsteps numinferencesteps inferencesteps numsteps numberofsteps 步数 采样步数 迭代步数",
    "cfg_scale": "cfgscale cfg guidancescale guidance cfgvalue classifierfreeguidance 引导系数 提示词引导系数 cfg值",
    "width": "width w imagewidth 宽 宽度",
    "height": "height h imageheight 高 高度",
    "size": "size resolution imagesize dimensions imageresolution 尺寸 分辨率 图像尺寸",
    "seed": "seed randomseed 种子 随机种子",
    "clip_skip": "clipskip",
    "lora_weight": "loraweight lorascale lorastrength",
    "ranking": "ranking modelranking rankedmodels",
}  # fmt: skip
#: A name as it is compared -> the field it means.
FIELDS = {name: field for field, names in _NAMES.items() for name in names.split()}
#: Fields that stand under `arguments`.
ARGUMENTS = frozenset({"sampler", "scheduler", "steps", "cfg_scale", "width", "height", "size", "seed", "clip_skip",
                       "lora_weight"})  # fmt: skip
INTEGERS = frozenset({"steps", "width", "height", "seed", "clip_skip"})

_SIZE = re.compile(r"(\d{1,5})(?:px)?\s*[x×*✕by,、/]+\s*(\d{1,5})(?:px)?", re.IGNORECASE)
_UNIT = re.compile(r"\s*(?:px|pixels?|steps?|步|像素|x)$", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:[, ]\d{3})+")
_DECIMAL = re.compile(r"[+-]?\d{1,18}(?:[.,]\d{1,18})?")
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: n for n, word in enumerate(_ONES.split())} | {word: 10 * n for n, word in enumerate(_TENS.split(), 2)}
_HAN = {**{c: n for n, c in enumerate("零一二三四五六七八九")}, "两": 2, "〇": 0}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}


def field_of(name: Any) -> str | None:
    """The field that a name means, however it is spelt."""
    flat = unicodedata.normalize("NFKC", str(name)[:60]).casefold()
    return FIELDS.get("".join(c for c in flat if c.isalnum()))


def fields(value: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields of an object by our names, those under `arguments` beside the others; strange keys are left out.

    Raises:
        AnswerError: `two-plans`, for a field that is given twice and differently.
    """
    found: dict[str, Any] = {}
    for key, content in value.items():
        field = field_of(key)
        inner = fields(content) if field == "arguments" and isinstance(content, Mapping) else None
        for name, one in inner.items() if inner is not None else [(field, content)]:
            if name is None or one is None:
                continue
            if isinstance(one, Twice) or (name in found and found[name] != one):
                raise AnswerError("two-plans", f"{name} is given twice")
            found[name] = one
    return found


def size(value: Any) -> tuple[int, int]:
    """Width and height of `512x768`, `[512, 768]` or `{"width": 512, "height": 768}`."""
    if isinstance(value, Mapping):
        inner = fields(value)
        value = [inner.get("width"), inner.get("height")]
    if isinstance(value, list | tuple) and len(value) == 2:
        return int(number("width", value[0])), int(number("height", value[1]))
    match = _SIZE.fullmatch(_flat(value).strip("()[]")) if isinstance(value, str) else None
    if match is None:
        raise AnswerError("bad-value", f"size: no width and height in {_shown(value)}")
    return int(match.group(1)), int(match.group(2))


def number(field: str, value: Any) -> int | float:
    """A number, also spelt with a unit, as words, or in another script; a whole one where the field needs it."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    found = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if isinstance(value, str):
        found = _spelt(_flat(value))
    if found is None or found != found or abs(found) > 2**63:
        raise AnswerError("bad-value", f"{field}: {_shown(value)} is no number")
    if field not in INTEGERS:
        return found
    if found != int(found):
        raise AnswerError("bad-value", f"{field}: {_shown(value)} is no whole number")
    return int(found)


def _spelt(text: str) -> int | float | None:
    text = _UNIT.sub("", text.strip("~≈ ")).strip()
    if _THOUSANDS.fullmatch(text):
        return int(re.sub("[, ]", "", text))
    if _DECIMAL.fullmatch(text):
        return float(text.replace(",", ".")) if re.search("[.,]", text) else int(text)
    return _english(text) if text.isascii() else _han(text)


def _english(text: str) -> int | float | None:
    """`twenty-eight`, `five hundred and twelve`, `seven point five`."""
    whole, _, rest = text.replace("-", " ").partition(" point ")
    total = current = 0
    words = [word for word in whole.split() if word not in ("and", "a")]
    if not words or len(words) > 8:
        return None
    for word in words:
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word == "thousand":
            total, current = max(current, 1) * 1000, 0
        else:
            return None
    digits = [_WORDS.get(word, 10) for word in rest.split()]
    if any(digit > 9 for digit in digits):
        return None
    return total + current if not digits else float(f"{total + current}." + "".join(map(str, digits)))


def _han(text: str) -> int | None:
    """`二十八`, `五百一十二`, `五一二`."""
    if not text or len(text) > 10 or any(c not in _HAN and c not in _HAN_UNITS for c in text):
        return None
    if all(c in _HAN for c in text):
        return int("".join(str(_HAN[c]) for c in text))
    total = current = 0
    for char in text:
        if char in _HAN:
            current = _HAN[char]
        else:
            total, current = total + max(current, 1) * _HAN_UNITS[char], 0
    return total + current


def _flat(value: str) -> str:
    return unicodedata.normalize("NFKC", value[:200]).casefold().strip(" \t\n\"'`*“”‘’.。,，;")


def _shown(value: Any) -> str:
    return f"'{shorten(value if isinstance(value, str) else repr(value)[:200], 40)}'"
