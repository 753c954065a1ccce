"""Silence libraries that talk over our progress bars; what matters they raise."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

CHATTERS = ("diffusers", "transformers", "huggingface_hub", "peft", "root", "open_clip", "torch")


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, library warnings and progress bars stay off; errors still come through."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    before = {name: logging.getLogger(name).level for name in CHATTERS}
    for name in CHATTERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
