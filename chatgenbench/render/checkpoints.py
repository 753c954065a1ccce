"""A shelf of warm pipelines: load each checkpoint once, switch LoRAs on it, evict the least recently used by bytes."""

from __future__ import annotations

import gc
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, shorten
from chatgenbench.interrupt import held
from chatgenbench.render.extras import add_extras
from chatgenbench.render.fold import Fold
from chatgenbench.render.lycoris import Network, is_lycoris
from chatgenbench.render.resolver import Located, Resolver
from chatgenbench.render.singlefile import described
from chatgenbench.render.sources import parse
from chatgenbench.render.weights import by_key, inside, parameters_in, weight_files, weights_digest, weights_key
from chatgenbench.schema import ModelRecord

#: Default room for warm weights, in bytes.
LIMIT = 16 * 2**30
#: A base between two LoRAs, or left so by one that could not be put on.
OPEN = "open"


def dtype_name(device: str) -> str:
    """How weights are held: half precision where a GPU is fast at it, full precision elsewhere."""
    return "float16" if device.startswith("cuda") else "float32"


@dataclass
class _Warm:
    """One loaded base with the LoRAs put on it (key -> bytes), least recently used first.

    `networks` are those of them that LyCORIS puts on; `now` is the LoRA with its weight that it draws with, or OPEN.
    """

    pipeline: Any
    bytes: int
    fold: Fold
    loras: OrderedDict[str, int] = field(default_factory=OrderedDict)
    networks: dict[str, Network] = field(default_factory=dict)
    now: tuple[str, float] | str | None = None

    @property
    def total(self) -> int:
        own = self.bytes * (2 if self.loras else 1)  # the base's own tensors stay beside those with a LoRA in them
        return own + sum(self.loras.values())

    def open(self) -> None:
        """Everything off and out: only then may LoRAs be put on or dropped."""
        self.now = OPEN
        for network in self.networks.values():
            network.off()
        self.fold.take_out()

    def switch(self, lora: str | None, weight: float) -> None:
        """Draw with exactly this LoRA, which has been put on, or with none."""
        wanted = None if lora is None else (lora, weight)
        if self.now == wanted:
            return
        self.open()
        if lora is None or lora in self.networks:
            self.fold.put_in(None)
            if lora is not None:
                self.networks[lora].on(weight)
        else:
            self.pipeline.enable_lora()
            self.pipeline.set_adapters([_adapter(lora)], [weight])
            self.fold.put_in(_adapter(lora))
        self.now = wanted

    def drop_oldest(self) -> None:
        """Take the least recently used LoRA off."""
        oldest, _ = self.loras.popitem(last=False)
        if oldest in self.networks:
            self.networks.pop(oldest).off()
        else:
            self.pipeline.delete_adapters([_adapter(oldest)])


