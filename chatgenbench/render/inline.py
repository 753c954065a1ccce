"""Draw leases in this process, in batches.

A picture depends on its request alone: every picture has a generator (on the CPU, so that CPU and GPU start from the
same noise) seeded by its request.  The same request drawn twice gives the same PNG bytes.  Drawn in another batch
size, matrix products round differently: on CPU in float32 no channel of a pixel moves by more than DRIFT of 255.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, ChatGenBenchError, InfraError, RenderError, shorten
from chatgenbench.render.checkpoints import LIMIT, Shelf
from chatgenbench.render.costs import Weights, network_calls
from chatgenbench.render.encoding import Encoded, arguments, encode
from chatgenbench.render.executor import Picture, Undrawn
from chatgenbench.render.infotext import describe, write
from chatgenbench.render.leases import Lease
from chatgenbench.render.pool import Pool
from chatgenbench.render.prefetch import Prefetch
from chatgenbench.render.prompt_rule import is_encoded
from chatgenbench.render.samplers import resolve
from chatgenbench.render.schedulers import scheduler_for, timesteps_for
from chatgenbench.render.timings import Drawn, Loaded, Timings, device_name
from chatgenbench.render.weights import weight_files
from chatgenbench.schema import Failure, Outcome, RenderRequest

if TYPE_CHECKING:
    from PIL.Image import Image

#: Largest change of a channel (0..255) between batch sizes, on CPU in float32.
DRIFT = 2

#: Parameters of a denoiser below which one CPU thread draws faster than several.
SMALL = 50_000_000

#: How PyTorch's allocator and oneDNN say on a CPU that memory ran out.
CPU_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc", "could not create a primitive", "could not create a memory")

#: How PyTorch says that tensors do not fit each other, which only a plan's size can bring about.
SHAPE_WORDS = re.compile(r"\b(sizes?|shapes?|dimensions?)\b")


class InlineExecutor:
    """Keeps the contract of `Executor` with one device and no other process.

    Args:
        benchmark: catalog and weights.
        pool: where pictures go, each as soon as it is drawn.
        batch_size: pictures per pipeline call, at least 1.  Halved where memory runs out, and from then on for all
            pictures of that model and shape.
        device: "cpu", "cuda" or "cuda:N".
        limit: bytes of weights kept warm.
    """

    def __init__(
        self, benchmark: Benchmark, pool: Pool, batch_size: int = 4, device: str = "cpu", limit: int = LIMIT
    ) -> None:
        self.pool, self.batch_size = pool, batch_size
        self.shelf = Shelf(benchmark, device, limit)
        self._configs: dict[str, dict[str, Any]] = {}
        self._fits: dict[tuple[Any, ...], int] = {}
        self._timings, self._device = Timings(), device_name(device)
        self._prefetch = Prefetch(self._prepare)

    def run(self, leases: Iterable[Lease], then: Weights | None = None) -> Iterator[Picture | Undrawn]:
        """Draw every request; see `Executor.run`.  `then` is what will probably be drawn with after these."""
        listed = list(leases)
        for lease, following in zip(listed, _next_weights(listed, then), strict=True):
            yield from self._lease(lease, following)

    def close(self) -> None:
        """Free the weights."""
        self._prefetch.close()
        self.shelf.clear()

    def _lease(self, lease: Lease, then: Weights | None) -> Iterator[Picture | Undrawn]:
        try:
            pipeline = self._pipeline(lease.shared)
        except (BenchmarkError, MemoryError, RuntimeError) as error:
            _raise_if_device_lost(error)
            yield from (_undrawn(request, Outcome.INFRA_FAILED, error) for request in lease.requests)
            return
        self._prefetch.want(then)
        for start in range(0, len(lease.requests), self.batch_size):
            yield from self._fitting(pipeline, lease.requests[start : start + self.batch_size])

    def _pipeline(self, shared: RenderRequest) -> Any:
        """The pipeline with base and LoRA, each load timed."""
        base, lora = shared.checkpoint, shared.lora
        if not self.shelf.holds(base, None):
            self._prefetch.settle(base)
            self._timed("checkpoint", base, lambda: self.shelf.take(base, None, 1.0))
        if lora is None or self.shelf.holds(base, lora):
            return self.shelf.take(base, lora, shared.lora_weight)
        self._prefetch.settle(lora)
        return self._timed("lora", lora, lambda: self.shelf.take(base, lora, shared.lora_weight))

    def _timed(self, kind: str, key: str, load: Callable[[], Any]) -> Any:
        resolver, record = self.shelf.resolver, self.shelf.record(kind, key)
        here = resolver.bytes_to_fetch(record) == 0  # what has to be downloaded first says nothing about loading
        started = time.perf_counter()
        pipeline = load()
        seconds = time.perf_counter() - started
        if here:
            with resolver.using(record) as located:
                size = sum(file.stat().st_size for file in weight_files(located.path))
            self._timings.add(Loaded(self._device, kind, key, size, seconds))
        return pipeline

    def _prepare(self, weights: Weights) -> None:
        """Have the files of base and LoRA here and checked, unless they are loaded already."""
        base, lora = weights
        if not self.shelf.holds(base, None):
            self.shelf.ready("checkpoint", base)
        if lora is not None and not self.shelf.holds(base, lora):
            self.shelf.ready("lora", lora)

    def _fitting(self, pipeline: Any, requests: Sequence[RenderRequest]) -> Iterator[Picture | Undrawn]:
        """Draw one batch, at once in the halves into which lack of memory would cut it again."""
        fits = self._fits.get(_room(requests[0]), self.batch_size)
        if len(requests) <= fits:
            yield from self._batch(pipeline, requests)
            return
        for half in _halves(requests):
            yield from self._fitting(pipeline, half)

    def _batch(self, pipeline: Any, requests: Sequence[RenderRequest]) -> Iterator[Picture | Undrawn]:
        """Draw one batch; on trouble draw it in halves (memory) or one by one, so that only the guilty row fails."""
        started = time.perf_counter()
        try:
            images = self._draw(pipeline, requests)
        except Exception as error:
            _raise_if_device_lost(error)
            memory = _is_memory(error)
            if len(requests) == 1:
                yield _undrawn(requests[0], _blame(error), error)
                return
            parts = _halves(requests) if memory else [[request] for request in requests]
            if memory:
                self._fits[_room(requests[0])] = len(parts[0])
        else:
            seconds = time.perf_counter() - started
            self._note(requests, seconds)
            yield from self._keep(requests, images, seconds / len(requests))
            return
        _free_memory(self.shelf.device, memory)  # outside the handler, whose traceback keeps tensors alive
        for part in parts:
            yield from self._fitting(pipeline, part)

    def _note(self, requests: Sequence[RenderRequest], seconds: float) -> None:
        one = requests[0]
        family = self.shelf.record("checkpoint", one.checkpoint).base_model
        calls, pixels = network_calls(one), one.width * one.height
        self._timings.add(Drawn(self._device, family, calls, one.cfg_scale > 1, pixels, len(requests), seconds))

    def _draw(self, pipeline: Any, requests: Sequence[RenderRequest]) -> list[Image | None]:
        """Pictures of a batch.  None stands for a picture with values that are not numbers."""
        if not is_encoded(requests[0].engine):
            texts = {"prompt": [r.prompt for r in requests], "negative_prompt": [r.negative_prompt for r in requests]}
            return self._call(pipeline, requests, texts)
        found: dict[str, Image | None] = {}
        for group, embeddings in _encoded(pipeline, requests, self.shelf.device):
            images = self._call(pipeline, group, embeddings)
            found |= {request.digest: image for request, image in zip(group, images, strict=True)}
        return [found[request.digest] for request in requests]

    def _call(self, pipeline: Any, requests: Sequence[RenderRequest], prompts: Mapping[str, Any]) -> list[Image | None]:
        """One pipeline call."""
        import torch

        shared = requests[0]
        sampler = resolve(shared.sampler)
        base_config = self._configs.setdefault(shared.checkpoint, dict(pipeline.scheduler.config))
        pipeline.scheduler = scheduler_for(sampler, base_config, [request.seed for request in requests])
        options = dict(sampler.call_kwargs)
        if "timesteps" in options:
            options["timesteps"] = timesteps_for(options["timesteps"], shared.steps)
        if shared.clip_skip is not None:
            options["clip_skip"] = _skip(shared)
        with torch.inference_mode(), _flat_text_encoder(pipeline), _one_thread_if_small(pipeline, self.shelf.device):
            pixels = pipeline(
                **prompts,
                num_inference_steps=shared.steps,
                guidance_scale=shared.cfg_scale,
                width=shared.width,
                height=shared.height,
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
                output_type="pt",
                **options,
            ).images
        return [_image(picture) for picture in pixels.float().cpu()]

    def _keep(
        self, requests: Sequence[RenderRequest], images: Sequence[Image | None], seconds: float
    ) -> Iterator[Picture | Undrawn]:
        """Put a batch into the pool as one, then tell of each picture."""
        good = [(r, image) for r, image in zip(requests, images, strict=True) if image is not None]
        stored = self.pool.put_batch([(r.digest, image, self._infotext(r)) for r, image in good]) if good else []
        yield from (Picture(r.digest, sha256, seconds) for (r, _), sha256 in zip(good, stored, strict=True))
        broken = ValueError("the picture has values that are not numbers")
        for request, image in zip(requests, images, strict=True):
            if image is None:
                yield _undrawn(request, Outcome.SYSTEM_FAILED, broken)

    def _infotext(self, request: RenderRequest) -> str:
        checkpoint = self.shelf.record("checkpoint", request.checkpoint)
        lora = None if request.lora is None else self.shelf.record("lora", request.lora)
        return write(describe(request, checkpoint, lora))


def _skip(request: RenderRequest) -> int | None:
    """Layers of CLIP to skip: A1111 counts the last layer as 1, diffusers as 0."""
    return None if request.clip_skip is None else request.clip_skip - 1


def _encoded(
    pipeline: Any, requests: Sequence[RenderRequest], device: str
) -> list[tuple[list[RenderRequest], dict[str, Any]]]:
    """Requests whose embeddings are alike in length, with these; each is encoded by itself."""
    import torch

    groups: dict[int, list[tuple[RenderRequest, Encoded]]] = {}
    with torch.inference_mode(), _one_thread_if_small(pipeline, device):
        for request in requests:
            one = encode(pipeline, request.prompt, request.negative_prompt, _skip(request))
            groups.setdefault(one.prompt.shape[1], []).append((request, one))
        return [([r for r, _ in group], arguments([one for _, one in group])) for group in groups.values()]


def _next_weights(leases: Sequence[Lease], then: Weights | None) -> list[Weights | None]:
    """For each lease the next weights that are other than its own; after the last ones, `then`."""
    found: list[Weights | None] = []
    following: Weights | None = then
    for at in range(len(leases) - 1, -1, -1):
        mine = (leases[at].shared.checkpoint, leases[at].shared.lora)
        if at + 1 < len(leases):
            after = (leases[at + 1].shared.checkpoint, leases[at + 1].shared.lora)
            following = after if after != mine else following
        found.append(following if following != mine else None)
    return found[::-1]


def _halves(requests: Sequence[RenderRequest]) -> list[Sequence[RenderRequest]]:
    size = (len(requests) + 1) // 2
    return [requests[:size], requests[size:]]


def _room(request: RenderRequest) -> tuple[Any, ...]:
    """What decides how many pictures fit into memory at once."""
    return request.checkpoint, request.lora, request.width, request.height, request.cfg_scale > 1


@contextmanager
def _one_thread_if_small(pipeline: Any, device: str) -> Iterator[None]:
    """On a CPU, draw with one thread where the network is small.

    More threads spend their time waiting for one another there (measured: three times as long with two), and the last
    bits of a picture depend on how many there are: so it is the same on a machine with any number of cores.
    """
    import torch

    unet = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = 0 if unet is None else sum(p.numel() for p in unet.parameters())
    if device != "cpu" or not 0 < size < SMALL:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _flat_text_encoder(pipeline: Any) -> Iterator[None]:
    """Let diffusers skip CLIP layers: it looks for `text_model`, which transformers 5.6 merged into its parent.

    (huggingface/diffusers#14043.)  Only during the call: LoRA loading reads meaning into that attribute.
    """
    encoder = getattr(pipeline, "text_encoder", None)
    flat = hasattr(encoder, "final_layer_norm") and not hasattr(encoder, "text_model")
    if flat:
        encoder.__dict__["text_model"] = encoder
    try:
        yield
    finally:
        if flat:
            del encoder.__dict__["text_model"]


def _image(pixels: Any) -> Image | None:
    """A PIL image of a (3, height, width) tensor in 0..1, or None if a value is not finite."""
    from PIL import Image

    if not bool(pixels.isfinite().all()):
        return None
    return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def _undrawn(request: RenderRequest, outcome: Any, error: BaseException) -> Undrawn:
    text = str(error) if isinstance(error, ChatGenBenchError) else f"{type(error).__name__}: {error}"
    return Undrawn(request.digest, Failure(outcome=outcome, reason=shorten(text, 300)))


def _blame(error: BaseException) -> Outcome:
    """Whose fault it is that a picture could not be drawn: the plan's for good, or the machine's until mended.

    diffusers and its schedulers refuse values by ValueError and IndexError, PyTorch shapes by RuntimeError.
    Anything else (a missing package, a file that vanished, a broken kernel) says nothing about the plan.
    """
    of_plan = isinstance(error, RenderError | ValueError | IndexError | ArithmeticError)
    of_shape = type(error) is RuntimeError and not _is_memory(error) and bool(SHAPE_WORDS.search(str(error)))
    return Outcome.SYSTEM_FAILED if of_plan or of_shape else Outcome.INFRA_FAILED


def _is_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_MEMORY)


def _raise_if_device_lost(error: BaseException) -> None:
    """A CUDA error other than lack of memory leaves the device unusable for this process."""
    if isinstance(error, InfraError):
        raise error
    if not _is_memory(error) and isinstance(error, RuntimeError) and "CUDA error" in str(error):
        raise InfraError(f"the GPU failed: {shorten(str(error), 200)}") from error


def _free_memory(device: str, needed: bool) -> None:
    if needed and device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
