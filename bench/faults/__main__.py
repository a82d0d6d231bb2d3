"""Faults played over data sets: is the cause named?

    python bench/faults [--data flights,loans] [--hold-out] [--rows 1000] [--clean 12] [--only unit,sign] [--seed 0]
                        [--quick] [--evidently PYTHON] [--path real] [--json FILE] [--misses] [--wheels FOLDER]
    python bench/faults --year 300              clean windows, end to end over a year with its holidays
    python bench/faults --tables FILE [FILE]    count what --json has kept

Default: windows go straight into the diagnosis' fingerprints. `--path real`: a sample of them goes through
`score --log`, `monitor` and `why --json` in a project of its own, and the two must agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import real, scores, windows
from faults.baselines import Evidently, jensen_shannon, shap
from faults.catalogue import FAULTS
from faults.held_out import HOLD_OUT
from faults.streams import HOLIDAYS, STREAMS, Stream, year
from faults.windows import Outcome


def play(
    stream: Stream, ideas: list[str], rows: int, given: argparse.Namespace, peer: Evidently | None
) -> list[Outcome]:
    """All windows of a data set at one size; every miss is printed."""
    outcomes = []
    for one in windows.cases(stream, ideas, rows, given.seed, quick=given.quick, alone=given.alone):
        windows.judge(one)
        if one.outcome.matters and one.fault.columns and not given.no_baselines:
            plain, own = jensen_shannon(one.case)
            ranked = {"JS": plain, "JS own history": own, "TreeSHAP": shap(stream, one.case)}
            if peer is not None:
                ranked["Evidently"] = peer.first(one.case)
            one.outcome.firsts = {name: first in one.fault.columns for name, first in ranked.items()}
        outcomes.append(keep(one.outcome, given))
    quiet = chain(
        windows.clean(stream, rows, given.clean, given.seed),
        windows.unharmed(stream, rows, given.harmless, given.seed),
    )
    return outcomes + [keep(outcome, given) for outcome in quiet]


def keep(outcome: Outcome, given: argparse.Namespace) -> Outcome:
    """Append an outcome to a file as a line of JSON, and print it where it is a miss."""
    if given.json is not None:
        with given.json.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")
    if not given.quiet:
        for line in scores.missed([outcome]):
            print(f"  {line}", flush=True)
    return outcome


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--data", default=",".join(STREAMS))
    options.add_argument("--hold-out", action="store_true", help="the data sets kept apart, instead")
    options.add_argument("--rows", default="1000", help="rows since onset")
    options.add_argument("--clean", type=int, default=12, help="clean windows a data set and size")
    options.add_argument("--harmless", type=int, default=1, help="rounds of harmless changes")
    options.add_argument("--year", type=int, default=0, help="so many clean windows end to end over a year, alone")
    options.add_argument("--alone", action="store_true", help="no innocent change beside a fault")
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
    options.add_argument("--misses", action="store_true", help="a list of all misses after the tables")
    given = options.parse_args()
    if given.tables:
        lines = [line for file in given.tables for line in file.read_text(encoding="utf-8").splitlines()]
        show([Outcome(**json.loads(line)) for line in lines], misses=given.misses)
        return
    if given.year:
        one = year(given.wheels)
        show([keep(o, given) for o in windows.year(one, 1000, given.year, HOLIDAYS)], misses=given.misses)
        return
    chosen = HOLD_OUT if given.hold_out else {name: STREAMS[name] for name in given.data.split(",")}
    if given.path == "real":
        only = [one for one in given.only.split(",") if one]
        made = {name: make(given.wheels) for name, make in chosen.items()}
        show([keep(one, given) for one in real.main(made, only, given.seed)], misses=given.misses)
        return
    ideas = [one for one in given.only.split(",") if one] or list(FAULTS)
    if given.only == "none":
        ideas = []
    peer = Evidently(given.evidently) if given.evidently else None
    if peer is None and not given.no_baselines:
        print("Evidently: skipped, no environment was given")
    outcomes: list[Outcome] = []
    for make in chosen.values():
        stream = make(given.wheels)
        for rows in given.rows.split(","):
            outcomes += play(stream, ideas, int(rows), given, peer)
    if peer is not None:
        peer.close()
    show(outcomes, misses=given.misses)


def show(outcomes: list[Outcome], *, misses: bool) -> None:
    """All tables."""
    groups: dict[str, Callable[[Outcome], object]] = {
        "family": lambda one: one.family,
        "data": lambda one: one.data,
        "rows": lambda one: one.rows,
        "strength": lambda one: one.strength,
        "onset": lambda one: one.onset,
        "idea": lambda one: one.idea,
    }
    tables = [scores.by(outcomes, word, key) for word, key in groups.items()]
    for table in (scores.summary(outcomes), *tables, scores.confusion(outcomes)):
        print("", *table, sep="\n")
    if misses:
        print("", *scores.missed(outcomes), sep="\n")


if __name__ == "__main__":
    main()
