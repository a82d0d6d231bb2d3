"""Is it still good, in one number with its range: from the facts that are stored beside the windows. No numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from .slices import worst
from .sums import Sum, pooled

Day = Mapping[str, Any]
Range = tuple[float, float] | None

# Days that slices are pooled over, and that say what share of outcomes usually arrives.
POOLED = 28
LEADING = ("log_loss", "absolute_error")
WORDS = {
    "auc": "AUC", "log_loss": "log loss", "brier": "Brier score", "accuracy": "accuracy", "rmse": "RMSE",
    "mae": "mean absolute error", "absolute_error": "mean absolute error",
}  # fmt: skip


def told(
    days: Sequence[Day], *, wanted: str | None, usual: Callable[[Sequence[Day], Callable[[Day], float]], Range]
) -> dict[str, Any]:
    """The newest window whose outcomes were judged, beside what is usual, from windows' summaries, oldest first.

    `wanted` is the metric to tell, where its task has it, else the task's first; `usual(days, of)` gives least and
    most of a figure over the days before the last. Keys: metric, value, low, high (95 %), day, labelled_share,
    usual_low, usual_high, estimate (of the newest window, from its scores alone) and its day, slices, note.
    """
    logged = [one for one in days if one.get("quality") and one["quality"]["source"] == "log"]
    judged = [one for one in logged if one["quality"].get("judged")]
    name = _metric([*judged, *(one for one in days if one.get("quality"))], wanted)
    shown = next((one for one in reversed(judged) if _value(one, name) is not None), None)
    estimated = next((one for one in reversed(logged) if (one["quality"].get("estimate") or {}).get(name)), None)
    recent = logged[-POOLED:]
    rows = sum(one["quality"]["rows"] for one in recent)
    facts: dict[str, Any] = {
        "metric": name if shown is not None else None,
        "value": None,
        "low": None,
        "high": None,
        "day": None,
        "labelled_share": round(sum(one["quality"]["labelled"] for one in recent) / rows, 6) if rows else None,
        "usual_low": None,
        "usual_high": None,
        "estimate": estimated["quality"]["estimate"][name] if estimated is not None else None,
        "estimate_of": name if estimated is not None else None,
        "estimate_day": estimated["day"] if estimated is not None else None,
        "slices": [],
        "slices_by": None,
        "series": [],
    }
    if shown is not None:
        held = shown["quality"]["metrics"][name]
        before = [one for one in days if _counts(one) and one["day"] <= shown["day"] and _value(one, name) is not None]
        low, high = usual(before, lambda one: float(one["quality"]["metrics"][name]["value"])) or (None, None)
        facts |= {
            "value": held["value"],
            "low": held["low"],
            "high": held["high"],
            "day": shown["day"],
            "labelled_share": shown["quality"]["judged"]["share"],
            "usual_low": low,
            "usual_high": high,
            "series": [one["quality"]["metrics"][name]["value"] for one in before[-POOLED - 1 :]],
            **_slices([one["quality"] for one in judged[-POOLED:]]),
        }
    return {**facts, "note": _note(facts, bool(logged))}


def _counts(day: Day) -> bool:
    """Training days, whose outcomes are all known, and served ones that were judged."""
    facts: Mapping[str, Any] = day.get("quality") or {}
    return facts.get("source") == "training" or bool(facts.get("judged"))


def _metric(days: Sequence[Day], wanted: str | None) -> str:
    for one in reversed(days):
        known = one["quality"]["metrics"]
        if known:
            return wanted if wanted is not None and wanted in known else str(next(iter(known)))
    return wanted or "accuracy"


def _value(day: Day, name: str) -> float | None:
    value: float | None = (day["quality"]["metrics"].get(name) or {}).get("value")
    return value


def _slices(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by = next((name for name in LEADING if any(name in one["sums"] for one in facts)), None)
    if by is None:
        return {"slices": [], "slices_by": None}
    whole = pooled(Sum.read(one["sums"][by]) for one in facts if by in one["sums"])
    return {"slices": worst([one["slices"] for one in facts], whole), "slices_by": by}


def _note(facts: Mapping[str, Any], served: bool) -> str:
    """The same for one line of text."""
    expects = ""
    if facts["estimate"] is not None:
        name = WORDS.get(facts["estimate_of"], facts["estimate_of"])
        day = date.fromisoformat(facts["estimate_day"]).isoformat()
        expects = f"; scores of {day} expect {name} {facts['estimate']:.3g} if only the inputs changed"
    if facts["value"] is None:
        share = facts["labelled_share"]
        if not served or not share:
            return f"no outcomes yet (middlewatch import TABLE --labels){expects}"
        return f"outcomes of {_percent(share)} of the last predictions came, too few to judge{expects}"
    around = f" ({facts['low']:.3g} to {facts['high']:.3g})" if facts["low"] is not None else ""
    usual = ""
    if facts["usual_low"] is not None:
        usual = f", usual {facts['usual_low']:.3g} to {facts['usual_high']:.3g}"
    name = WORDS.get(facts["metric"], facts["metric"])
    came = f"outcomes of {_percent(facts['labelled_share'])} of its rows"
    return f"{name} {facts['value']:.3g}{around} on {facts['day']}, {came}{usual}{expects}"


def _percent(share: float) -> str:
    """Never 100 % where some are missing."""
    return f"{min(share, 1.0) * 100:.0f} %" if share >= 1 or share < 0.995 else "over 99 %"
