"""Pictures of a table: a page, a part of a notebook, lines of a terminal. Pure: plain facts in, text out.

The facts (`pictures.facts_of` makes them of a report, `Profile.facts` of a profile alone) are a mapping, all JSON:

    ok, rows, seconds      what the data tests said; absent for a profile alone
    findings               [{check, column, severity, message, fix}], worst first
    sampled                rows that times, targets and associations were drawn from
    columns                [{name, kind, role, unit, missing, distinct, min, median, max, mean, then,
                             edges, now, then_shares, outside | top, others, time, target, findings}]
    associations           [{a, b, strength}], strongest first

Nothing here is trusted: names, values and messages are escaped.
"""

from __future__ import annotations

from .page import fragment, page

__all__ = ["fragment", "page"]
