"""Prompts with weights, and prompts longer than 77 tokens, as embeddings for Stable Diffusion's networks.

The rule is A1111's, whose prompts these are: each chunk of 75 tokens is encoded by itself, what a token became is
multiplied by its weight, the chunk's mean is restored, and the chunks follow one another.  SDXL's pooled embedding is
that of the first chunk, without weights.  compel, the kept library for this, has another rule (weights move words away
from the empty prompt, lighter words are masked out, long prompts are cut at sentences), so it draws other pictures of
the same prompt; it skips no other layers of CLIP than the last, and asks for them in a place that transformers 5.6
took away.

A prompt of one chunk without weights gives, bit by bit, what diffusers' own `encode_prompt` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatgenbench.render.prompts import Chunk, chunks


@dataclass(frozen=True)
class Encoded:
    """Embeddings (1, tokens, width) of a prompt and its negative one, alike in length; pooled (1, width) for SDXL."""

    prompt: Any
    negative: Any
    pooled: Any = None
    negative_pooled: Any = None


def encode(pipeline: Any, prompt: str, negative: str, skip: int | None) -> Encoded:
    """Encode with the text encoders of a StableDiffusionPipeline or StableDiffusionXLPipeline.

    Args:
        skip: last layers that are left out, as diffusers counts them; None: as the pipeline does without being told.
            As in diffusers, the negative prompt never leaves any out.
    """
    encoders = _encoders(pipeline)
    pairs = [[_chunks(pipeline, tokenizer, text) for text in (prompt, negative)] for tokenizer, _ in encoders]
    length = max(len(found) for pair in pairs for found in pair)
    wide, pooled = [], None
    for (tokenizer, model), pair in zip(encoders, pairs, strict=True):
        sides = [
            _encode(model, tokenizer, _padded(found, length), layers, len(encoders) > 1)
            for found, layers in zip(pair, (skip, None), strict=True)
        ]
        wide.append([embedding for embedding, _ in sides])
        pooled = [one for _, one in sides]
    joined = [_join([side[at] for side in wide]) for at in (0, 1)]
    if len(encoders) == 1 or pooled is None:
        return Encoded(*joined)
    return Encoded(*joined, *pooled)


def arguments(encoded: Sequence[Encoded]) -> dict[str, Any]:
    """What a pipeline is called with for a batch of prompts that are alike in length."""
    import torch

    found = {
        "prompt_embeds": torch.cat([one.prompt for one in encoded]),
        "negative_prompt_embeds": torch.cat([one.negative for one in encoded]),
    }
    if encoded[0].pooled is not None:
        found["pooled_prompt_embeds"] = torch.cat([one.pooled for one in encoded])
        found["negative_pooled_prompt_embeds"] = torch.cat([one.negative_pooled for one in encoded])
    return found


def _encoders(pipeline: Any) -> list[tuple[Any, Any]]:
    """(tokenizer, text encoder) of each of the pipeline's, in the order in which their embeddings are joined."""
    names = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    found = [(getattr(pipeline, one, None), getattr(pipeline, two, None)) for one, two in names]
    return [(tokenizer, model) for tokenizer, model in found if model is not None]


def _chunks(pipeline: Any, tokenizer: Any, text: str) -> list[Chunk]:
    def tokenize(piece: str) -> list[int]:
        piece = pipeline.maybe_convert_prompt(piece, tokenizer)  # words of textual inversions stand for several tokens
        ids: list[int] = tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False).input_ids
        return ids

    return chunks(text, tokenize, tokenizer.convert_tokens_to_ids(",</w>"), tokenizer.model_max_length - 2)


def _padded(found: list[Chunk], length: int) -> list[Chunk]:
    return found + [Chunk((), ())] * (length - len(found))


def _encode(model: Any, tokenizer: Any, found: list[Chunk], skip: int | None, several: bool) -> tuple[Any, Any]:
    """Embeddings (1, tokens, width) of the chunks, one after the other, and the pooled one of the first."""
    import torch

    size = tokenizer.model_max_length
    ids = torch.tensor([_row(c.tokens, tokenizer, size) for c in found], device=model.device)
    weights = torch.tensor([[1.0, *c.weights, *[1.0] * (size - 1 - len(c.weights))] for c in found])
    output = model(ids, output_hidden_states=several or skip is not None)
    if several:  # SDXL reads the last layer but one, and no final norm
        hidden = output.hidden_states[-2 - (skip or 0)]
    elif skip is None:
        hidden = output[0]
    else:
        hidden = getattr(model, "text_model", model).final_layer_norm(output.hidden_states[-1 - skip])
    hidden = _weighted(hidden, weights.to(hidden.device))
    return hidden.reshape(1, -1, hidden.shape[-1]), output[0][:1]


def _row(tokens: Sequence[int], tokenizer: Any, size: int) -> list[int]:
    row = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    return row + [tokenizer.pad_token_id] * (size - len(row))


def _weighted(hidden: Any, weights: Any) -> Any:
    """Each chunk (its row of `hidden`) times its weights, with the mean it had before."""
    import torch

    plain = (weights == 1).all(dim=1)
    before = hidden.float()
    after = before * weights[:, :, None]
    mean, moved = (values.mean(dim=(1, 2), keepdim=True) for values in (before, after))
    restored = after * torch.where(moved == 0, 1.0, mean / moved)
    return torch.where(plain[:, None, None], hidden, restored.to(hidden.dtype))


def _join(embeddings: list[Any]) -> Any:
    import torch

    return embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings, dim=-1)
