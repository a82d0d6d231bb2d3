"""A project with stored windows, journal and incidents, made by the real parts: what the pages are tested on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from middlewatch import notes, shift
from middlewatch.monitor.words import short
from middlewatch.profiles import profile, spec_of
from middlewatch.project import Project
from middlewatch.schema import Schema

FIRST = date(2013, 3, 1)
TRAINING, LIVE = 62, 40
FAULT_DAYS = 2
NOW = datetime(2013, 6, 11, 2, 14, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>\"&"
ROWS = 60

_SCHEMA = """
[model]
name = "{name}"
target = "late"
task = "binary"
time = "departs"
classes = ["0", "1"]

[columns.departs]
kind = "time"
role = "time"

[columns.late]
kind = "whole"
role = "target"

[columns.temp]
kind = "number"
unit = "°F"
guessed = ["nulls"]

[columns.wind_speed]
kind = "number"

[columns.sched_hour]
kind = "whole"

[columns.origin]
kind = "category"
{extra}
"""


def rows(day: date, random: np.random.Generator, *, celsius: bool = False, extra: str = "") -> pl.DataFrame:
    """One day of observations; in summer it is warmer, and warm days are late more often."""
    season = 55 + 18 * np.sin((day.timetuple().tm_yday - 110) / 365 * 2 * np.pi)
    temp = season + random.normal(0, 4) + random.normal(0, 5, ROWS)
    wind = random.gamma(4, 2.5, ROWS)
    score = 1 / (1 + np.exp(-(temp - 60) / 22 + 1.1 - wind / 30 + random.normal(0, 0.45, ROWS)))
    if celsius:
        temp = (temp - 32) / 1.8
        score = 1 / (1 + np.exp(-(60 - temp) / 34 + 0.9 - wind / 30 + random.normal(0, 0.3, ROWS)))
    start = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
    data: dict[str, Any] = {
        "departs": [start + timedelta(minutes=24 * at) for at in range(ROWS)],
        "late": random.integers(0, 2, ROWS),
        "temp": np.round(temp, 2),
        "wind_speed": np.round(wind, 1),
        "sched_hour": random.integers(5, 23, ROWS),
        "origin": random.choice(["EWR", "JFK", "LGA"], ROWS),
        "mw.score": score,
    }
    if extra:
        data[extra] = random.choice(["a", HOSTILE], ROWS)
    return pl.DataFrame(data)


def build(
    folder: Path,
    *,
    models: tuple[str, ...] = ("delay",),
    fault: bool = True,
    live: int = LIVE,
    hostile: bool = False,
    why: bool = False,
) -> Project:
    """A project whose models have training days, live days judged by the monitor's own rules, and releases."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = "\n".join(f'[models.{name}]\nsource = "x.parquet"\ntarget = "late"\n' for name in models)
    (folder / "middlewatch.toml").write_text(blocks, encoding="utf-8")
    extra = f'\n[columns.{_quoted(HOSTILE)}]\nkind = "category"\n' if hostile else ""
    for name in models:
        text = _SCHEMA.format(name=name, extra=extra)
        (folder / f"{name}.schema.toml").write_text(text, encoding="utf-8")
    project = Project.open(folder, search=False)
    for place, name in enumerate(models):
        _windows(project, name, fault and place == 0, live, hostile)
        _journal(project, name, live, hostile)
        if fault and place == 0:
            _incident(project, name, live, hostile, why)
    at = datetime(2013, 6, 8, 16, 30, tzinfo=UTC)
    notes.add(project.store, HOSTILE if hostile else "weather feed: new client 2.0", at=at, now=at, actor="ops")
    return project


def _windows(project: Project, name: str, fault: bool, live: int, hostile: bool) -> None:
    random = np.random.default_rng(7)
    windows = project.windows(name)
    schema: Schema = project.schema(name)
    spec = spec_of(schema, roles=["feature"], score=True)
    watch = shift.Watch(budget=1)
    total = TRAINING + live
    for at in range(total):
        day = FIRST + timedelta(days=at)
        frame = rows(day, random, celsius=fault and at >= total - FAULT_DAYS, extra=HOSTILE if hostile else "")
        ended = datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
        logged = at >= TRAINING
        version = "v1" if at < TRAINING + 12 else "v2"
        windows.put(
            day,
            hours={0: profile(frame, spec)},
            source="log" if logged else "training",
            now=ended,
            versions={version: frame.height} if logged else None,
            facts={"refused": int(at % 9 == 4)} if logged else None,
            durable=False,
        )
        facts = shift.facts_of(windows.day(day).profile)
        if logged:
            windows.put_judgement(day, _judged(watch.look(day, facts), ended))
        watch.step(day, facts)


