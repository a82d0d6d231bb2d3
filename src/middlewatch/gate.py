"""What a version must pass before it may go live: facts about challenger and champion in, verdicts out.

Pure: nothing is scored or loaded here. A verdict is `{"check", "ok", "champion", "challenger", "detail"}`; the
journal keeps it beside the promotion it allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .metrics import METRICS, Comparison, Floats, compare

if TYPE_CHECKING:
    from .config import Gate
    from .schema import Task

# A prediction mean that moves by more than this many standard deviations of the champion's scores is another model.
SHIFT_LIMIT = 0.5

Verdict = dict[str, Any]

# Metrics in the target's own unit: what may be lost of them is a share of the live version's, not an amount.
IN_UNITS = ("rmse", "mae")

# Checks that need no other version.
ALONE = ("beats_baseline", "finite", "same_twice", "latency")


def verdict(check: str, ok: bool, detail: str, *, champion: Any = None, challenger: Any = None) -> Verdict:
    """One line of a gate."""
    return {"check": check, "ok": bool(ok), "champion": champion, "challenger": challenger, "detail": detail}


def alone(
    task: str, metrics: Mapping[str, Mapping[str, float]], baseline: float, *, finite: bool, stable: bool,
    latency_us: float, latency_limit_us: float,
) -> list[Verdict]:  # fmt: skip
    """What can be said of a version without another: it beats the mean, answers numbers, the same twice, in time."""
    first = METRICS[task][0]
    value = metrics[first.name]["value"]
    return [
        verdict(
            "beats_baseline",
            first.better * (value - baseline) > 0,
            f"{first.name} {value:.4g}, the mean alone gives {baseline:.4g}",
            champion=baseline,
            challenger=value,
        ),
        verdict(
            "finite", finite, "every score of the holdout is a number" if finite else "some scores are not numbers"
        ),
        verdict("same_twice", stable, "golden rows scored twice are equal" if stable else "two scorings differ"),
        verdict(
            "latency",
            latency_us <= latency_limit_us,
            f"{latency_us:.0f} us a row"
            + (f", allowed {latency_limit_us:.0f}" if math.isfinite(latency_limit_us) else ", no limit is set"),
            challenger=latency_us,
        ),
    ]


def against(
    comparison: Comparison,
    *,
    drop_at_most: float,
    champion_inputs: Sequence[str],
    challenger_inputs: Sequence[str],
    shift_sd: float,
) -> list[Verdict]:
    """What is compared with the live version, on the same rows that neither was trained on."""
    new = sorted(set(challenger_inputs) - set(champion_inputs))
    allowed = drop_at_most * abs(comparison.champion) if comparison.metric in IN_UNITS else drop_at_most
    return [
        verdict(
            "not_worse",
            comparison.gain >= -allowed,
            f"{comparison.metric} {comparison.champion:.4g} -> {comparison.challenger:.4g} on {comparison.rows:,} rows "
            f"(gain {comparison.gain:+.4g}, 95 % {comparison.low:+.4g} to {comparison.high:+.4g}; "
            f"a drop of {allowed:.4g} is allowed)",
            champion=comparison.champion,
            challenger=comparison.challenger,
        ),
        verdict(
            "same_inputs",
            not new,
            "callers need to send nothing new"
            if not new
            else f"callers must send what they do not yet: {', '.join(new)}",
        ),
        verdict(
            "prediction_shift",
            abs(shift_sd) <= SHIFT_LIMIT,
            f"the mean score moves by {shift_sd:+.2f} standard deviations, allowed {SHIFT_LIMIT:g}",
            challenger=shift_sd,
        ),
    ]


def against_scores(
    task: Task,
    truth: Floats,
    champion: Floats,
    challenger: Floats,
    *,
    wanted: Gate,
    champion_inputs: Sequence[str],
    challenger_inputs: Sequence[str],
) -> list[Verdict]:
    """`against`, from both versions' scores of the same rows."""
    spread = float(champion.std()) or 1.0
    moved = float(challenger.mean() - champion.mean()) / spread if task != "multiclass" else 0.0
    return against(
        compare(task, truth, champion, challenger, metric=wanted.metric),
        drop_at_most=wanted.drop_at_most,
        champion_inputs=champion_inputs,
        challenger_inputs=challenger_inputs,
        shift_sd=moved,
    )


def passed(verdicts: Sequence[Mapping[str, Any]]) -> bool:
    """True where every check of the gate is ok."""
    return all(one["ok"] for one in verdicts)
