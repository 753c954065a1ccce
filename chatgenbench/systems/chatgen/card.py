"""The instructions that ChatGen's models were trained with, read from their model card, where they are published."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from chatgenbench.errors import UserError

#: Variables of the card's code block: for chats in words alone, and for those with pictures.
NAMES = ("sys_singlemodal", "sys_multimodal")
_BLOCK = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
_ASSIGNED = re.compile(r"^[ \t]*(sys_\w+)[ \t]*=[ \t]*[rR]?(\"\"\"|'''|\"|')(.*?)(?<!\\)\2", re.DOTALL | re.MULTILINE)


def instructions(folder: Path) -> dict[str, str]:
    """The card's instructions by the name of their variable.

    Raises:
        UserError: no card, or one without them.
    """
    try:
        text = (folder / "README.md").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder} has no readable README.md, from which the model's instructions are read") from None
    found: dict[str, str] = {}
    for block in _BLOCK.finditer(text):
        if block["language"].lower() in ("", "py", "python"):
            found |= _assigned(block["code"])
    if missing := [name for name in NAMES if not found.get(name, "").strip()]:
        raise UserError(f"{folder / 'README.md'} states no {' and no '.join(missing)} in its code: give another model")
    return {name: found[name] for name in NAMES}


def _assigned(code: str) -> dict[str, str]:
    """Texts given to variables in a block of Python; of a block that is not whole Python, those that can be seen."""
    try:
        nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assign)]
    except (SyntaxError, ValueError):
        return {name: value for name, _, value in _ASSIGNED.findall(code)}
    return {
        target.id: node.value.value
        for node in nodes
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
