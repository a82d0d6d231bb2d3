from __future__ import annotations

import json
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch.encoding import EncodedColumn, Encoding, code
from middlewatch.errors import ConfigError, StoreError, TableError
from middlewatch.schema import Column, Schema

SCHEMA = Schema(
    name="m",
    columns=(
        Column(name="temp", kind="number", missing=("-999", "NA")),
        Column(name="seats", kind="whole"),
        Column(name="wet", kind="boolean"),
        Column(name="carrier", kind="category"),
        Column(name="note", kind="text", role="ignored"),
    ),
)
NAN = float("nan")


def typed(rows: list[dict[str, Any]]) -> pl.DataFrame:
    dtypes = {"temp": pl.Float64, "seats": pl.Int64, "wet": pl.Boolean, "carrier": pl.String, "note": pl.String}
    return pl.DataFrame(rows, schema=dtypes, orient="row")


def bits(values: Any) -> list[bytes]:
    """Each float's bytes; all NaNs of encodings are to be the same one."""
    return [struct.pack("<d", value) for value in values]


CELLS = {
    "temp": st.none() | st.floats() | st.just(-999.0),
    "seats": st.none() | st.integers(-(2**63), 2**63 - 1),
    "wet": st.none() | st.booleans(),
    "carrier": st.none() | st.sampled_from(["UA", "ua", "AA", "", "b6", "ß"]),
    "note": st.just("x"),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=12)


PLAIN = Schema(name="m", columns=(Column(name="temp", kind="number"), *SCHEMA.columns[1:]))


@settings(max_examples=200)
@given(ROWS, ROWS, st.sampled_from([SCHEMA, PLAIN]))
def test_a_row_is_encoded_as_in_a_batch_bit_for_bit(
    training: list[dict[str, Any]], rows: list[dict[str, Any]], schema: Schema
) -> None:
    encoding = Encoding.of(schema, typed(training))
    encoding = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    matrix = encoding.encode(typed(rows))
    assert matrix.shape == (len(rows), 4)
    for line, row in zip(matrix, rows, strict=True):
        inputs = [row[name] for name in encoding.names]
        expected = encoding.encode_row(row)
        one_by_one = [code(column, row[column.name]) for column in encoding.columns]
        assert np.array_equal(line, expected, equal_nan=True)
        plain = [index for index, value in enumerate(expected) if value == value]
        assert bits(line[plain]) == bits([expected[index] for index in plain])
        assert bits(encoding.encode_row(inputs)) == bits(expected) == bits(one_by_one)


def test_what_is_missing_or_was_never_seen_is_nan() -> None:
    encoding = Encoding.of(SCHEMA, typed([{"temp": 1.0, "carrier": "UA"}, {"temp": 2.0, "carrier": "AA"}]))
    assert encoding.names == ("temp", "seats", "wet", "carrier")
    assert encoding.categorical == (3,)
    assert encoding.encode_row([3, 4.0, True, "UA"]) == [3.0, 4.0, 1.0, 1.0]
    for row in ([None] * 4, [-999, None, None, "ZZ"], [-999.0, None, None, ""]):
        assert np.isnan(encoding.encode_row(row)).all()


def test_codes_do_not_depend_on_the_order_of_rows() -> None:
    rows = [{"carrier": name} for name in ("UA", "AA", "B6", "UA")]
    assert Encoding.of(SCHEMA, typed(rows)) == Encoding.of(SCHEMA, typed(rows[::-1]))


def test_a_row_must_be_whole() -> None:
    encoding = Encoding([EncodedColumn("a", "number"), EncodedColumn("b", "number")])
    with pytest.raises(KeyError):
        encoding.encode_row({"a": 1.0})
    with pytest.raises(ValueError, match="shorter"):
        encoding.encode_row([1.0])


def test_what_cannot_be_encoded_is_said() -> None:
    moment = Schema(name="m", columns=(Column(name="t", kind="time"),))
    with pytest.raises(ConfigError, match='"t"'):
        Encoding.of(moment, pl.DataFrame({"t": []}))
    with pytest.raises(ConfigError, match="no features"):
        Encoding.of(Schema(name="m"), pl.DataFrame())
    with pytest.raises(TableError, match="temp"):
        Encoding.of(SCHEMA, pl.DataFrame({"seats": [1]}))
    with pytest.raises(StoreError, match="newer"):
        Encoding.from_dict({"format": 99, "columns": []})


def test_an_empty_frame_and_an_all_null_column_have_an_answer() -> None:
    encoding = Encoding.of(SCHEMA, typed([{"temp": None, "carrier": None}]))
    assert encoding.encode(typed([])).shape == (0, 4)
    assert np.isnan(encoding.encode(typed([{"carrier": "UA"}]))).all()


def test_encoding_a_request_imports_no_table_library() -> None:
    program = (
        "import sys; from middlewatch.encoding import Encoding;"
        "column = {'name': 'a', 'kind': 'number', 'values': [], 'missing': []};"
        "e = Encoding.from_dict({'format': 1, 'columns': [column]});"
        "assert e.encode_row({'a': 2}) == [2.0];"
        "sys.exit(any(name in sys.modules for name in ('polars', 'numpy', 'lightgbm')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
