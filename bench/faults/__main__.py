"""Faults played over data sets: is the cause named?

    python bench/faults [--data flights,loans] [--hold-out] [--rows 1000] [--clean 12] [--only unit,sign]
                        [--seed 0] [--wheels FOLDER] [--evidently PYTHON] [--path real] [--json FILE]

Default: windows go straight into the diagnosis' fingerprints. `--path real`: a sample of them goes through
`score --log`, `monitor` and `why --json` in a project of its own, and the two must agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import real, scores, windows
from faults.baselines import Evidently, jensen_shannon, shap
from faults.catalogue import FAULTS
from faults.streams import HOLD_OUT, STREAMS, Stream


def play(
    stream: Stream, ideas: list[str], rows: int, given: argparse.Namespace, peer: Evidently | None
) -> list[windows.Outcome]:
    """All windows of a data set at one size; every miss is printed."""
    outcomes = []
    for outcome, fault, case, onset in windows.cases(stream, ideas, rows, given.seed, quick=given.quick):
        windows.judge(outcome, fault, case, onset)
        if outcome.matters and fault.columns and not given.no_baselines:
            plain, own = jensen_shannon(case)
            ranked = {"JS": plain, "JS own history": own, "TreeSHAP": shap(stream, case)}
            if peer is not None:
                ranked["Evidently"] = peer.first(case)
            outcome.firsts = {name: first in fault.columns for name, first in ranked.items()}
        outcomes.append(keep(outcome, given.json))
        bad = outcome.kind != "right" if outcome.matters else outcome.blamed
        if bad and not given.quiet:
            word = "MISS" if outcome.matters else "NO EFFECT"
            print(f"  {word} {outcome.data} {rows} {outcome.onset}: {outcome.name}: {outcome.said}", flush=True)
    quiet = chain(
        windows.clean(stream, rows, given.clean, given.seed),
        windows.unharmed(stream, rows, given.harmless, given.seed),
    )
    for outcome in quiet:
        outcomes.append(keep(outcome, given.json))
        if outcome.said and not given.quiet:
            print(f"  FALSE {outcome.data} {rows} {outcome.idea} {outcome.name}: {outcome.said}", flush=True)
    return outcomes


def keep(outcome: windows.Outcome, file: Path | None) -> windows.Outcome:
    """Append an outcome to a file as a line of JSON."""
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")
    return outcome


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--data", default=",".join(STREAMS))
    options.add_argument("--hold-out", action="store_true", help="the data sets kept apart, instead")
    options.add_argument("--rows", default="1000", help="rows since onset")
    options.add_argument("--clean", type=int, default=12, help="clean windows a data set and size")
    options.add_argument("--harmless", type=int, default=1, help="rounds of harmless changes")
    options.add_argument("--only", default="", help="ideas: " + ", ".join(FAULTS))
    options.add_argument("--seed", type=int, default=0, help="other windows, columns and values")
    options.add_argument(
        "--wheels", type=Path, default=Path.home() / ".cache/middlewatch-bench", help="for data of other packages"
    )
    options.add_argument("--evidently", type=Path, help="the Python of an environment that has evidently")
    options.add_argument("--quick", action="store_true", help="each idea in one strength only")
    options.add_argument("--path", choices=("fast", "real"), default="fast")
    options.add_argument("--json", type=Path, help="append each outcome to this file, one a line")
    options.add_argument("--tables", type=Path, nargs="+", help="only count the outcomes in these files")
    options.add_argument("--no-baselines", action="store_true")
    options.add_argument("--quiet", action="store_true", help="the tables alone")
    given = options.parse_args()
    if given.tables:
        lines = [line for file in given.tables for line in file.read_text(encoding="utf-8").splitlines()]
        show([windows.Outcome(**json.loads(line)) for line in lines])
        return
    ideas = [one for one in given.only.split(",") if one] or list(FAULTS)
    if given.only == "none":
        ideas = []
    chosen = HOLD_OUT if given.hold_out else {name: STREAMS[name] for name in given.data.split(",")}
    if given.path == "real":
        real.main({name: make(given.wheels) for name, make in chosen.items()}, ideas, given.seed)
        return
    peer = Evidently(given.evidently) if given.evidently else None
    if peer is None and not given.no_baselines:
        print("Evidently: skipped, no environment was given")
    outcomes: list[windows.Outcome] = []
    for make in chosen.values():
        stream = make(given.wheels)
        for rows in given.rows.split(","):
            outcomes += play(stream, ideas, int(rows), given, peer)
    if peer is not None:
        peer.close()
    show(outcomes)


def show(outcomes: list[windows.Outcome]) -> None:
    """All tables."""
    grouped = [scores.by(outcomes, key) for key in ("data", "rows", "strength", "idea")]
    for table in (scores.summary(outcomes), *grouped, scores.confusion(outcomes)):
        print("", *table, sep="\n")


if __name__ == "__main__":
    main()
