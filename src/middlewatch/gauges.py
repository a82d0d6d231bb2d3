"""What the monitor knows, as numbers for Prometheus: `python -m middlewatch.gauges PROJECT` prints them as JSON.

A process of its own, started by a server now and then: a year of stored summaries takes a third of a second to read,
which the server's answers need. From stored summaries alone; imports neither polars nor numpy.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from . import outbox, runs
from .errors import MiddlewatchError
from .project import Project
from .status import State, Status, status

Value = tuple[str, dict[str, str], float]
"""Name, labels, number."""

SEVERITIES = ("page", "ticket")


def gauges(project: Project, *, now: datetime) -> list[Value]:
    """The standing of each model and of the queue of messages. A model that cannot be read is left out."""
    found: list[Value] = [("middlewatch_facts_timestamp_seconds", {}, now.timestamp())]
    queue = outbox.counts(project.root)
    found += [
        ("middlewatch_alerts_waiting", {}, queue.waiting),
        ("middlewatch_alerts_given_up", {}, queue.given_up),
    ]
    for name in project.config.models:
        try:
            found += _of_model(project, name, status(project, name, clock=now))
        except MiddlewatchError as error:
            print(f"middlewatch: {name}: {error.what}", file=sys.stderr)
    return found


def _of_model(project: Project, name: str, seen: Status) -> list[Value]:
    model = {"model": name}
    found: list[Value] = [
        ("middlewatch_model_state", {**model, "state": one}, float(seen.state == one)) for one in get_args(State)
    ]
    for severity in SEVERITIES:
        count = sum(1 for one in seen.incidents if one.severity == severity)
        found.append(("middlewatch_incidents_open", {**model, "severity": severity}, count))
    ran = runs.last(project.store, name)
    if ran is not None:
        found.append(("middlewatch_monitor_last_run_timestamp_seconds", model, ran.timestamp()))
    found += _of_window(model, seen)
    quality = seen.quality
    if quality["labelled_share"] is not None:
        found.append(("middlewatch_labelled_share", model, float(quality["labelled_share"])))
    if quality["value"] is not None:
        found.append(("middlewatch_quality", {**model, "metric": str(quality["metric"])}, float(quality["value"])))
    return found


def _of_window(model: dict[str, str], seen: Status) -> list[Value]:
    """The last judged window of the log."""
    last = next((one for one in reversed(seen.days) if one["source"] == "log" and one.get("judged")), None)
    if last is None:
        return []
    judged: dict[str, Any] = last["judged"]
    numbers = {
        "middlewatch_window_end_timestamp_seconds": datetime.fromisoformat(judged["end"]).timestamp(),
        "middlewatch_window_rows": judged["rows"],
        "middlewatch_window_refused": judged.get("refused"),
        "middlewatch_window_score_mean": (last.get("score") or {}).get("mean"),
        "middlewatch_window_alarm_score": judged.get("m"),
        "middlewatch_window_alarm_line": judged.get("m_line"),
        "middlewatch_window_alarm": float(judged["alarm"]),
    }
    return [(name, model, float(value)) for name, value in numbers.items() if value is not None]


def main(arguments: list[str]) -> int:
    """Print the gauges of a project as one JSON list; 4 where its store is out of reach."""
    try:
        project = Project.open(Path(arguments[0]), search=False)
        print(json.dumps(gauges(project, now=datetime.now(UTC)), allow_nan=False))
    except MiddlewatchError as error:
        print(f"middlewatch: {error.what}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
