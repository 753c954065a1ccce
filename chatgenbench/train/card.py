"""The model card of a training: README.md in the words of the Hugging Face hub."""

from __future__ import annotations

import json
from typing import Any

from chatgenbench.train.workplace import Workplace

PAPERS = {
    "evo": ("ChatGen-Evo", "https://arxiv.org/abs/2411.17176"),
    "beautifulprompt": ("BeautifulPrompt", "https://arxiv.org/abs/2311.06752"),
    "diffagent": ("DiffAgent", "https://arxiv.org/abs/2404.01342"),
}


def card(place: Workplace, system: str) -> str:
    """The card: what it is, how it was trained, what each stage reported, how to use it."""
    facts = place.facts
    name, paper = PAPERS[facts["recipe"]]
    asked, stages = facts["asked"], facts["stages"]
    lines = [
        "---", "library_name: chatgenbench", f"base_model: {asked['base_model']}", "tags: [text-to-image, prompt]",
        "---", "", f"# {name}, retrained", "",
        f"A re-implementation of the recipe of [{name}]({paper}) by `chatgenbench train {facts['recipe']}`; not the",
        "authors' weights. Settings that the paper does not publish are ours.", "",
        f"- trained on: the training split of {asked['benchmark']} (sha256 {asked['train_hash']})",
        f"- base model: {asked['base_model']}",
        f"- use: `chatgenbench eval --system {system}`", "",
        "| stage | report |", "|---|---|",
        *(f"| {stage} | {_told(report)} |" for stage, report in stages.items()), "",
        "## Settings", "", "```json", json.dumps(asked, indent=2, ensure_ascii=False), "```", "",
        "## Versions", "", ", ".join(f"{key} {value}" for key, value in facts["versions"].items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _told(report: dict[str, Any]) -> str:
    """A report on one line; lists are in recipe.json."""
    plain = {key: value for key, value in report.items() if value != "" and not isinstance(value, list | dict)}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in plain.items()
    )