class Shelf:
    """Pipelines by the sha256 of their weights.

    Every file is hashed once before it is first loaded.  `loaded` counts the loads from disk.

    Args:
        benchmark: whose catalog and files are used.
        device: "cpu", "cuda" or "cuda:N".
        limit: bytes of weights kept warm.  One base with one LoRA is kept even if it is larger.
        resolver: finds or fetches the files; None: one of its own.
    """

    def __init__(
        self, benchmark: Benchmark, device: str = "cpu", limit: int = LIMIT, resolver: Resolver | None = None
    ) -> None:
        self.benchmark, self.device, self.limit = benchmark, device, limit
        self.resolver = resolver or Resolver(benchmark)
        self.loaded = 0
        self._by_key = by_key(benchmark)
        self._warm: OrderedDict[str, _Warm] = OrderedDict()
        self._broken: dict[str, BenchmarkError] = {}
        self._verified: set[str] = set()
        _quiet()

    def record(self, kind: str, key: str) -> ModelRecord:
        """The catalog's record of type `kind` with these weights; raises BenchmarkError when there is none."""
        record = self._by_key.get((kind, key))
        if record is None:
            raise BenchmarkError(f"no {kind} of the catalog has the weights {key[:10]}…")
        return record

    def take(self, checkpoint: str, lora: str | None, weight: float) -> Any:
        """The pipeline of a checkpoint with exactly this LoRA at this weight, or with none.

        Raises:
            BenchmarkError: files missing, unreadable, not safetensors, or not those the catalog describes.
        """
        warm = self._base(checkpoint)
        if lora is not None:
            self._put_on(warm, lora)
        warm.switch(lora, weight)
        return warm.pipeline

    def holds(self, checkpoint: str, lora: str | None) -> bool:
        """Whether a base is warm, with this LoRA on it if one is given."""
        warm = self._warm.get(checkpoint)
        return warm is not None and (lora is None or lora in warm.loras)

    def ready(self, kind: str, sha256: str) -> None:
        """Have a record's files here and checked, without loading them; another thread may draw meanwhile.

        Raises:
            BenchmarkError: as `take` would.
        """
        with self._checked(self.record(kind, sha256)):
            pass

    def clear(self) -> None:
        """Drop every pipeline."""
        self._warm.clear()
        self._collect()

    def _base(self, sha256: str) -> _Warm:
        if sha256 not in self._warm:
            record = self.record("checkpoint", sha256)
            with self._checked(record) as located:
                size = parameters_in(located.path) * self._itemsize
                self._make_room(size)
                pipeline = self._guarded(record, lambda: self._load(record, located))
                self._warm[sha256] = _Warm(pipeline, size, Fold(pipeline))
        self._warm.move_to_end(sha256)
        return self._warm[sha256]

    def _put_on(self, warm: _Warm, sha256: str) -> None:
        if sha256 not in warm.loras:
            record = self.record("lora", sha256)
            warm.open()
            with self._checked(record) as located:
                size = parameters_in(located.path) * self._itemsize
                self._make_room(size, keep=warm)
                self._guarded(record, lambda: self._load_lora(warm, record, located.path))
            warm.loras[sha256] = size
        warm.loras.move_to_end(sha256)

    def _load(self, record: ModelRecord, located: Located) -> Any:
        import torch

        options = {"dtype": getattr(torch, dtype_name(self.device)), "local_files_only": True}
        if located.role == "diffusers":
            pipeline = _from_folder(located.path, options)
        else:
            pipeline = _from_file(record, located.path, self.resolver, options)
        add_extras(pipeline, located, options["dtype"])
        pipeline.set_progress_bar_config(disable=True)
        self.loaded += 1
        return pipeline.to(self.device)

    def _load_lora(self, warm: _Warm, record: ModelRecord, path: Path) -> None:
        key, pipeline = weights_key(record), warm.pipeline
        if is_lycoris(path):
            warm.networks[key] = Network(pipeline, path)
            self.loaded += 1
            return
        name = _adapter(key)
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True)
        self.loaded += 1
        if not any(name in names for names in pipeline.get_list_adapters().values()):
            raise ValueError("none of its layers is in the base")

    @contextmanager
    def _checked(self, record: ModelRecord) -> Iterator[Located]:
        """Where the weights lie, once they have been seen to be the catalog's."""
        if record.id in self._broken:
            raise self._broken[record.id]
        with self._remembered(record), self.resolver.using(record) as located:
            if not located.verified and record.id not in self._verified:
                self._verify(record, located)
            yield located

    def _verify(self, record: ModelRecord, located: Located) -> None:
        """That files which nobody has looked at yet are those that the catalog describes."""
        files = [(located.path, record.sha256)]
        files += [(path, parse(record.files[name]).sha256) for name, path in located.extras.items()]
        for path, sha256 in files:
            found = weights_digest(path)
            if sha256 and found != sha256:
                problem = f"{path} is not the file that the catalog describes (sha256 {found[:10]}…)"
                raise BenchmarkError(f"{problem}: fetch it again")
        self._verified.add(record.id)

    @contextmanager
    def _remembered(self, record: ModelRecord) -> Iterator[None]:
        """What is wrong with weights is found once; every later row that needs them is told the same."""
        try:
            yield
        except BenchmarkError as error:
            self._broken[record.id] = error
            raise

    def _guarded(self, record: ModelRecord, load: Callable[[], Any]) -> Any:
        """`load()`, with whatever a library says about bad files as one BenchmarkError."""
        import torch

        try:
            with held():
                return load()
        except (BenchmarkError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise BenchmarkError(f"model '{record.id}' cannot be loaded: {shorten(str(error), 200)}") from error

    def _make_room(self, size: int, keep: _Warm | None = None) -> None:
        """Evict until `size` bytes more fit: other bases first, then LoRAs of the one to keep."""
        before = len(self._warm)
        for sha256 in [key for key, warm in self._warm.items() if warm is not keep]:
            if self._total() + size <= self.limit:
                break
            del self._warm[sha256]
        if len(self._warm) < before:
            self._collect()
        while keep is not None and keep.loras and self._total() + size > self.limit:
            keep.drop_oldest()

    def _total(self) -> int:
        return sum(warm.total for warm in self._warm.values())

    @property
    def _itemsize(self) -> int:
        return 2 if dtype_name(self.device) == "float16" else 4

    def _collect(self) -> None:
        gc.collect()
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()


def _adapter(sha256: str) -> str:
    return f"lora_{sha256[:16]}"


def _from_folder(path: Path, options: dict[str, Any]) -> Any:
    import diffusers

    index = json.loads((path / "model_index.json").read_text("utf-8"))
    # parts saved as absent must be passed as absent, and a safety checker isn't the benchmark's business
    absent = {name: None for name, value in index.items() if isinstance(value, list) and value[0] is None}
    if "safety_checker" in index:
        absent["safety_checker"] = None
        options = {**options, "requires_safety_checker": False}
    return diffusers.DiffusionPipeline.from_pretrained(str(path), use_safetensors=True, **options, **absent)


def _from_file(record: ModelRecord, path: Path, resolver: Resolver, options: dict[str, Any]) -> Any:
    """A single-file checkpoint.  Left alone, diffusers would look its configuration up on the hub."""
    weight_files(path)
    if "config" in record.files:
        return _configured(path, inside(resolver.benchmark, record.files["config"]), options)
    with described(record, path, resolver, options["dtype"]) as (config, parts):
        return _configured(path, config, {**options, **parts})


def _configured(path: Path, config: Path, options: dict[str, Any]) -> Any:
    import diffusers

    index = json.loads((config / "model_index.json").read_text("utf-8"))
    cls = getattr(diffusers, index["_class_name"])
    if "safety_checker" in index:
        options = {**options, "safety_checker": None, "requires_safety_checker": False}
    return cls.from_single_file(str(path), config=str(config), **options)


def _quiet() -> None:
    """Libraries keep their bars and advice to themselves; their errors come through."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
