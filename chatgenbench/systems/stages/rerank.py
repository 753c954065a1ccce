"""A chooser that reads the chat beside each shortlisted model's card: a cross-encoder over the hybrid search's head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import UserError, shorten
from chatgenbench.schema import Demonstration, Failure
from chatgenbench.systems.ranking.corpus import card_text
from chatgenbench.systems.ranking.evidence import KINDS
from chatgenbench.systems.stages.choosers import Search, query
from chatgenbench.systems.stages.declare import stage
from chatgenbench.systems.stages.protocol import Draft

#: Trained on MS MARCO passages (Apache-2.0).
PUBLISHED = "cross-encoder/ms-marco-MiniLM-L6-v2"
SHORTLIST = 20
MAX_TOKENS = 512


@stage("rerank", "chooser", f"hybrid's {SHORTLIST} best, reordered by a cross-encoder", takes="MODEL")
class Rerank(Search):
    """Takes a hub name or a folder of a sequence-classification model with one output (default: PUBLISHED)."""

    kinds = KINDS

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        super().__init__(None, benchmark, seed)
        self._name = argument or PUBLISHED
        self.revision = f"1+all-MiniLM-L6-v2+{self._name}"

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._tokenizer, self._model = _load(self._name)
        super().prepare(catalog, train)
        self._cards = {record.id: card_text(record) for record in catalog}

    def choose(self, drafts: Sequence[Draft]) -> list[tuple[str, ...] | Failure]:
        return [
            ranking if isinstance(ranking, Failure) else self._reorder(query(draft), ranking[:SHORTLIST])
            for draft, ranking in zip(drafts, super().choose(drafts), strict=True)
        ]

    def _reorder(self, text: str, models: Sequence[str]) -> tuple[str, ...]:
        """`models` by falling score; equals keep the order of the search."""
        import torch

        cards = [self._cards[model] for model in models]
        tokens = self._tokenizer(
            [text] * len(cards), cards, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            scores = self._model(**tokens).logits[:, 0].tolist()
        order = sorted(range(len(models)), key=lambda at: -scores[at])
        return tuple(models[at] for at in order)


def _load(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        model = AutoModelForSequenceClassification.from_pretrained(name, use_safetensors=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(f"stage 'rerank' cannot load '{name}': {shorten(str(error), 160)}") from None
    if model.config.num_labels != 1:
        raise UserError(f"stage 'rerank': '{name}' has {model.config.num_labels} outputs, a cross-encoder has one")
    return tokenizer, model
