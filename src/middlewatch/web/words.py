"""Numbers, times and channels as people read them. Pure."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

NONE = "–"
# Between a number and its sign: a line must not end there.
TIGHT = "\u00a0"

# What a channel of the monitor looks at, in plain words.
CHANNELS = {
    "shape": "distribution",
    "null": "missing values",
    "novelty": "values never seen before",
    "whole": "share of whole numbers",
    "repeat": "repeats of the row before",
    "lattice": "numbers never seen before",
    "far": "numbers far outside all seen",
    "alike": "how often rows share a value",
    "repeated": "rows that came before in every column",
    "level": "the mean",
    "lost": "the category that fell most",
    "scattered": "missing values in every hour",
    "tie": "what it goes with",
    "volume": "number of rows",
    "refused": "share refused",
    "constant": "share with one and the same value",
    "collapsed": "spread of the scores",
    "decisions": "decisions",
    "replay": "what its version answers to the same rows",
    "middle": "the median",
    "silence": "silence",
    "release": "against the version before",
    "loading": "what is live",
    "log_loss": "log loss",
    "error": "wrong decisions",
    "ranking": "1 − AUC",
    "absolute_error": "mean absolute error",
    "squared_error": "mean squared error",
    "loss_over_guess": "loss above a constant guess's",
    "error_over_guess": "wrong decisions above a constant guess's",
}
COLUMNS = {
    "mw.score": "the prediction",
    "mw.label": "the predicted class",
    "(requests)": "requests",
    "(outcomes)": "outcomes",
    "(rows)": "the number of rows",
    "(traffic)": "traffic",
    "(server)": "the server",
    "(monitor)": "the monitor",
    "(release)": "the release",
}
ACTIONS = {
    "promote": "promoted",
    "rollback": "rolled back to",
    "external": "served elsewhere",
    "shadow": "shadows",
    "freeze": "automatic promotion frozen",
    "unfreeze": "automatic promotion allowed",
    "retire": "retired",
    "note": "note",
}
EVENTS = {
    "open": "opened",
    "update": "went on",
    "ack": "acknowledged",
    "silence": "silenced",
    "resolve": "resolved",
    "reopen": "opened again",
    "mark_bad": "rows marked bad",
    "unmark_bad": "marks taken back",
}


def number(value: Any, digits: int = 3) -> str:
    """`digits` significant ones, whole numbers in full: 0.437, 1204, 12,800. Four digits may be a year: no comma."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (abs(value) >= 1000 and math.isfinite(value)):
        return (f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}").replace("-", "−")
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, decimals)}f}".replace("-", "−")


def percent(share: Any) -> str:
    """A share of one: 34 %, 0.3 %, 0 %."""
    if share is None:
        return NONE
    value = 100 * float(share)
    if 0 < value < 0.01:
        return f"under 0.01{TIGHT}%"
    return f"{value:.0f}{TIGHT}%" if value == 0 or value >= 10 else f"{value:.2g}{TIGHT}%"


def times(score: Any) -> str:
    """The monitor's score, a natural logarithm, as how many times its worst a signal is: 2.4 ×."""
    if score is None:
        return NONE
    ratio = math.exp(min(float(score), 50.0))
    return f"{ratio:,.0f}{TIGHT}×" if ratio >= 20 else f"{ratio:.{1 if ratio >= 0.95 else 2}f}{TIGHT}×"


def moment(text: Any, zone: tzinfo) -> datetime | None:
    """An ISO time in `zone`; None for nothing and for what is no time."""
    try:
        read = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return read.astimezone(zone) if read is not None and read.tzinfo else read


def when(text: Any, zone: tzinfo) -> str:
    """A moment with its zone, a day where it is midnight: "9 Jun 2013, 16:30 UTC", "9 Jun 2013"."""
    read = moment(text, zone)
    if read is None:
        return str(text) if text else NONE
    if (read.hour, read.minute, read.second) == (0, 0, 0):
        return day(read.date())
    return f"{day(read.date())}, {read:%H:%M} {read.tzname() or ''}".rstrip()


def day(value: Any) -> str:
    """A date: 9 Jun 2013. Other things as they are."""
    if isinstance(value, str):
        try:
            return day(date.fromisoformat(value))
        except ValueError:
            return value
    if not isinstance(value, date):
        return NONE
    return f"{value.day} {value.strftime('%b %Y')}"


def lasting(since: Any, until: Any, zone: tzinfo) -> str:
    """How long from one moment to another, in its largest unit: 2 days, 5 hours."""
    start, end = moment(since, zone), moment(until, zone)
    if start is None or end is None or end <= start:
        return ""
    length: timedelta = end - start
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        whole = int(length.total_seconds() // size)
        if whole >= 1:
            return f"{whole} {unit}{'' if whole == 1 else 's'}"
    return ""


def metric(name: Any) -> str:
    """A metric's name: auc is AUC, log_loss is log loss."""
    text = str(name)
    return text.upper() if text in ("auc", "rmse", "mae") else text.replace("_", " ")


def channel(name: str) -> str:
    return CHANNELS.get(name, name)


def column(name: str) -> str:
    return COLUMNS.get(name, name)


def headline(title: str) -> str:
    """An incident's title to be read on a page: without what became of the mean prediction, which has its own line."""
    return title.partition("; mean prediction ")[0].replace("->", "→").replace(" x its worst", f"{TIGHT}× its worst")


def plural(count: Any, one: str, many: str = "") -> str:
    """1 window, 2 windows, 12,000 rows."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """With a capital first letter, unless the first word is a name (has a digit or an underscore)."""
    first = text.split(" ", 1)[0]
    return text if "_" in first or any(one.isdigit() for one in first) else text[:1].upper() + text[1:]
