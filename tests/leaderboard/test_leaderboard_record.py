"""Claims against what comes out: forged rows show as often as is stated, and strays may not lift a mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest

from chatgenbench.evaluate.rows import Row, join
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.leaderboard.choice import chance, chosen
from chatgenbench.leaderboard.manifest import MANIFEST, Manifest
from chatgenbench.leaderboard.record import STRAY, TOLERANCES, Record
from chatgenbench.schema import DrawnRow
from tests.leaderboard.boards import Shop, column, make_shop, read_cells

TRIALS = 400
METRIC = "imagereward"


@dataclass(frozen=True)
class Sent:
    """A submission, and what its maintainer finds when everything is drawn again: the very same."""

    shop: Shop
    manifest: Manifest
    told: dict[str, dict[str, str]]
    rows: list[Row]

    @property
    def drawn(self) -> dict[str, DrawnRow]:
        return {row.item.id: row.drawn for row in self.rows if row.drawn is not None}

    def forged(self, number: int, how: str) -> dict[str, dict[str, str]]:
        """The table with its first rows forged; whoever did that knew everything but the secret."""
        told = {key: dict(cells) for key, cells in self.told.items()}
        for key in list(told)[:number]:
            if how == "scores":
                told[key][METRIC] = str(float(told[key][METRIC]) + 2.5 * TOLERANCES[METRIC])
            else:
                flipped = ~int(told[key]["image_phash"], 16) & (2**64 - 1)
                told[key] |= {"image_sha256": "ab" * 32, "image_phash": f"{flipped:016x}"}
        return told

    def level(self, told: dict[str, dict[str, str]], rerun: int, secret: bytes, same_engine: bool = True) -> str:
        """What `verify` gives for drawing `rerun` rows of this table again."""
        table = hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()
        again = set(chosen(told, rerun, table, secret))
        rows = [row for row in self.rows if row.item.id in again]
        record = Record(self.manifest, told)
        record.pictures({key: row for key, row in self.drawn.items() if key in again}, self.shop.pool)
        found = {METRIC: np.array([float(self.told[row.item.id][METRIC]) for row in rows])}
        record.compare(found, rows, [METRIC])
        return record.level(len(again), len(told), same_engine)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """100 items of 50 demonstrations, all drawn."""
    shop = make_shop(tmp_path_factory.mktemp("record"), 50)
    folder = shop.submission("mine", seed=1)
    cells = read_cells(folder)
    told = {row[column(cells, "id")]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}
    run = RunFolder(next((shop.root / "runs").iterdir()))
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    return Sent(shop, manifest, told, join(run, shop.benchmark, shop.benchmark.items))


def _close(caught: int, stated: float) -> bool:
    spread = (stated * (1 - stated) / TRIALS) ** 0.5
    return abs(caught / TRIALS - stated) < 4 * spread + 1e-9


@pytest.mark.parametrize("how", ["scores", "pictures"])
@pytest.mark.parametrize(("forged", "rerun"), [(1, 20), (5, 20), (5, 50)])
def test_forged_rows_show_as_often_as_stated(forged: int, rerun: int, how: str, sent: Sent) -> None:
    told = sent.forged(forged, how)
    caught = sum(sent.level(told, rerun, b"%d" % trial) == "claimed" for trial in range(TRIALS))
    assert _close(caught, chance(len(told), forged, rerun)), caught / TRIALS


@pytest.mark.parametrize(("forged", "rerun"), [(5, 20), (10, 40)])
def test_pictures_of_another_engine_may_stray_and_forgers_show_less_often(forged: int, rerun: int, sent: Sent) -> None:
    told, allowed = sent.forged(forged, "pictures"), int(STRAY * rerun)
    caught = sum(sent.level(told, rerun, b"%d" % trial, False) == "claimed" for trial in range(TRIALS))
    assert _close(caught, chance(len(told), forged, rerun, allowed)), caught / TRIALS


def test_honest_rows_never_fail(sent: Sent) -> None:
    levels = {sent.level(sent.told, 20, b"%d" % trial) for trial in range(100)}
    assert levels == {"spot-rerun"}
    assert sent.level(sent.told, 100, b"x") == "reproduced"


def test_a_few_rows_of_another_engine_may_not_lift_the_mean(sent: Sent) -> None:
    """Naming another engine buys no rows of one's own: 3 of 100 may stray, but not by so much."""
    told = {key: dict(cells) for key, cells in sent.told.items()}
    for key in list(told)[:3]:
        told[key][METRIC] = str(float(told[key][METRIC]) + 0.5)
    assert sent.level(told, 100, b"x", same_engine=False) == "reproduced", "the mean moved by less than its tolerance"
    for key in list(told)[:3]:
        told[key][METRIC] = str(float(told[key][METRIC]) + 5)
    assert sent.level(told, 100, b"x", same_engine=False) == "claimed"
