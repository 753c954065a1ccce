"""A system made of stages: `writer | chooser | arguer`, each of which can be replaced.

    chat | hybrid | model-args          the chat as prompt, the model by hybrid search, its usual arguments
    retrieval | fixed:MODEL             a missing arguer is `model-args`, a missing chooser `retrieval`
    oracle | knn | oracle               any system is a stage too: it gives its own part of the plan

Importing this loads no model and no torch.
"""

from __future__ import annotations

# imported for what they declare
from chatgenbench.systems.stages import arguers, choosers, rerank, rewriters, writers  # noqa: F401
from chatgenbench.systems.stages.compose import Composed, is_composed
from chatgenbench.systems.stages.declare import STAGES, compose, find, stage_names

__all__ = ["STAGES", "Composed", "compose", "find", "is_composed", "stage_names"]