def _judged(verdict: shift.Verdict, ended: datetime) -> dict[str, Any]:
    return {
        "start": verdict.start.isoformat(),
        "end": ended.isoformat(),
        "rows": verdict.rows,
        "state": verdict.state,
        "alarm": verdict.alarm,
        "provisional": verdict.provisional,
        "top": [one.to_dict() for one in verdict.readings[:6]],
        "m": short(verdict.m),
        "m_line": short(verdict.m_line),
    }


def _journal(project: Project, name: str, live: int, hostile: bool) -> None:
    journal = project.journal(name)
    day = datetime.combine(FIRST + timedelta(days=TRAINING), datetime.min.time(), tzinfo=UTC)
    who = HOSTILE[:40] if hostile else "maria"
    if live:
        journal.append(action="promote", version="v1", actor=who, host="h", at=day, expect=0)
        journal.append(
            action="promote",
            version="v2",
            actor=who,
            host="h",
            at=day + timedelta(days=12, hours=9),
            reason=HOSTILE if hostile else "May data",
            gate=[
                {"check": "not_worse", "ok": True, "champion": 0.71, "challenger": 0.72, "detail": "auc 0.71 -> 0.72"}
            ],
            expect=1,
        )


def _incident(project: Project, name: str, live: int, hostile: bool, why: bool) -> None:
    incidents = project.incidents(name)
    since = datetime.combine(FIRST + timedelta(days=TRAINING + live - FAULT_DAYS), datetime.min.time(), tzinfo=UTC)
    day = since.date()
    top = [one for one in (project.windows(name).judgement(day) or {})["top"] if one["score"] > 0]
    summaries = project.windows(name).summaries()
    incidents.open(
        key=f"{day}:temp",
        at=since + timedelta(hours=25),
        actor="monitor",
        facts={
            "title": HOSTILE if hostile else "temp and the prediction left their usual range",
            "since": since.isoformat(),
            "until": (since + timedelta(days=1)).isoformat(),
            "severity": "page",
            "columns": ["temp", "mw.score"],
            "channels": ["shape", "novelty"],
            "top": top,
            "peak": top[0]["score"],
            "before": summaries[-FAULT_DAYS - 1]["score"]["mean"],
            "after": summaries[-1]["score"]["mean"],
            "rows": ROWS,
            "windows": 1,
        },
    )
    found = {"why": diagnosis(hostile)} if why else {}
    incidents.add(
        1,
        "update",
        at=since + timedelta(hours=49),
        actor="monitor",
        until=(since + timedelta(days=2)).isoformat(),
        rows=2 * ROWS,
        windows=2,
        **found,
    )


def diagnosis(hostile: bool = False) -> dict[str, Any]:
    """What `why` stores with an incident, in the keys of its `--json`."""
    return {
        "found": True,
        "causes": [
            {
                "kind": "scale",
                "form": "unit",
                "column": HOSTILE if hostile else "temp",
                "columns": ["temp"],
                "slice": None,
                "confidence": "certain",
                "detail": HOSTILE if hostile else "temp is in °C, was °F, in 100 % of rows",
                "since": "2013-06-09T00:00:00Z",
                "event": "weather feed: new client 2.0",
                "effect": {
                    "share_of_shift": 0.91,
                    "rows": 120,
                    "decisions_changed": 31,
                    "score_before": 0.437,
                    "score_after": 0.522,
                },
                "fix": "send temp in °F, or convert it before it reaches the model",
                "from_start": False,
                "undo_proved": True,
                "proof": "the inverse maps 100 % of the values back to known ones",
                "rivals": [],
                "examples": [{"id": "1k0w", "came": {"temp": 8.3}, "undone": {"temp": 46.94}}],
                "reproduce": "middlewatch why 1",
            }
        ],
        "ruled_out": ["the model (v2 answers earlier rows the same)", "the environment", "the other 3 columns"],
        "not_seen": [],
        "told": [],
        "harmless": [],
        "rollback": HOSTILE if hostile else "would not help: v1 reads the same temp",
        "checked": {"rows": 120},
        "next": "tell the owner of temp",
        "seconds": 1.2,
    }


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
