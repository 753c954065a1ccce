"""Embeddings of weighted and long prompts, held to diffusers' own and to the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from chatgenbench.benchmark import Benchmark
from chatgenbench.render import Picture, Pool, lease_requests, request_for
from chatgenbench.render.encoding import encode
from chatgenbench.render.inline import DRIFT, InlineExecutor
from chatgenbench.render.inline import _flat_text_encoder as flat
from chatgenbench.schema import RenderRequest
from tests.render import tiny, worlds
from tests.render.conftest import PlanOf

LONG = "a red fox in the snow, " * 20


@pytest.fixture(scope="module", params=[lambda: tiny.pipeline(1), worlds.sdxl], ids=["sd1", "sdxl"])
def pipeline(request: pytest.FixtureRequest) -> Any:
    make: Callable[[], Any] = request.param
    return make()


def own(pipeline: Any, prompt: str, negative: str, skip: int | None) -> list[torch.Tensor]:
    """What diffusers encodes."""
    options = {"negative_prompt": negative, "device": "cpu", "num_images_per_prompt": 1, "clip_skip": skip}
    with flat(pipeline), torch.inference_mode():
        found: tuple[torch.Tensor, ...] = pipeline.encode_prompt(prompt, do_classifier_free_guidance=True, **options)
    return list(found)


def ours(pipeline: Any, prompt: str, negative: str = "", skip: int | None = None) -> list[torch.Tensor]:
    with torch.inference_mode():
        found = encode(pipeline, prompt, negative, skip)
    every = [found.prompt, found.negative, found.pooled, found.negative_pooled]
    return [one for one in every if one is not None]


@pytest.mark.parametrize("skip", [None, 1])
def test_plain_prompts_are_encoded_as_diffusers_does_bit_by_bit(pipeline: Any, skip: int | None) -> None:
    for prompt, negative in (("a red fox, 8k", "blurry"), ("", ""), ("fox " * 75, "bad")):
        mine, theirs = ours(pipeline, prompt, negative, skip), own(pipeline, prompt, negative, skip)
        assert [torch.equal(a, b) for a, b in zip(mine, theirs, strict=True)] == [True] * len(theirs)


def test_a_weight_moves_its_words_and_keeps_the_mean(pipeline: Any) -> None:
    width = pipeline.text_encoder.config.hidden_size
    plain, heavy = ours(pipeline, "a red fox")[0][0], ours(pipeline, "a (red:1.5) fox")[0][0]
    for one, other in zip(plain.split(width, dim=1), heavy.split(width, dim=1), strict=True):  # of each text encoder
        ratio = other / one
        scale = float(ratio[0, 0])  # of what counts once: restores the mean
        assert ratio[[0, 1, 3, 4, 5]].tolist() == [[pytest.approx(scale, rel=1e-3)] * width] * 5
        assert ratio[2].tolist() == [pytest.approx(1.5 * scale, rel=1e-3)] * width
        assert float(other.mean()) == pytest.approx(float(one.mean()), rel=1e-3)
    assert torch.equal(ours(pipeline, "a (red:1) fox")[0][0], plain)


def test_long_prompts_are_chunks_of_77_with_the_shorter_one_filled_up(pipeline: Any) -> None:
    prompt, negative, *pooled = ours(pipeline, LONG, "bad")
    assert prompt.shape == negative.shape
    assert prompt.shape[1] == 2 * 77
    assert torch.equal(negative[:, 77:], ours(pipeline, "")[0])
    first, _, *pooled_first = ours(pipeline, "a red fox in the snow, " * 10)
    assert torch.equal(prompt[:, :77], first)
    assert all(torch.allclose(one, other) for one, other in zip(pooled[:1], pooled_first[:1], strict=True))
    both = ours(pipeline, "a fox BREAK the snow")[0]
    assert torch.equal(both, torch.cat([ours(pipeline, "a fox")[0], ours(pipeline, "the snow")[0]], dim=1))


def drawn(benchmark: Benchmark, pool: Pool, requests: list[RenderRequest], batch: int) -> dict[str, Any]:
    executor = InlineExecutor(benchmark, pool, batch)
    results = list(executor.run(lease_requests(requests)))
    executor.close()
    assert all(isinstance(result, Picture) for result in results), results
    return {request.digest: pool.read(request.digest) for request in requests}


def test_a_picture_does_not_depend_on_the_prompts_beside_it(
    benchmark: Benchmark, plan: PlanOf, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prompts = ["a fox", "a (fox:1.4)", LONG, "an owl", f"({LONG})", "[owl]", "fox BREAK owl"]
    requests = [request_for(plan(prompt=p, clip_skip=2), benchmark, 0, "e")[0] for p in prompts]
    together = drawn(benchmark, Pool(tmp_path_factory.mktemp("together")), requests, 4)
    alone = drawn(benchmark, Pool(tmp_path_factory.mktemp("alone")), requests, 1)
    for digest, picture in together.items():
        pairs = zip(picture.tobytes(), alone[digest].tobytes(), strict=True)
        assert max(abs(a - b) for a, b in pairs) <= DRIFT
    assert len({picture.tobytes() for picture in alone.values()}) == len(prompts)
    assert "prompts/1x2" in together[requests[2].digest].info["parameters"]


def test_words_of_textual_inversion_stand_for_their_tokens() -> None:
    pipe = tiny.pipeline(1)
    pipe.load_textual_inversion({"mylook": torch.ones(3, tiny.WIDTH)})
    styled, negative = ours(pipe, "a (mylook:1.2) fox"), ours(pipe, "a fox", "mylook")
    assert not torch.equal(styled[0], ours(pipe, "a (look:1.2) fox")[0])
    assert torch.equal(negative[1], own(pipe, "a fox", "mylook", None)[1])


@pytest.mark.parametrize("model", ["fox", "wax"])  # wax is a LoRA of the text encoder too
def test_embeddings_draw_what_their_text_draws(model: str, benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    plain, encoded = (
        request_for(plan(model, prompt, "bad", clip_skip=2), benchmark, 0, "e")[0]
        for prompt in ("a fox_art", r"a fox\_art")
    )
    assert (plain.engine, encoded.engine) == ("e", "e prompts/1x1")
    pictures = drawn(benchmark, pool, [plain, encoded], 1)
    assert pictures[plain.digest].tobytes() == pictures[encoded.digest].tobytes()
