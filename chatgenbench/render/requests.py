"""From a plan to the render request that decides every pixel of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, RenderError, UnknownNameError
from chatgenbench.render.families import Family, family_of, needs_family, not_drawn
from chatgenbench.render.prompt_rule import reading
from chatgenbench.render.samplers import resolve
from chatgenbench.render.schedulers import FLOW
from chatgenbench.render.weights import weights_key
from chatgenbench.schema import Arguments, ModelRecord, Plan, RenderRequest

#: Raised whenever this package would draw other pixels for the same request; what concerns only some prompts has a
#: version of its own, prompt_rule.RULE, so that all other pictures keep their names.
ENGINE = 3
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
        BenchmarkError: the catalog's LoRA has no usable base, or weights are not known.
    """
    arguments = plan.arguments
    record = _model(plan, benchmark)
    base = _base(record, benchmark)
    check_families(record, base)
    family = family_of(base.base_model)
    sampler, sampler_note = _sampler(arguments.sampler, family)
    width, height = _size(arguments, family)
    skips = arguments.clip_skip is not None and arguments.clip_skip > 1 and (family is None or family.skips)
    is_lora = record.type == "lora"
    read, prompt_notes = reading((plan.prompt, plan.negative_prompt), base, family, benchmark)
    request = RenderRequest(
        prompt=plan.prompt,
        negative_prompt=plan.negative_prompt,
        checkpoint=_key(base),
        lora=_key(record) if is_lora else None,
        lora_weight=_weight(arguments) if is_lora else 1.0,
        sampler=sampler,
        steps=arguments.steps,
        cfg_scale=arguments.cfg_scale,
        width=width,
        height=height,
        clip_skip=arguments.clip_skip if skips else None,
        seed=seed if arguments.seed is None else arguments.seed,
        engine=engine + read,
    )
    return request, _notes(arguments, request, sampler_note, prompt_notes)


def _base(record: ModelRecord, benchmark: Benchmark) -> ModelRecord:
    """The checkpoint that a model is drawn with."""
    try:
        base = benchmark.catalog.base_of(record)
    except UnknownNameError:
        raise BenchmarkError(
            f"LoRA '{record.id}' names no base that the catalog has: mend catalog.jsonl, or name one with --base"
        ) from None
    if base.type != "checkpoint":
        raise BenchmarkError(f"the base '{base.id}' of LoRA '{record.id}' is not a checkpoint: mend catalog.jsonl")
    return base


def _sampler(name: str, family: Family | None) -> tuple[str, str | None]:
    """The sampler that draws, and a note if it is not the one asked for."""
    sampler = resolve(name)
    if family is None or not family.flow or sampler.name in FLOW:
        return sampler.name, sampler.note
    return "Euler", f"{sampler.name}: drawn with Euler, as {family.title} is a rectified flow"


def _size(arguments: Arguments, family: Family | None) -> tuple[int, int]:
    """Width and height that the family can draw."""
    _check_bounds(arguments)
    grid = GRID if family is None else family.grid
    width, height = (side - side % grid for side in (arguments.width, arguments.height))
    if not width or not height:
        raise RenderError(f"{arguments.width}x{arguments.height} is smaller than the {grid} pixels of a side needed")
    return width, height


def check_families(record: ModelRecord, base: ModelRecord) -> None:
    """See that a base can be drawn with, and that a LoRA was made for networks such as its base.

    Raises:
        RenderError: no network here draws this kind of model.
        BenchmarkError: the LoRA was made for another family than its base is of.
    """
    family, under = family_of(record.base_model), family_of(base.base_model)
    if under is None and needs_family(base):
        raise RenderError(not_drawn(base.base_model))
    if family is None and record.base_model != base.base_model:
        raise RenderError(not_drawn(record.base_model))
    if family != under:
        titles = [f.title if f else r.base_model for f, r in ((family, record), (under, base))]
        mend = "mend catalog.jsonl, or choose another with --base"
        raise BenchmarkError(
            f"LoRA '{record.id}' is made for {titles[0]}, and its base '{base.id}' is {titles[1]}: {mend}"
        )


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


def _notes(
    arguments: Arguments, request: RenderRequest, sampler_note: str | None, prompt_notes: Sequence[str]
) -> str | None:
    notes = [sampler_note] if sampler_note else []
    asked = (arguments.width, arguments.height)
    if asked != (request.width, request.height):
        notes.append(f"size {asked[0]}x{asked[1]} drawn as {request.width}x{request.height}")
    if request.clip_skip is None and (arguments.clip_skip or 1) > 1:
        notes.append(f"clip skip {arguments.clip_skip} has no meaning for this model")
    if arguments.cfg_scale < 1:
        notes.append(f"CFG scale {arguments.cfg_scale:g} drawn without guidance")
    return "; ".join([*notes, *prompt_notes]) or None
