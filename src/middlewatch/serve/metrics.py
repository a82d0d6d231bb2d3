"""Counts for /metrics in the Prometheus text format, summed over the workers of one server.

Counting is on the path of every request, so it is plain additions in this process. With several workers each
leaves its numbers in a file of the spool every second; whoever is asked adds the others' files to its own.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["BUCKETS", "FACTS", "Metrics"]

BUCKETS = (50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds in seconds: an answer takes some 100 us, and Prometheus' own default buckets begin at 5 ms."""

_HELP = {
    "middlewatch_requests_total": ("counter", "Requests by route, model, version and status."),
    "middlewatch_request_duration_seconds": ("histogram", "From the whole request read to the answer written."),
    "middlewatch_predictions_total": ("counter", "Predictions answered and logged."),
    "middlewatch_refused_total": ("counter", "Requests that break the model's schema."),
    "middlewatch_refused_kept_total": ("counter", "Of those, kept as evidence; a flood is only counted."),
    "middlewatch_labels_total": ("counter", "Outcomes received and kept."),
    "middlewatch_log_bytes_total": ("counter", "Bytes written to the prediction log."),
    "middlewatch_log_failures_total": ("counter", "Requests answered 503 since they could not be logged."),
    "middlewatch_load_failures_total": ("counter", "Versions that were to go live and did not load."),
    "middlewatch_watch_failures_total": ("counter", "Ends of the child that watches the newest predictions."),
    "middlewatch_conversion_failures_total": ("counter", "Runs that could not bring log segments into the store."),
    "middlewatch_store_reachable": ("gauge", "1 where the store answered the last poll."),
    "middlewatch_model_info": ("gauge", "1 for each version that answers."),
}

FACTS = {
    "middlewatch_model_state": "1 for the state that the model is in, 0 for the four others.",
    "middlewatch_incidents_open": "Open incidents by severity: page or ticket.",
    "middlewatch_window_end_timestamp_seconds": "Where the last judged window ends.",
    "middlewatch_window_rows": "Predictions of the last judged window.",
    "middlewatch_window_refused": "Requests of the last judged window that broke the schema.",
    "middlewatch_window_score_mean": "Mean prediction of the last judged window.",
    "middlewatch_window_alarm_score": "Strongest channel of the last judged window: log of its share of its own worst.",
    "middlewatch_window_alarm_line": "The line above which that window alarms.",
    "middlewatch_window_alarm": "1 where the last judged window alarmed.",
    "middlewatch_monitor_last_run_timestamp_seconds": "When the monitor last ran.",
    "middlewatch_labelled_share": "Share of the last predictions that have an outcome.",
    "middlewatch_quality": "The metric of the newest window whose outcomes were judged.",
    "middlewatch_alerts_waiting": "Messages to people that wait on this machine.",
    "middlewatch_alerts_given_up": "Messages to people that no route took.",
    "middlewatch_facts_timestamp_seconds": "When these facts were read from the store.",
}
"""What the monitor knows: gauges that a child reads from stored summaries now and then, see `facts`."""

_HELP |= {name: ("gauge", words) for name, words in FACTS.items()}

Labels = tuple[tuple[str, str], ...]
Request = tuple[str, str, str, int]  # route, model, version, status


