"""Following the links of a ComfyUI graph to the texts and numbers that a person typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chatgenbench.build import fields

T = TypeVar("T")
#: Inputs under which nodes that only hold a value keep it.
_HELD = ("value", "int", "float", "number", "seed", "text", "string", "prompt", "Value", "Text", "String", "STRING")
_ENCODED = ("text", "text_g", "t5xxl", "prompt", "string")
_PASSED = ("conditioning", "conditioning_to", "conditioning_1", "positive", "negative")
#: Links followed in one graph; what needs more is damage, or made to keep a reader busy.
_MOST = 3000
#: Links followed one after another.
_DEEPEST = 60


class Texts:
    """Values of a graph's nodes; a link that leads nowhere, in a circle or to an unknown node gives None."""

    def __init__(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self._nodes = nodes
        self._left = _MOST
        self._depth = 0

    def scalar(self, node: Mapping[str, Any], name: str) -> Any:
        """The text or number of a node's input, typed there or held by a node that it is linked to."""
        value = node["inputs"].get(name)
        linked = self._node(value)
        if linked is None:
            return value if isinstance(value, str | int | float) else None
        return self._followed(lambda: self._held(linked, name))

    def conditioning(self, value: Any, role: str) -> str | None:
        """The prompt behind a conditioning: "" for none at all, None when it cannot be told.

        `role` is "positive" or "negative", for nodes that pass on both.  Combined conditionings are written as A1111
        writes them, with AND and BREAK.
        """
        node = self._node(value)
        return None if node is None else self._followed(lambda: self._told(node, role))

    def _held(self, node: Mapping[str, Any], name: str) -> Any:
        if "string_a" in node["inputs"]:
            return self._joined(node)
        if "oncat" in str(node["class_type"]) or "eplace" in str(node["class_type"]):
            return None
        names = dict.fromkeys((name, *_HELD))
        return next((v for n in names if (v := self.scalar(node, n)) is not None), None)

    def _told(self, node: Mapping[str, Any], role: str) -> str | None:
        kind, inputs = str(node["class_type"]), node["inputs"]
        if kind == "ConditioningZeroOut":
            return ""
        if kind in ("ConditioningCombine", "ConditioningConcat"):
            return self._both(node, role)
        if kind == "ConditioningAverage":
            return None
        for name in (role, *_PASSED):
            if self._node(inputs.get(name)):
                return self.conditioning(inputs[name], role)
        return self._encoded(node, role)

    def _followed(self, read: Callable[[], T]) -> T | None:
        """What `read` finds one link further on; None when enough links were followed."""
        if self._left <= 0 or self._depth >= _DEEPEST:
            return None
        self._left -= 1
        self._depth += 1
        try:
            return read()
        finally:
            self._depth -= 1

    def _both(self, node: Mapping[str, Any], role: str) -> str | None:
        combined = node["class_type"] == "ConditioningCombine"
        names = ("conditioning_1", "conditioning_2") if combined else ("conditioning_to", "conditioning_from")
        texts = [self.conditioning(node["inputs"].get(name), role) for name in names]
        if None in texts:
            return None
        return (" AND " if combined else " BREAK ").join(dict.fromkeys(t for t in texts if t))

    def _encoded(self, node: Mapping[str, Any], role: str) -> str | None:
        found = [fields.text(v) if isinstance(v := self.scalar(node, n), str) else None for n in (role, *_ENCODED)]
        typed = next((t for t in found if t), None)
        if typed is not None:
            return typed
        empty = any(isinstance(self.scalar(node, name), str) for name in (role, *_ENCODED))
        return "" if empty else None

    def _joined(self, node: Mapping[str, Any]) -> str | None:
        parts = [self.scalar(node, name) for name in ("string_a", "string_b")]
        between = self.scalar(node, "delimiter")
        if not all(isinstance(part, str) for part in parts):
            return None
        return (between if isinstance(between, str) else "").join(parts)

    def _node(self, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            return self._nodes.get(str(value[0]))
        return None
