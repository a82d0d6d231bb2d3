"""The shape that log, windows and history share: nothing private is in it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from middlewatch.observations import observe
from middlewatch.schema import Column, Private, Schema


@pytest.mark.parametrize("how", [None, "drop", "hash"])
def test_what_is_private_is_not_logged(how: Private | None) -> None:
    columns = (
        Column(name="mail", kind="text", role="key", private=how),
        Column(name="age", kind="whole", private=how),
        Column(name="temp", kind="number"),
    )
    schema = Schema(name="m", key="mail", columns=columns)
    rows = pl.DataFrame({"mail": ["a@b.example"], "age": [44], "temp": [20.0]})
    now = datetime(2026, 11, 22, tzinfo=UTC)
    seen = observe(rows, schema, np.array([0.5]), version="v1", caller="batch", received=now)
    assert seen["temp"].to_list() == [20.0]
    assert seen["mw.key"].to_list() == (["a@b.example"] if how is None else [None])
    assert ("age" in seen.columns) == (how is None)
