"""Our metrics as torchmetrics users know theirs: update, compute, forward, merge, collections, processes."""

from __future__ import annotations

import copy
import doctest
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import t2imetrics
import torch
import torchmetrics
from PIL import Image
from t2imetrics import torchmetric
from t2imetrics.errors import ImageError, InputError, OptionError
from t2imetrics.torchmetric import as_torchmetric

from tests.metrics import small_weights as small


@pytest.fixture(scope="module")
def clip(scorers: Path) -> t2imetrics.Scorer:
    return t2imetrics.load("clipscore", weights=scorers, device="cpu", convention="cosine100")


@pytest.fixture(scope="module")
def fid(scorers: Path) -> t2imetrics.Scorer:
    return t2imetrics.load("fid", weights=scorers, device="cpu")


@pytest.fixture(scope="module")
def gold() -> list[Image.Image]:
    return [small.picture(i + 40, (60, 50)) for i in range(9)]


def tensor(images: list[Image.Image]) -> torch.Tensor:
    """uint8 (n, 3, h, w) of pictures of one size."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


def test_the_mean_in_batches_is_the_mean_of_the_rows(clip, pictures, texts) -> None:
    metric = as_torchmetric(clip)
    assert isinstance(metric, torchmetrics.Metric)
    metric.update(pictures[:3], texts[:3])
    metric.update(pictures[3:], texts[3:])
    expected = clip.score(pictures, texts)
    assert metric.compute().item() == pytest.approx(expected.mean(), abs=1e-5)
    assert (metric.n.item(), metric.total.item()) == (8, pytest.approx(expected.sum(), abs=1e-4))
    metric.reset()
    assert metric.n == 0
    metric.update(pictures[:1], texts[:1])
    assert metric.compute().item() == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16])
def test_tensors_are_the_pictures_they_were_made_of(clip, kind) -> None:
    images = [Image.fromarray(np.arange(s, s + 3072).astype(np.uint8).reshape(32, 32, 3)) for s in (0, 7, 91)]
    batch = tensor(images)
    given = batch if kind is torch.uint8 else (batch.float() / 255).to(kind)
    texts = ["a fox", "a cat", ""]
    metric, lists = as_torchmetric(clip), as_torchmetric(clip)
    metric.update(given, texts)
    lists.update(list(given), texts)
    expected = clip.score(images, texts)
    assert metric.total.item() == lists.total.item() == pytest.approx(expected.sum(), abs=1e-12)


def test_what_is_no_picture_or_no_list_is_told(clip, fid) -> None:
    metric, good = as_torchmetric(clip), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    bad = torch.rand(2, 3, 8, 8)
    bad[1, 0, 0, 0] = -0.5
    with pytest.raises(ImageError, match=r"row 1: .*values in 0\.\.1"):
        metric.update(bad, ["a", "b"])
    with pytest.raises(ImageError, match=r"row 0: .*values in 0\.\.1"):
        metric.update(torch.full((1, 3, 8, 8), float("nan")), ["a"])
    with pytest.raises(ImageError, match=r"float in 0\.\.1, got torch\.int64"):
        metric.update(good.long(), ["a", "b"])
    with pytest.raises(InputError, match=r"shape \(n, 3, height, width\), got \(3, 8, 8\)"):
        metric.update(good[0], ["a"])
    with pytest.raises(ImageError, match=r"shape \(3, height, width\) is needed, got \(1, 8, 8\)"):
        metric.update(good[:, :1], ["a", "b"])
    with pytest.raises(InputError, match="got one string"):
        metric.update(good[:1], "a")
    with pytest.raises(InputError, match="same length"):
        metric.update(good, ["a"])
    assert metric.n == 0
    with pytest.raises(InputError, match="real is True or False, got list"):
        as_torchmetric(fid).update(good, ["a", "b"])
    with pytest.raises(OptionError, match="takes a loaded metric"):
        as_torchmetric("clipscore")
    with pytest.raises(OptionError, match="'unified' is one number for a whole run"):
        as_torchmetric(t2imetrics.load("unified"))


def test_fid_is_the_distance_of_everything_seen(fid, pictures, gold) -> None:
    metric = as_torchmetric(fid)
    metric.update(pictures[:5], real=False)
    metric.update(gold[:1], real=True)
    with pytest.raises(InputError, match="at least 2 pictures on each side are needed, got 1 real and 5 drawn"):
        metric.compute()
    metric.update(gold[1:], real=True)
    assert metric(pictures[5:], real=False).isnan()
    expected = fid.score(pictures, gold)[0]
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)


def test_fid_agrees_with_torchmetrics_own_formula(fid, gold) -> None:
    """Their class over our features: 16 numbers a picture, 60 pictures a side."""
    left = tensor([small.picture(i, (40, 40)) for i in range(60)])
    right = tensor([small.picture(3 * i + 1, (40, 40)) for i in range(60)])

    class Features(torch.nn.Module):
        num_features = fid.width

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(fid.features([Image.fromarray(i.permute(1, 2, 0).numpy()) for i in images]))

    from torchmetrics.image.fid import FrechetInceptionDistance

    ours, theirs = as_torchmetric(fid), FrechetInceptionDistance(feature=Features())
    for metric in (ours, theirs):
        metric.update(left, real=True)
        metric.update(right, real=False)
    assert ours.compute().item() == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_forward_gives_the_batch_and_keeps_the_sum(clip, pictures, texts, tmp_path) -> None:
    metric, rows = as_torchmetric(clip), clip.score(pictures, texts)
    assert metric(pictures[:3], texts[:3]).item() == pytest.approx(rows[:3].mean(), abs=1e-5)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(ImageError):
        metric([tmp_path / "broken.png"], ["a fox"])
    assert metric.n == 3, "a batch that failed must not take the rows before it away"
    assert metric(pictures[3:], texts[3:]).item() == pytest.approx(rows[3:].mean(), abs=1e-5)
    assert metric.compute().item() == pytest.approx(rows.mean(), abs=1e-5)


def test_states_of_two_workers_merge(clip, fid, pictures, texts, gold) -> None:
    whole, one, two = (as_torchmetric(clip) for _ in range(3))
    whole.update(pictures, texts)
    one.update(pictures[:5], texts[:5])
    two.update(pictures[5:], texts[5:])
    one.compute()
    one.merge_state(pickle.loads(pickle.dumps(two.metric_state)))
    assert one.compute().item() == pytest.approx(whole.compute().item(), abs=1e-5)
    drawn, real = as_torchmetric(fid), as_torchmetric(fid)
    drawn.update(pictures, real=False)
    real.update(gold, real=True)
    real.merge_state(drawn)
    assert real.compute().item() == pytest.approx(fid.score(pictures, gold)[0], rel=1e-9)


def test_states_of_another_metric_are_refused(scorers, clip, fid) -> None:
    other = t2imetrics.load("clipscore", weights=scorers, device="cpu", convention="cosine")
    for stranger in (as_torchmetric(other), as_torchmetric(fid), {"total": torch.tensor(1.0), "n": torch.tensor(1)}, 3):
        with pytest.raises(OptionError, match="only states of 'clipscore' with the same options and weights"):
            as_torchmetric(clip).merge_state(stranger)


def test_copies_share_networks_and_pickles_carry_them(clip, pictures, texts) -> None:
    metric = as_torchmetric(clip)
    metric.update(pictures[:4], texts[:4])
    before = metric.compute()
    for twin in (metric.clone(), copy.deepcopy(metric)):
        assert twin.scorer is clip
        assert type(twin) is type(metric)
        twin.update(pictures[4:], texts[4:])
        assert (twin.n, metric.n) == (8, 4)
    there = pickle.loads(pickle.dumps(metric))
    assert there.compute() == before
    there.update(pictures[4:], texts[4:])
    assert there.update_count == 2
    assert there.compute().item() == pytest.approx(clip.score(pictures, texts).mean(), abs=1e-5)
    metric.persistent(True)
    fresh = as_torchmetric(clip)
    fresh.persistent(True)
    fresh.load_state_dict(metric.state_dict())
    assert fresh.total == metric.total


def test_the_class_says_what_the_card_says(clip, fid) -> None:
    kind, distance = type(as_torchmetric(clip)), type(as_torchmetric(fid))
    assert (kind.__name__, kind.higher_is_better, kind.plot_lower_bound, kind.plot_upper_bound) == (
        "clipscore", True, -100.0, 100.0,
    )  # fmt: skip
    assert (distance.higher_is_better, distance.plot_lower_bound, distance.plot_upper_bound) == (False, 0.0, None)
    for each in (kind, distance):
        assert (each.is_differentiable, each.full_state_update) == (False, False)
    assert type(as_torchmetric(clip)) is kind


def test_a_value_can_be_plotted(clip) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    _, axes = as_torchmetric(clip).plot(torch.tensor(31.0))
    assert axes.get_ylim()[1] >= 100.0


def test_a_collection_scores_all_by_keyword(clip, fid, pictures, texts, gold) -> None:
    both = torchmetrics.MetricCollection([as_torchmetric(clip), as_torchmetric(fid)])
    both["fid"].update(gold, real=True)
    for rows in (slice(0, 5), slice(5, 8)):
        both.update(images=pictures[rows], texts=texts[rows], real=False)
    found = both.compute()
    assert found["clipscore"].item() == pytest.approx(clip.score(pictures, texts).mean(), abs=1e-5)
    assert found["fid"].item() == pytest.approx(fid.score(pictures, gold)[0], rel=1e-6)


def test_a_collection_does_not_take_two_metrics_for_one() -> None:
    """torchmetrics lets metrics with equal states share them; top-1 and top-3 are equal while all answers are right."""
    metrics = {f"top{k}": as_torchmetric(t2imetrics.load("selection", k=k)) for k in (2, 3)}
    both = torchmetrics.MetricCollection(metrics)
    both.update([["a", "b", "c"]], ["a"])
    both.update([["a", "b", "c"]], ["c"])
    found = both.compute()
    assert (found["top2"].item(), found["top3"].item()) == (0.5, 1.0)
    assert all(len(group) == 1 for group in both.compute_groups.values())


def test_metrics_of_pictures_alone_and_of_pairs_take_tensors(scorers, gold) -> None:
    class Brightness(t2imetrics.PictureScorer):
        def __init__(self, setting: t2imetrics.Setting, reads: Any) -> None:
            self.setting = setting
            self.card = t2imetrics.MetricCard(
                "brightness", "brightness", "grey levels", -255.0, 255.0, True, reads, None, "mean", 0.0, "this test"
            )

        def rows(self, batch: Any, against: Any) -> Any:
            levels = [np.asarray(image).mean() for image in batch.images]
            return np.array(levels) - (0.0 if against is None else [np.asarray(i).mean() for i in against.images])

    pixels = tensor(gold)
    alone, pairs = (as_torchmetric(Brightness(t2imetrics.Setting(), reads)) for reads in ("images", "images+images"))
    alone.update(pixels)
    pairs.update(pixels, gold=list(reversed(gold)))
    assert alone.compute().item() == pytest.approx(pixels.double().mean().item(), abs=1e-9)
    assert pairs.compute().item() == pytest.approx(0.0, abs=1e-9)
    dark = as_torchmetric(Brightness(t2imetrics.Setting(), "images"))
    dark.scorer.rows = lambda batch, against: np.full(len(batch), np.nan)
    with pytest.raises(t2imetrics.errors.MetricError, match="no number"):
        dark.update(pixels)


def test_the_docstrings_example_is_true() -> None:
    assert doctest.testmod(torchmetric) == (0, 4)


WORKER = """
import sys
from datetime import timedelta
import torch.distributed as dist
from tests.metrics.test_metric_torchmetric import of_a_share

