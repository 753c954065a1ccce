"""From a plan to the render request that decides every pixel of its picture."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, RenderError, UnknownNameError
from chatgenbench.render.samplers import resolve
from chatgenbench.render.weights import weights_key
from chatgenbench.schema import Arguments, ModelRecord, Plan, RenderRequest

#: Raised whenever this package would draw other pixels for the same request.
ENGINE = 2
MAX_STEPS = 150
MAX_PIXELS = 2048 * 2048
#: Latents are an eighth of the picture's side, so sides are multiples of 8 pixels.
GRID = 8


def engine_fingerprint(device: str, dtype: str) -> str:
    """What draws, as one line: our engine version, library versions, kind of device ("cuda", "cpu"), weights' dtype."""
    versions = [f"{name}/{_version(name)}" for name in ("diffusers", "torch", "transformers", "peft")]
    return " ".join([f"chatgenbench-render/{ENGINE}", *versions, device.split(":")[0], dtype])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def request_for(plan: Plan, benchmark: Benchmark, seed: int, engine: str) -> tuple[RenderRequest, str | None]:
    """The request that draws `plan`, and a note of what could only be approximated (None: nothing).

    Args:
        plan: what a system answered.
        benchmark: whose catalog the plan's model is looked up in.
        seed: used when the plan names none, 0 <= seed < 2**63.
        engine: from `engine_fingerprint`.

    Raises:
        RenderError: the plan names an unknown model or sampler, or asks for more than MAX_STEPS or MAX_PIXELS.
        BenchmarkError: the catalog's LoRA has no usable base.
    """
    arguments = plan.arguments
    record = _model(plan, benchmark)
    base = benchmark.catalog.base_of(record)
    if base.type != "checkpoint":
        raise BenchmarkError(f"the base '{base.id}' of LoRA '{record.id}' is not a checkpoint: mend catalog.jsonl")
    sampler = resolve(arguments.sampler)
    _check_bounds(arguments)
    width, height = (side - side % GRID for side in (arguments.width, arguments.height))
    is_lora = record.type == "lora"
    request = RenderRequest(
        prompt=plan.prompt,
        negative_prompt=plan.negative_prompt,
        checkpoint=_key(base),
        lora=_key(record) if is_lora else None,
        lora_weight=_weight(arguments) if is_lora else 1.0,
        sampler=sampler.name,
        steps=arguments.steps,
        cfg_scale=arguments.cfg_scale,
        width=width,
        height=height,
        clip_skip=None if arguments.clip_skip == 1 else arguments.clip_skip,  # 1 skips nothing
        seed=seed if arguments.seed is None else arguments.seed,
        engine=engine,
    )
    return request, _notes(arguments, request, sampler.note)


def _key(record: ModelRecord) -> str:
    key = weights_key(record)
    if not key:
        raise BenchmarkError(f"nobody knows the weights of model '{record.id}' (no sha256): it can't be drawn with")
    return key


def _weight(arguments: Arguments) -> float:
    return 1.0 if arguments.lora_weight is None else arguments.lora_weight


def _model(plan: Plan, benchmark: Benchmark) -> ModelRecord:
    try:
        return benchmark.catalog.get(plan.model)
    except UnknownNameError as error:
        raise RenderError(str(error)) from None


def _check_bounds(arguments: Arguments) -> None:
    if arguments.steps > MAX_STEPS:
        raise RenderError(f"{arguments.steps} steps are more than the {MAX_STEPS} that are drawn")
    if arguments.width * arguments.height > MAX_PIXELS:
        size = f"{arguments.width}x{arguments.height}"
        raise RenderError(f"{size} is more than the {MAX_PIXELS:,} pixels that are drawn")


def _notes(arguments: Arguments, request: RenderRequest, sampler_note: str | None) -> str | None:
    notes = [sampler_note] if sampler_note else []
    asked = (arguments.width, arguments.height)
    if asked != (request.width, request.height):
        notes.append(f"size {asked[0]}x{asked[1]} drawn as {request.width}x{request.height}")
    if arguments.cfg_scale < 1:
        notes.append(f"CFG scale {arguments.cfg_scale:g} drawn without guidance")
    return "; ".join(notes) or None
