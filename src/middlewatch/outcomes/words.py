"""An alarm about outcomes in one line: which measure, from what to what, on how many, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable

from middlewatch.quality.watch import Decay, Reading, Verdict

# Each channel as people know it: its name, and how the stored mean loss reads as that.
CHANNELS: dict[str, tuple[str, Callable[[float], float]]] = {
    "log_loss": ("log loss", lambda loss: loss),
    "error": ("accuracy", lambda loss: 1 - loss),
    "ranking": ("AUC", lambda loss: 1 - loss),
    "absolute_error": ("mean absolute error", lambda loss: loss),
    "squared_error": ("RMSE", lambda loss: math.sqrt(max(loss, 0.0))),
    "loss_over_guess": ("loss above a constant guess's", lambda loss: loss),
    "error_over_guess": ("wrong decisions above a constant guess's", lambda loss: loss),
}


def severest(verdict: Verdict) -> Reading | Decay:
    """What the alarm is about: the highest loud channel, else the longest decay."""
    if verdict.loud:
        return max(verdict.loud, key=lambda one: one.height)
    return max(verdict.decays, key=lambda one: (one.windows, one.channel))


def title(verdict: Verdict, outcomes: int) -> str:
    """The incident's title: "log loss 0.41 -> 0.55 on 1,230 outcomes, some 97 more wrong decisions than usual"."""
    one = severest(verdict)
    name, read = CHANNELS[one.channel]
    said = f"{name} {read(one.usual):.3g} -> {read(one.now):.3g}"
    if isinstance(one, Decay):
        return f"{said}, crept up over {one.windows} windows with outcomes"
    said += f" on {outcomes:,} outcomes"
    wrong = next((reading for reading in verdict.readings if reading.channel == "error"), None)
    more = round((wrong.now - wrong.usual) * outcomes) if wrong is not None else 0
    return f"{said}, some {more:,} more wrong decisions than usual" if more >= 1 else said