weights, store, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
dist.init_process_group("gloo", "file://" + store, timedelta(seconds=60), world_size=2, rank=rank)
print(*map(repr, of_a_share(weights, rank, 2)))
dist.destroy_process_group()
"""


def of_a_share(weights: Any, rank: int, ranks: int) -> tuple[float, float, int, int]:
    """CLIP score and FID after every `ranks`-th row of 41 pictures and 53 gold ones; rows seen here."""
    torch.set_num_threads(1)
    images = [small.picture(i, (40 + i, 50)) for i in range(41)][rank::ranks]
    gold = [small.picture(i + 40, (60, 50)) for i in range(53)][rank::ranks]
    setting = {"weights": weights, "device": "cpu", "batch_size": 1, "workers": 0}
    clip = as_torchmetric(t2imetrics.load("clipscore", **setting, convention="cosine"))
    fid = as_torchmetric(t2imetrics.load("fid", **setting))
    clip(images, [f"picture {image.width}" for image in images])
    fid.update(images, real=False)
    fid.update(gold, real=True)
    return clip.compute().item(), fid.compute().item(), int(clip.n), int(fid.real_n)


def test_two_processes_compute_what_one_does(scorers, tmp_path) -> None:
    """gloo over loopback; afterwards each process still has its own rows only."""
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, str(scorers), str(tmp_path / "store")]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    workers = [subprocess.Popen([*command, rank], cwd=Path(__file__).parents[2], **options) for rank in "01"]
    clip, fid, *_ = of_a_share(scorers, 0, 1)
    for worker, seen in zip(workers, ((21, 27), (20, 26)), strict=True):
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        found = [float(word) for word in out.split()]
        assert found[0] == pytest.approx(clip, abs=1e-9)
        assert found[1] == pytest.approx(fid, rel=1e-9)
        assert tuple(found[2:]) == seen


def test_without_torchmetrics_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torchmetrics'] = None\n"
        "import t2imetrics\nfrom t2imetrics.torchmetric import as_torchmetric\n"
        "assert 'torch' not in sys.modules\n"
        "try: as_torchmetric(t2imetrics.load('selection'))\n"
        "except t2imetrics.errors.OptionError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("as_torchmetric needs torchmetrics: pip install torchmetrics (")
    assert done.stdout.count("\n") == 1
