"""Networks kept as transformers keeps them: load, tokenise, embed.  Imports torch; import it lazily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from t2imetrics._card import Weights
from t2imetrics._clip import Towers
from t2imetrics._images import CLIP_MEAN, CLIP_STD
from t2imetrics._scorer import Setting
from t2imetrics._weights import or_damaged, read_checkpoint, read_json
from t2imetrics.errors import WeightsError

#: `eos_token_id` in the configuration of older CLIP models (transformers pull request 24773): it means the highest id.
LEGACY_END = 2


class ClipNetwork(torch.nn.Module):
    """A transformers `CLIPModel` under the method names of open_clip, which `Towers` calls."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def encode_image(self, pixels: torch.Tensor) -> Any:
        """Projected picture features (n, dim), not normalised."""
        return self.clip.get_image_features(pixel_values=pixels).pooler_output

    def encode_text(self, ids: torch.Tensor) -> Any:
        """Projected text features (n, dim), not normalised, read at the first end token."""
        return self.clip.get_text_features(input_ids=ids).pooler_output


class ClipWords:
    """A transformers CLIP tokenizer under the names of open_clip's.

    Every text is padded to the limit, so that its features do not depend on its neighbours in the batch; the text
    tower looks back only, and what follows the end token changes nothing.
    """

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self.tokenizer, self.context_length = tokenizer, limit

    def __call__(self, texts: Sequence[str]) -> Any:
        """Ids (n, limit); a longer text is cut and keeps its end token."""
        coded = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.context_length, return_tensors="pt"
        )
        return coded["input_ids"]

    def encode(self, text: str) -> Any:
        """Ids without start and end, uncut."""
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def clip_towers(folder: Path, words: Path, weights: Weights, setting: Setting) -> Towers:
    """A `CLIPModel` of `folder` (config.json, model.safetensors) with the tokenizer files of `words`."""
    from transformers import CLIPConfig, CLIPModel

    config = or_damaged(folder / "config.json", lambda: CLIPConfig.from_dict(read_json(folder / "config.json")))
    tokenizer = _tokenizer(words, config.text_config)
    network = ClipNetwork(load_model(CLIPModel, config, folder / "model.safetensors"))
    limit, size = int(config.text_config.max_position_embeddings), int(config.vision_config.image_size)
    return Towers(network, ClipWords(tokenizer, limit), size, CLIP_MEAN, CLIP_STD, weights, setting)


def _tokenizer(folder: Path, config: Any) -> Any:
    """The CLIP tokenizer of the vocabulary in `folder`; refuses one the model cannot have been trained with."""
    from transformers import CLIPTokenizer

    made = or_damaged(folder, lambda: CLIPTokenizer(**_vocabulary(folder)))
    if len(made) != config.vocab_size:  # an absent vocabulary gives a tokenizer of two tokens, silently
        raise WeightsError(f"{folder}: the tokenizer has {len(made)} tokens, the model reads {config.vocab_size}")
    end = config.vocab_size - 1 if config.eos_token_id == LEGACY_END else config.eos_token_id
    if made.eos_token_id != end:  # the start would be read instead, which is the same for all texts
        raise WeightsError(f"{folder}: texts end with token {made.eos_token_id}, the model looks for {end}")
    return made


def _vocabulary(folder: Path) -> dict[str, Any]:
    """Tokens and merges of `tokenizer.json`, or of `vocab.json` and `merges.txt`; no other file is looked at."""
    if (folder / "tokenizer.json").is_file():
        model = read_json(folder / "tokenizer.json")["model"]
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in merges]}
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    merges = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    return {"vocab": read_json(folder / "vocab.json"), "merges": [tuple(pair) for pair in merges]}


def load_model(kind: Any, config: Any, path: Path, unused: str = "", **options: Any) -> Any:
    """A transformers model, float32, every weight of which comes from the file `path`.

    Old parameter names are understood as far as transformers understands them.  Entries of the file whose names start
    with `unused` are left out.

    Raises:
        WeightsError: a file that cannot be read, or lacks or holds other weights than the configuration asks for.
    """
    state = {name: tensor for name, tensor in read_checkpoint(path).items() if not (unused and name.startswith(unused))}
    with _quiet():
        model, report = or_damaged(
            path,
            lambda: kind.from_pretrained(
                None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True,
                dtype=torch.float32, **options,
            ),
        )  # fmt: skip
    other = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]}
    for what, names in (("lacks", report["missing_keys"] - other), ("has no place for", report["unexpected_keys"]),
                        ("has another size of", other)):  # fmt: skip
        if names:
            raise WeightsError(f"{path} does not fit its config.json: it {what} '{min(names)}' ({len(names)} in all)")
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and table: what is wrong with weights is told by an error."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
