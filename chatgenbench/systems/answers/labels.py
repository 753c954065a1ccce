"""Plans laid out as text: `Prompt: ...`, `Model: NAME. description`, `Arguments: {...}` (the figures of ChatGen), the
parameters of A1111 (`Steps: 20, Sampler: Euler a, Size: 512x768`), lists, tables, YAML and tags.
"""

from __future__ import annotations

import re
from typing import Any

from chatgenbench.systems.answers.kinds import AnswerError
from chatgenbench.systems.answers.lenient import objects
from chatgenbench.systems.answers.values import ARGUMENTS, field_of, fields

_NAMES = (
    r"(?:negative|positive|final|image|text)?[ _-]?prompt|negative|model(?:[ _-]?(?:name|id))?|checkpoint|arguments"
    r"|args|param(?:eter)?s?|settings|config(?:uration)?|sampler(?:[ _-]?name)?|sampling[ _-]?(?:method|steps)"
    r"|schedule(?:r|[ _-]type)|(?:num[ _-])?(?:inference[ _-])?steps|cfg(?:[ _-]?scale)?|guidance(?:[ _-]?scale)?|width"
    r"|height|(?:image[ _-])?size|resolution|dimensions|seed|clip[ _-]?skip|lora[ _-]?(?:weight|scale)|ranking"
    r"|提示词|[正负反]向提示词|[正负]面提示词|模型(?:名称?)?|(?:生成)?参数|采样(?:器|方法|方式|步数)|(?:迭代)?步数|引导系数|宽度?|高度?|尺寸|分辨率|种子"
)
_COLON = r"[ \t]{0,3}[*_`\"'”]{0,4}[ \t]{0,3}[:：=][*_`]{0,3}"
_LINE = re.compile(rf"^[ \t>*#\-•·\d.)(\"'“`_]{{0,24}}({_NAMES}){_COLON}", re.IGNORECASE | re.MULTILINE)
_CAPITAL = r"(?:^|(?<=[\s.;,。；]))(?=(?-i:[A-Z\u3400-\u9fff]))"
_INLINE = re.compile(rf"{_CAPITAL}({_NAMES}){_COLON}", re.IGNORECASE | re.MULTILINE)
_HEADING = re.compile(rf"^[ \t>*#\d.)]{{0,24}}({_NAMES})[ \t*_:：]{{0,6}}$", re.IGNORECASE | re.MULTILINE)
_ROW = re.compile(r"^[ \t]*\|([^|\n]{1,60})\|([^|\n]*)\|[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|[ \t:|-]+$", re.MULTILINE)
_TAG = re.compile(rf"<({_NAMES})>([^<]*)</\1>", re.IGNORECASE)
_PAIR = re.compile(r"\s*[-*•]?\s*([^\W\d][\w \-]{0,30}?)[ \t*_`\"']{0,4}[:：=]\s*(.*)", re.DOTALL)
_BETWEEN = re.compile(r"\n|[,，](?!\d)|[;；|]")
_QUOTED = re.compile(r"^[\s\"'`“”‘’*]+|[\s\"'`“”‘’*]+$")


def plain(text: str) -> str:
    """`text` without fences, with rows of a table and tags as labels."""
    text = re.sub(r"^[ \t]*(?:```|~~~)[^\n]*$", "", text, flags=re.MULTILINE)
    text = _RULE.sub("", text)
    text = _ROW.sub(lambda row: f"{row[1].strip()}: {row[2].strip()}" if field_of(row[1]) else row[0], text)
    return _TAG.sub(lambda tag: f"\n{tag[1]}: {tag[2]}\n", text)


def labelled(text: str) -> dict[str, Any]:
    """The fields that labels of a text name; empty if there are no two of them.

    Raises:
        AnswerError: `two-plans`, for a label that stands twice with different words.
    """
    text = plain(text)
    places = _places(text)
    if len({field for field, _, _ in places}) < 2:
        return {}
    found: dict[str, Any] = {}
    ends = [start for _, start, _ in places[1:]] + [len(text)]
    if not any(field == "prompt" for field, _, _ in places) and (before := text[: places[0][1]].strip()):
        found["prompt"] = before  # A1111 begins with the prompt and gives it no name
    for (field, _, begin), end in zip(places, ends, strict=True):
        words = text[begin:end]
        new = pairs(f"{field}: {words}") if field in ARGUMENTS or field == "arguments" else {field: bare(words)}
        for name, value in new.items():
            if name in found and found[name] != value:
                raise AnswerError("two-plans", f"{name} is given twice")
            found[name] = value
    return found


def _places(text: str) -> list[tuple[str, int, int]]:
    """(field, where its label starts, where its words start), by lines if two labels begin lines, else anywhere."""
    for pattern in (_LINE, _INLINE, _HEADING):
        found = [(str(field_of(m.group(1))), m.start(), m.end()) for m in pattern.finditer(text)]
        if len({field for field, _, _ in found}) > 1:
            return found
    return []


def pairs(text: str) -> dict[str, Any]:
    """Arguments in a text: an object, or names and values with commas or newlines between."""
    found, _ = objects(text)
    if found:
        return {name: value for one in found[:1] for name, value in fields(one).items()}
    read: dict[str, Any] = {}
    for part in _BETWEEN.split(text.removeprefix("arguments:")):
        match = _PAIR.fullmatch(part)
        field = field_of(match.group(1)) if match else None
        if match and field is not None and bare(match.group(2)):
            read.setdefault(field, bare(match.group(2)))
    return read


def bare(text: str) -> str:
    """`text` without the quotes, stars and separators around it."""
    return _QUOTED.sub("", _QUOTED.sub("", text).rstrip(",，;；"))
