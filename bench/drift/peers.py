"""The same clean days and faults judged by other tools, column by column, each in an environment of its own.

A peer gets one Parquet file a column (`window`, `value`; windows 0 to 117 are its reference) and answers how far each
window's value lies, as a ratio to its own default threshold: above 1 it alarms. A window alarms where any column does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from drift.faults import Fault
from drift.methods import apart
from drift.streams import HISTORY, Stream
from middlewatch import shift
from peers import CannotInstall, environment

RUN_S = 1800
FAULTY = 100_000
Heights = dict[str, dict[int, float]]

# Reads `path` and `kind`, prints {window: ratio}. `reference` and `windows` hold no nulls; few rows say nothing.
_AROUND = """
import json, math, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd
{setup}
found = {{}}
for name, kind, path, columns in json.load(open(sys.argv[1])):
    frame = pd.read_parquet(path)
    if kind == "category":
        frame["value"] = frame["value"].astype(object).where(frame["value"].notna(), None)
    past = frame[frame["window"] < {history}]
    reference = past["value"].dropna()
    if len(reference) > 30_000:
        reference = reference.sample(30_000, random_state=0)
    answers = found[name] = {{}}
    {whole}
    {prepare}
    for window, rows in frame[frame["window"] >= {history}].groupby("window")["value"]:
        rows = rows.dropna()
        if len(rows) < 30:
            continue
        {each}
        answers[int(window)] = float(ratio)
json.dump(found, open(sys.argv[2], "w"))
"""
_P = "ratio = math.log(max(p, 1e-300)) / math.log({alpha})"
_CHI2 = """
        else:
            now = rows.value_counts()
            levels = sorted(set(usual.index) | set(now.index))
            table = np.array([usual.reindex(levels, fill_value=0), now.reindex(levels, fill_value=0)])
            p = chi2_contingency(table)[1] if len(levels) > 1 else 1.0
