"""What stands beside a value: which old value the rows of a name belong to, by the other columns."""

from __future__ import annotations

from functools import partial

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .case import NUMBERS, Case, History
from .history import CategoryPast, Floats, Ints, Mask

DAMPED = 0.3
"""Share of the log likelihood that is believed: partners are taken as independent of each other, and are not."""


def resemblance(
    case: Case, column: str, past: CategoryPast, values: np.ndarray, rows: Mask, names: list[str]
) -> dict[str, Floats]:
    """For each name: how well its rows fit each past value, by the other columns (capped log likelihood)."""
    likelihood = likelihood_of(case, column, past)[rows]
    at = values[rows]
    fits = {}
    for name in names:
        mine = likelihood[at == name]
        summed = mine.sum(axis=0) if len(mine) else np.zeros(len(past.names))
        fits[name] = np.maximum((summed - summed.max()) * DAMPED, -40.0)
    return fits


def likelihood_of(case: Case, column: str, past: CategoryPast) -> Floats:
    """(rows, past values): log P(what stands in the other columns | value), the partners that know most."""
    likelihood: Floats = case.kept(("likelihood", column), lambda: _company(case, column, past))
    return likelihood


def _company(case: Case, column: str, past: CategoryPast) -> Floats:
    total = np.zeros((case.rows, len(past.names)))
    for other, logs in partners_of(case, column, past):
        total += logs[:, case.coded(other)].T
    return total


def partners_of(case: Case, column: str, past: CategoryPast) -> list[tuple[str, Floats]]:
    """The (at most four) columns that tell most about this one, with log P(code | value) / P(code)."""
    found: list[tuple[str, Floats]] = case.kept(("partners", column), lambda: _find(case, column, past))
    return found


def _find(case: Case, column: str, past: CategoryPast) -> list[tuple[str, Floats]]:
    scored = []
    for other in case.kinds:
        if other == column or other not in case.now.columns or case.kinds[other] in ("text", "time"):
            continue
        if (
            other in case.stand_ins
            or case.shape(other) > limits.BEYOND
            or (case.kinds[other] in NUMBERS and case.unusual(other) > limits.BEYOND)
        ):
            continue  # it changed itself: its word on what belongs together is worth nothing
        information, logs = case.history.kept(
            ("company", column, other), partial(_told_by, case.history, column, past, other)
        )
        if information > 0.02:
            scored.append((information, other, logs))
    scored.sort(key=lambda one: -one[0])
    return [(other, logs) for _, other, logs in scored[:4]]


def _told_by(history: History, column: str, past: CategoryPast, other: str) -> tuple[float, Floats]:
    """What another column's codes tell about this one's values: information (nats), log P(code | value) / P(code)."""
    codes, width = past_codes(history, column, past), 32
    usable = codes >= 0
    cells = codes[usable] * width + history.codes(other)[usable]
    table = np.bincount(cells, minlength=len(past.names) * width).reshape(-1, width)
    marginal = (table.sum(axis=0) + 0.5) / (table.sum() + 0.5 * width)
    given = (table + 8 * marginal) / (table.sum(axis=1, keepdims=True) + 8)
    logs: Floats = np.log(given / marginal)
    return float((table / max(table.sum(), 1) * logs).sum()), logs


def past_codes(history: History, column: str, past: CategoryPast) -> Ints:
    """Index of each past row's value among the names, -1 for null."""

    def made() -> Ints:
        index = {name: k for k, name in enumerate(past.names)}
        return np.array([index.get(v, -1) for v in np.concatenate(history.raw(column))], np.int64)

    codes: Ints = history.kept(("names", column), made)
    return codes


def company(case: Case, column: str, value: str, rows: Mask) -> tuple[float, float]:
    """How well some rows go with a value by what stands beside it, and how well its rows usually do (nats a row)."""
    past = case.history.words(column)
    at = past.names.index(value)
    codes = past_codes(case.history, column, past) == at
    usual = sum(
        float(logs[at, case.history.codes(other)[codes]].mean()) for other, logs in partners_of(case, column, past)
    )
    return float(likelihood_of(case, column, past)[rows, at].mean()) if rows.any() else 0.0, usual


def mixed(case: Case, column: str, value: str, gone: str, rows: Mask) -> tuple[float, float, bool]:
    """How much better some rows of a value go with a mixture of it and one that is gone than with it alone (nats a
    row), and the least that says so: more than every past window, and nearer to a mixture than to the value. And
    whether a mixture would be seen: without company both look alike."""
    past = case.history.words(column)
    a, b = past.names.index(value), past.names.index(gone)
    shares = past.shares.mean(axis=0)
    weight = float(shares[b] / (shares[a] + shares[b]))

    def gain(own: Floats, other: Floats) -> Floats:
        better: Floats = np.logaddexp(np.log(1 - weight), np.log(weight) + other - own)
        return better

    codes = past_codes(case.history, column, past)
    before = np.isin(codes, (a, b))
    own, other = np.zeros(before.sum()), np.zeros(before.sum())
    for partner, logs in partners_of(case, column, past):
        seen = case.history.codes(partner)[before]
        own, other = own + logs[a, seen], other + logs[b, seen]
    gains, alone = gain(own, other), codes[before] == a
    window = case.history.pooled["mw.window"].to_numpy()[before][alone]
    sums, counts = np.bincount(window, weights=gains[alone]), np.bincount(window)
    worst = float((sums[counts > 0] / counts[counts > 0]).max())
    likelihood = likelihood_of(case, column, past)[rows]
    now = float(gain(likelihood[:, a], likelihood[:, b]).mean()) if rows.any() else 0.0
    middle = 0.5 * float(gains[alone].mean() + gains.mean())
    return now, max(worst, middle), middle > worst
