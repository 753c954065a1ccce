from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.render.leases import Lease, lease_requests, loads
from chatgenbench.schema import RenderRequest

REQUESTS = st.lists(
    st.builds(
        RenderRequest,
        prompt=st.sampled_from(["fox", "owl"]),
        negative_prompt=st.sampled_from(["", "blurry"]),
        checkpoint=st.sampled_from(["a" * 64, "b" * 64]),
        lora=st.sampled_from([None, "c" * 64, "d" * 64]),
        lora_weight=st.sampled_from([1.0, 0.5]),
        sampler=st.sampled_from(["Euler", "DDIM"]),
        steps=st.sampled_from([4, 8]),
        cfg_scale=st.just(3.0),
        width=st.sampled_from([64, 80]),
        height=st.just(64),
        clip_skip=st.sampled_from([None, 2]),
        seed=st.integers(0, 3),
        engine=st.just("e"),
    ),
    max_size=40,
)
DIFFERS = {"prompt", "negative_prompt", "seed"}


@given(REQUESTS, st.integers(1, 5), st.randoms())
def test_leases_hold_every_request_once_in_an_order_that_only_the_set_decides(requests, limit, random) -> None:
    leases = lease_requests(requests, limit)
    digests = [request.digest for lease in leases for request in lease.requests]
    assert sorted(digests) == sorted({request.digest for request in requests})
    shuffled = [*requests, *requests[:2]]
    random.shuffle(shuffled)
    assert lease_requests(shuffled, limit) == leases


@given(REQUESTS, st.integers(1, 5))
def test_a_lease_can_be_drawn_in_one_call(requests, limit) -> None:
    for lease in lease_requests(requests, limit):
        assert 1 <= len(lease.requests) <= limit
        assert len({repr(request.model_dump(exclude=DIFFERS)) for request in lease.requests}) == 1


@given(REQUESTS)
def test_in_order_each_base_loads_once_and_each_lora_once_per_base(requests) -> None:
    leases = lease_requests(requests)
    bases = [key for key, _ in groupby(leases, key=lambda lease: lease.shared.checkpoint)]
    pairs = [key for key, _ in groupby(leases, key=lambda lease: (lease.shared.checkpoint, lease.shared.lora))]
    assert len(bases) == len(set(bases)) == loads(leases).checkpoints
    assert len(pairs) == len(set(pairs))
    assert loads(leases).loras == sum(lora is not None for _, lora in pairs)
    assert loads(leases).pictures == len({request.digest for request in requests})


def test_a_lease_shows_what_its_requests_share() -> None:
    request = RenderRequest(
        prompt="p", negative_prompt="", checkpoint="a", sampler="Euler", steps=1, cfg_scale=1, width=8, height=8,
        seed=1, engine="e",
    )  # fmt: skip
    assert Lease((request,)).shared.sampler == "Euler"