"""

# name -> (packages, or None for our own environment; and the parts of the script)
PEERS: dict[str, tuple[tuple[str, ...] | None, dict[str, str]]] = {
    "Evidently": (
        ("evidently", "pandas<3", "pyarrow"),
        {
            "setup": "from evidently.legacy.calculations.stattests.registry import get_stattest",
            "prepare": 'kind = "cat" if kind == "category" else "num"',
            "each": """said = get_stattest(reference, rows, kind, None)(reference, rows, kind, None)
        ratio = said.drift_score / said.actual_threshold""",
        },
    ),
    "NannyML": (
        ("nannyml", "statsmodels", "pandas<3", "pyarrow", "setuptools<81"),
        {
            "setup": "import nannyml",
            "whole": """days = {w: i for i, w in enumerate(sorted(frame["window"].unique()))}
    frame["at"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(frame["window"].map(days), unit="D")
    drift = nannyml.UnivariateDriftCalculator(
        column_names=["value"], timestamp_column_name="at", chunk_period="D",
        treat_as_categorical=["value"] if kind == "category" else None,
    ).fit(frame[frame["window"] < HISTORY][["value", "at"]])
    said = drift.calculate(frame[frame["window"] >= HISTORY][["value", "at"]]).filter(period="analysis").to_df()
    back = {str(pd.Timestamp("2000-01-01") + pd.Timedelta(days=i))[:10]: w for w, i in days.items()}
    for key, value, line in zip(
        said["chunk"]["chunk"]["key"], said["value"]["jensen_shannon"]["value"],
        said["value"]["jensen_shannon"]["upper_threshold"],
    ):
        if value == value and line and line == line:
            answers[int(back[str(key)[:10]])] = float(value / line)
    continue""",
        },
    ),
    "alibi-detect (KS, chi2)": (
        ("alibi-detect", "pandas<3", "pyarrow<20"),
        {
            "setup": "from alibi_detect.cd import ChiSquareDrift, KSDrift",
            "prepare": """alpha = 0.05 / columns
    if kind == "category":
        codes = {v: i for i, v in enumerate(sorted(set(frame["value"].dropna())))}
        test = ChiSquareDrift(reference.map(codes).to_numpy().reshape(-1, 1), p_val=alpha)
    else:
        test = KSDrift(reference.to_numpy(dtype=np.float32).reshape(-1, 1), p_val=alpha)""",
            "each": """x = rows.map(codes) if kind == "category" else rows.astype(np.float32)
        p = float(test.predict(x.to_numpy().reshape(-1, 1))["data"]["p_val"][0])
        """
            + _P.format(alpha="alpha"),
        },
    ),
    "KS and chi2, p < 0.05": (
        None,
        {
            "setup": "from scipy.stats import chi2_contingency, ks_2samp",
            "prepare": 'usual = reference.value_counts() if kind == "category" else None',
            "each": 'if kind != "category":\n            p = ks_2samp(reference, rows).pvalue'
            + _CHI2
            + "        "
            + _P.format(alpha=0.05),
        },
    ),
    "PSI > 0.2": (
        None,
        {
            "prepare": """if kind == "category":
        edges = None
        usual = reference.value_counts(normalize=True)
    else:
        edges = np.unique(np.quantile(reference, np.linspace(0, 1, 11)))[1:-1]
        usual = np.bincount(np.searchsorted(edges, reference), minlength=len(edges) + 1) / len(reference)""",
            "each": """if edges is None:
            now = rows.value_counts(normalize=True)
            levels = sorted(set(usual.index) | set(now.index))
            a, b = usual.reindex(levels, fill_value=0).to_numpy(), now.reindex(levels, fill_value=0).to_numpy()
        else:
            a, b = usual, np.bincount(np.searchsorted(edges, rows), minlength=len(edges) + 1) / len(rows)
        a, b = np.maximum(a, 1e-4), np.maximum(b, 1e-4)
        ratio = float(((b - a) * np.log(b / a)).sum()) / 0.2""",
        },
    ),
}


class Handed:
    """Columns of a stream as files: its clean days, and faults at onsets, three days each."""

    def __init__(self, stream: Stream, wanted: Sequence[Fault], pairs: Sequence[tuple[int, int]], folder: Path) -> None:
        self.stream, self.pairs, self.folder = stream, list(pairs), folder
        names = {**stream.kinds, shift.SCORE: "number"}
        self.kinds = {name: "category" if kind in ("category", "boolean") else "number" for name, kind in names.items()}
        parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
        for place, frame in enumerate(stream.frames):
            for name in names:
                parts[name].append(self._rows(frame, name, place))
        self.faulty: dict[tuple[int, int, int], int] = {}
        for number, onset in self.pairs:
            for day in range(3):
                frame = stream.changed(onset + day, wanted[number], np.random.default_rng([number, onset, day]))
                which = self.faulty[number, onset, day] = FAULTY + len(self.faulty)
                clean = stream.frames[onset + day]
                for name in names:
                    if not frame[name].equals(clean[name]):
                        parts[name].append(self._rows(frame, name, which))
        self.files = [
            (name, self.kinds[name], str(folder / f"{at}.parquet"), len(names)) for at, name in enumerate(names)
        ]
        for name, _, path, _ in self.files:
            pl.concat(parts[name]).write_parquet(path)

    def _rows(self, frame: pl.DataFrame, name: str, window: int) -> pl.DataFrame:
        kind = pl.String if self.kinds[name] == "category" else pl.Float64
        return frame.select(pl.lit(window).alias("window"), pl.col(name).cast(kind).alias("value"))

    def ask(self, name: str, folder: Path | None) -> Heights | str:
        """{column: {window: ratio}} of a peer, or why there is none."""
        packages, parts = PEERS[name]
        if packages is None:
            python = Path(sys.executable)
        elif folder is None:
            return "skipped: no --peers FOLDER"
        else:
            try:
                python = environment(folder / packages[0], packages)
            except CannotInstall as error:
                return f"cannot be installed: {error}"
        part = {"setup": "", "whole": "", "prepare": "", "each": "pass", **parts}
        text = _AROUND.format(
            history=HISTORY, **{key: one.replace("HISTORY", str(HISTORY)) for key, one in part.items()}
        )
        asked, answer = self.folder / "asked.json", self.folder / "answer.json"
        asked.write_text(json.dumps(self.files))
        command = [str(python), "-c", text, str(asked), str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S)
        except subprocess.TimeoutExpired:
            return f"stopped after {RUN_S} s"
        if done.returncode:
            return f"failed: {(done.stderr.strip().splitlines() or ['no word'])[-1][:120]}"
        found = json.loads(answer.read_text())
        return {column: {int(window): one for window, one in said.items()} for column, said in found.items()}

    def judge(self, said: Heights, episodes: float) -> dict[str, float | None]:
        """Alarms a month at the default; what is caught on day 1 and by day 3 with no more alarms than `episodes`."""
        live = range(HISTORY, len(self.stream.days))
        clean = {place: max((one.get(place, 0.0) for one in said.values()), default=0.0) for place in live}
        ranked = sorted(set(clean.values()))
        counts = [(line, apart([place for place in live if clean[place] > line])) for line in (1.0, *ranked)]
        # The lowest line from which on there are no more alarms than ours; none where only silence is that quiet.
        matched = next(
            (line for line, _ in counts[1:-1] if all(c <= episodes for at, c in counts[1:] if at >= line)), None
        )
        found: dict[str, float | None] = {
            "days": sum(one > 1.0 for one in clean.values()) / len(clean),
            "default": counts[0][1] / len(clean) * 30,
        }
        for day in (1, 3):
            found[f"day {day}"] = None if matched is None else self._caught(said, matched, day)
        return found

    def _caught(self, said: Heights, line: float, days: int) -> float:
        seen = [
            any(self._height(said, number, onset, day) > line for day in range(days)) for number, onset in self.pairs
        ]
        return sum(seen) / len(seen)

    def _height(self, said: Heights, number: int, onset: int, day: int) -> float:
        which = self.faulty[number, onset, day]
        # A column that the fault left alone is that of the clean day.
        return max((one.get(which, one.get(onset + day, 0.0)) for one in said.values()), default=0.0)


def table(
    stream: Stream, wanted: Sequence[Fault], pairs: Sequence[tuple[int, int]], episodes: int, folder: Path | None
) -> Mapping[str, dict[str, float | None] | str]:
    """Every peer by name, on pairs of a fault's number and an onset: what `judge` says, or why it says nothing."""
    with tempfile.TemporaryDirectory() as place:
        handed = Handed(stream, wanted, pairs, Path(place))
        answers = {name: handed.ask(name, folder) for name in PEERS}
        return {name: one if isinstance(one, str) else handed.judge(one, episodes) for name, one in answers.items()}
