"""What `image-reward` 1.5 and `hpsv2` 1.2.0 need to load next to current libraries.

Everything here holds inside `borrowed` only.  The package that is borrowed is a private copy: its modules leave
`sys.modules` at the end of the block, so a scorer may change them without touching another scorer or the user's own
import, and neither transformers nor the process's settings remember that it was there.  Not safe in two threads at
a time, like any change of `sys.modules`.
"""

from __future__ import annotations

import gzip
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from t2imetrics.errors import OptionError, shorten

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def _unused(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a stub: scoring does not use this function")


#: Modules the packages import at the top and do not use to score: name -> what is taken from them.
ABSENT: dict[str, dict[str, Any]] = {
    "clip": {},
    "clint.textui": {"progress": None},
    "fairscale.nn.checkpoint.checkpoint_activations": {"checkpoint_wrapper": _unused},
    "requests": {},
    "turtle": {"forward": _unused},
}
#: A training script that the package imports with it, and with it diffusers and datasets.
UNWANTED = "ImageReward.ReFL"


@contextmanager
def borrowed(distribution: str, package: str) -> Iterator[Callable[[str], Any]]:
    """A private copy of `package`; the block gets a function that imports one of its modules by full name.

    Raises:
        OptionError: not installed, or not importable for a reason the stubs do not know.
    """
    label = release(distribution)

    def module(name: str) -> Any:
        try:
            return import_module(name)
        except Exception as error:  # whatever a package does while it is imported
            raise OptionError(f"package {label} cannot be imported: {shorten(error)}") from error

    with _settings(), _modules(package), _transformers(), _vocabulary():
        yield module


def release(distribution: str) -> str:
    """`image-reward 1.5`, or an OptionError that says what to type when it is not installed."""
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        hint = f"backend 'reference' needs the package {distribution}: type `make reference`"
        raise OptionError(f"{hint} (metrics/REFERENCE.md)") from None


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and none of the filters the packages set; they call functions that are deprecated by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _settings() -> Iterator[None]:
    """Put back what the packages change in the process: warnings, log levels, log handlers, one variable."""
    from transformers import logging as chatter

    name = "TOKENIZERS_PARALLELISM"
    before, level, handlers = os.environ.get(name), chatter.get_verbosity(), logging.root.handlers[:]
    try:
        with quiet():
            yield
    finally:
        chatter.set_verbosity(level)
        logging.root.handlers[:] = handlers  # hpsv2 calls logging.info, which adds one when there is none
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _modules(package: str) -> Iterator[None]:
    """Stand-ins for what is absent; `package` is imported anew and forgotten at the end."""
    stubs = {name: _stub(name, taken) for name, taken in ABSENT.items() if not _importable(name)}
    stubs[UNWANTED] = _stub(UNWANTED, {})
    mine = {name: found for name, found in sys.modules.items() if name.split(".")[0] == package}
    for name in mine:
        del sys.modules[name]
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name in stubs or name.split(".")[0] == package]:
            del sys.modules[name]
        sys.modules.update(mine)


def _importable(name: str) -> bool:
    try:
        import_module(name)
    except Exception:  # absent, or there but broken: `clip` without pkg_resources, `turtle` without tkinter
        return False
    return True


def _stub(name: str, taken: dict[str, Any]) -> ModuleType:
    module = ModuleType(name, "Stands in for a module that scoring does not use.")
    vars(module).update(taken)
    return module


@contextmanager
def _transformers() -> Iterator[None]:
    """Three functions that `transformers.modeling_utils` exported before 4.56."""
    import transformers.modeling_utils as home

    gone = {
        "apply_chunking_to_forward": _in_one_piece,
        "find_pruneable_heads_and_indices": _unused,
        "prune_linear_layer": _unused,
    }
    added = [name for name in gone if not hasattr(home, name)]
    for name in added:
        setattr(home, name, gone[name])
    try:
        yield
    finally:
        for name in added:
            delattr(home, name)


def _in_one_piece(forward: Callable[..., Any], chunk: int, _: int, *tensors: Any) -> Any:
    """Feed-forward over the whole sequence; the models configure no chunks."""
    return forward(*tensors) if chunk == 0 else _unused()


@contextmanager
def _vocabulary() -> Iterator[None]:
    """The merges file that hpsv2's wheel lacks is read from open_clip's copy; nothing is written beside the wheel."""
    opened = gzip.open

    def elsewhere(filename: Any, *args: Any, **options: Any) -> Any:
        wanted = Path(filename) if isinstance(filename, (str, Path)) else None
        if wanted is not None and wanted.name == VOCABULARY and not wanted.is_file():
            from open_clip.tokenizer import default_bpe

            filename = default_bpe()
        return opened(filename, *args, **options)

    gzip.open = elsewhere
    try:
        yield
    finally:
        gzip.open = opened
