"""Columns that look like personal data: said as a doubt, never decided in silence."""

from __future__ import annotations

from typing import Final

import polars as pl

SHARE: Final = 0.8
"""Share of a column's texts that look alike from which on it is asked about."""
MOST: Final = 2_000

_FORMS: Final = (
    ("mail addresses", r"^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$"),
    ("IBANs", r"^[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?$"),
    ("phone numbers", r"^\+[0-9][0-9 ()/.-]{6,18}$|^\(?0[0-9]{1,5}\)?[ /-][0-9 /-]{4,15}$"),
    ("internet addresses", r"^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$"),
)


def looks_like(texts: pl.Series) -> str:
    """What most of a column's texts are, in words; "" where they are nothing personal."""
    known = texts.drop_nulls().cast(pl.String).head(MOST)
    if not known.len():
        return ""
    for words, form in _FORMS:
        if known.str.contains(form).mean() >= SHARE:  # type: ignore[operator]
            return words
    return ""
