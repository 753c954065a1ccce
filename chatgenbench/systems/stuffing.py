"""A known cheat: quality tags after every chat, on the popular model.

It differs from `popular` by the tags alone, so a metric that puts it above `popular` is a metric that tags fool.
"""

from __future__ import annotations

from chatgenbench.systems.declare import builtin
from chatgenbench.systems.popular import Popular

TAGS = (
    "masterpiece, best quality, ultra detailed, highly detailed, 8k, uhd, hdr, sharp focus, award winning, "
    "professional, trending on artstation, cinematic lighting, vivid colors, beautiful, intricate, absurdres"
)


@builtin("stuffing", "popular with quality tags after the chat: a cheat, to show which metrics it fools")
class Stuffing(Popular):
    """`popular`, louder."""

    name = "stuffing"
    revision = "1"
    tail = f", {TAGS}"
