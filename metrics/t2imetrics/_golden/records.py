"""Golden values of weights that are not shipped: recorded on first use on a machine, demanded ever after.

One JSON file a metric, weights and options, under `cache_home()/golden`.  A record grows: a cheap check records one
row, a full one the rest.  Rows that were recorded are never overwritten.
"""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

from t2imetrics import _golden
from t2imetrics._golden.values import Outcome, Rules, entry, held, measure, options
from t2imetrics._scorer import Scorer
from t2imetrics._weights import cache_home
from t2imetrics.errors import shorten

PARTS = {"values": dict, "tokens": dict, "versions": dict, "date": str}


def path_of(scorer: Scorer) -> Path:
    """Where golden values of these weights with these options are kept on this machine."""
    digest = str(scorer.card.weights and scorer.card.weights.sha256)[:16]
    return cache_home() / "golden" / f"{scorer.card.name}-{digest}-{options(scorer)}.json"


def compare(scorer: Scorer, rules: Rules) -> Outcome:
    """Hold the golden rows to the record, and record those it does not have yet, if the rules allow it."""
    path = path_of(scorer)
    record = _read(path)
    if record is None:
        return Outcome("failed", f"{path} is not a record of golden values: delete it to record them anew")
    if not record:
        return _first(scorer, path, rules)
    fault, found = held(scorer, rules.cheap, record, record["versions"], f"recorded on {record['date']}")
    if fault:
        return Outcome("failed", f"{fault}; where the change is meant, delete {path}")
    if not rules.may_record or found.values.keys() <= record["values"].keys():
        return Outcome("ok", f"{found} equal to the record of {record['date']}")
    values = {**entry(scorer, found)["values"], **record["values"]}
    return _keep(path, {**record, "values": values}, f"{found}, of which some are recorded now")


def _first(scorer: Scorer, path: Path, rules: Rules) -> Outcome:
    if not rules.may_record:
        return Outcome("skipped", "nothing to compare with; recorded once the checks of pixels and tokens pass")
    found = measure(scorer, rules.cheap)
    if len(found.values) > 2 and len(set(found.values.values())) == 1:
        return Outcome("failed", "every golden row has the same value: the weights look damaged; nothing recorded")
    stamp = {"date": date.today().isoformat(), "versions": _golden.versions()}
    return _keep(path, {**stamp, **entry(scorer, found)}, f"{found} recorded now")


def _keep(path: Path, content: dict[str, Any], said: str) -> Outcome:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        draft.replace(path)
    except OSError as error:
        return Outcome("skipped", f"cannot record golden values ({shorten(error)}): set T2IMETRICS_HOME")
    return Outcome("recorded", f"{said}, in {path}; compared from the next time on")


def _read(path: Path) -> dict[str, Any] | None:
    """The record; {} where there is none yet, None where the file is not one."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(part), kind) for part, kind in PARTS.items())
    return found if whole else None
