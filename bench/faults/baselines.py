"""What is done by hand or by others: rank the columns, look at the first."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from faults.plays import Array
from faults.streams import Stream
from middlewatch import fingerprints
from middlewatch.fingerprints.history import NumberPast


def jensen_shannon(case: fingerprints.Case) -> tuple[str, str]:
    """The column with the largest distance to the past; and the same in units of its own worst past window."""
    plain, own = ("", -1.0), ("", -1.0)
    for column in case.kinds:
        past = case.past(column)
        if isinstance(past, NumberPast):
            values = case.numbers(column)
            now, counts = past.binned(values[np.isfinite(values)]), past.counts
        else:
            now, counts = past.counted(case.words(column)), np.pad(past.counts, ((0, 0), (0, 1)))
        missing = case.missing(column).sum()
        totals = np.array([w.height for w in case.history.windows])
        counts = np.column_stack([counts, np.round(past.nulls * totals)])
        now = np.append(now, missing)
        total = counts.sum(axis=0)
        worst = max(_distance(row, total - row) for row in counts)
        distance = _distance(now, total)
        if distance > plain[1]:
            plain = (column, distance)
        if distance / max(worst, 0.02) > own[1]:
            own = (column, distance / max(worst, 0.02))
    return plain[0], own[0]


def _distance(a: Array, b: Array) -> float:
    p, q = a / max(a.sum(), 1), b / max(b.sum(), 1)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log(p / m), 0) + np.where(q > 0, q * np.log(q / m), 0)
    return float(np.sqrt(max(parts.sum() / 2, 0)))


def shap(stream: Stream, case: fingerprints.Case) -> str:
    """The column whose mean contribution to the score moved most (TreeSHAP)."""
    before = case.history.kept(
        ("shap",), lambda: stream.contribute(case.history.pooled.sample(600, seed=0)).mean(axis=0)
    )
    moved = np.abs(stream.contribute(case.now.sample(min(600, case.rows), seed=0)).mean(axis=0) - before)
    return list(case.kinds)[int(np.argmax(moved))]


SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report, Dataset, DataDefinition
from evidently.metrics import ValueDrift
for line in sys.stdin:
    job = json.loads(line)
    ref, now = pd.read_parquet(job["ref"]), pd.read_parquet(job["now"])
    numbers, words = job["numbers"], job["words"]
    for c in words:
        ref[c], now[c] = ref[c].astype(str), now[c].astype(str)
    for c in numbers:
        ref[c], now[c] = ref[c].astype(float), now[c].astype(float)
    shape = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    found = []
    for c in numbers + words:
        try:
            run = Report([ValueDrift(column=c)]).run(Dataset.from_pandas(now, shape), Dataset.from_pandas(ref, shape))
            metric = json.loads(run.json())["metrics"][0]
            name, value = metric["metric_name"], float(metric["value"])
            found.append((c, 1 - value if "p_value" in name else value))
        except Exception:
            pass
    print(json.dumps(max(found, key=lambda one: one[1])[0] if found else ""), flush=True)
"""


class Evidently:
    """Evidently's list of drifted columns, its first; in an environment of its own, which it needs to be given."""

    def __init__(self, python: Path) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [str(python), "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def first(self, case: fingerprints.Case) -> str:
        numbers = [c for c, k in case.kinds.items() if k in ("number", "whole")]
        places = {name: f"{self.folder.name}/{name}.parquet" for name in ("ref", "now")}
        past = case.history.pooled
        past.sample(min(4000, past.height), seed=0).select(list(case.kinds)).write_parquet(places["ref"])
        case.now.select(list(case.kinds)).write_parquet(places["now"])
        job = {**places, "numbers": numbers, "words": [c for c in case.kinds if c not in numbers]}
        if self.process.stdin is None or self.process.stdout is None:
            return ""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return str(json.loads(self.process.stdout.readline() or '""'))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()