class Metrics:
    """The numbers of one process; `folder` is shared by the workers of one server, None where there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._values: dict[tuple[str, Labels], float] = defaultdict(float)
        self._requests: dict[Request, list[float]] = {}
        self._predicted: dict[tuple[str, str], tuple[str, Labels]] = {}

    def request(self, route: str, model: str, version: str, code: int, seconds: float) -> None:
        """Count one answered request and its time."""
        key = (route, model, version, code)
        row = self._requests.get(key)
        if row is None:
            row = self._requests[key] = [0.0] * (len(BUCKETS) + 2)
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds

    def predicted(self, model: str, version: str, rows: int) -> None:
        """Count predictions of an answer."""
        key = self._predicted.get((model, version))
        if key is None:
            labels = (("model", model), ("version", version))
            key = self._predicted[model, version] = ("middlewatch_predictions_total", labels)
        self._values[key] += rows

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._values[name, tuple(labels.items())] += amount

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set a number that is known whole, such as bytes written so far."""
        self._values[name, tuple(labels.items())] = value

    def clear(self, name: str) -> None:
        """Forget all values of one name."""
        for key in [key for key in self._values if key[0] == name]:
            del self._values[key]

    def replace(self, names: Iterable[str], values: Iterable[tuple[str, Mapping[str, str], float]]) -> None:
        """Set all values of some names at once; whoever reads meanwhile misses none that stays."""
        fresh = {(name, tuple(labels.items())): value for name, labels, value in values}
        self._values.update(fresh)
        wanted = set(names)
        for key in [key for key in self._values if key[0] in wanted and key not in fresh]:
            del self._values[key]

    def keep(self) -> None:
        """Leave this process's numbers where the others find them. A full disk costs freshness, nothing else."""
        if self._folder is None:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{os.getpid()}.json"
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(self._facts()))
            os.replace(fresh, path)

    def text(self) -> str:
        """Everything, of all workers, as Prometheus reads it."""
        facts = [self._facts(), *self._others()]
        values: dict[tuple[str, Labels], float] = defaultdict(float)
        for part in facts:
            for name, labels, value in part["values"]:
                key = (name, tuple((str(a), str(b)) for a, b in labels))
                gauge = _HELP.get(name, ("", ""))[0] == "gauge"
                values[key] = max(values[key], value) if gauge else values[key] + value
        requests: dict[Request, list[float]] = {}
        for part in facts:
            for (route, model, version, code), row in part["requests"]:
                sums = requests.setdefault((route, model, version, code), [0.0] * len(row))
                for place, value in enumerate(row):
                    sums[place] += value
        return "".join(_lines(values, requests))

    def _facts(self) -> dict[str, Any]:
        # dict and list copies are made in one step: other threads count on.
        return {
            "values": [[name, list(labels), value] for (name, labels), value in list(self._values.items())],
            "requests": [[list(key), list(row)] for key, row in list(self._requests.items())],
        }

    def _others(self) -> Iterable[dict[str, Any]]:
        if self._folder is None:
            return
        own = f"{os.getpid()}.json"
        for path in self._folder.glob("*.json"):
            if path.name != own:
                with suppress(OSError, ValueError):
                    yield json.loads(path.read_text())


def _lines(values: Mapping[tuple[str, Labels], float], requests: Mapping[Request, list[float]]) -> Iterator[str]:
    for name, (kind, words) in _HELP.items():
        yield f"# HELP {name} {words}\n# TYPE {name} {kind}\n"
        if name == "middlewatch_requests_total":
            for (route, model, version, code), row in sorted(requests.items()):
                labels: Labels = (("route", route), ("model", model), ("version", version), ("code", str(code)))
                yield f"{name}{_shown(labels)} {sum(row[:-1]):.0f}\n"
        elif kind == "histogram":
            yield from _histogram(name, requests)
        else:
            for (one, shown), value in sorted(values.items()):
                if one == name:
                    yield f"{name}{_shown(shown)} {value:.17g}\n"


def _histogram(name: str, requests: Mapping[Request, list[float]]) -> Iterator[str]:
    by_route: dict[tuple[str, str], list[float]] = {}
    for (route, model, _, _), row in requests.items():
        sums = by_route.setdefault((route, model), [0.0] * len(row))
        for place, value in enumerate(row):
            sums[place] += value
    for (route, model), row in sorted(by_route.items()):
        labels = (("route", route), ("model", model))
        below = 0.0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), row, strict=False):
            below += count
            yield f"{name}_bucket{_shown((*labels, ('le', bound)))} {below:.0f}\n"
        yield f"{name}_sum{_shown(labels)} {row[-1]:.9g}\n{name}_count{_shown(labels)} {below:.0f}\n"


def _shown(labels: Labels) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels) + "}" if labels else ""
