from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch.errors import ConfigError, RequestRefused, UsageError
from middlewatch.requests import BodyType, decode_values, moment
from middlewatch.schema import Column, Schema

INPUTS = ("temp", "seats", "late", "carrier")
SCHEMA = Schema(
    name="delay",
    target="y",
    task="binary",
    time="departs",
    key="flight",
    columns=(
        Column(name="departs", kind="time", role="time"),
        Column(name="flight", kind="category", role="key"),
        Column(name="temp", kind="number", nulls=0.1, min=-10, max=50),
        Column(name="seats", kind="whole"),
        Column(name="late", kind="boolean"),
        Column(name="carrier", kind="category", nulls=0.1, categories=("UA", "AA")),
        Column(name="note", kind="text", role="ignored", private="drop"),
        Column(name="email", kind="category", role="ignored", private="hash"),
        Column(name="plain", kind="text", role="ignored"),
        Column(name="y", kind="boolean", role="target"),
    ),
)
OPEN = Schema(
    name="delay",
    target="y",
    task="binary",
    time="departs",
    key="flight",
    columns=(*SCHEMA.columns[:6], SCHEMA.columns[-1]),
)
GOOD = {"temp": 3.5, "seats": 120, "late": True, "carrier": "UA"}


def kind(schema: Schema = OPEN) -> BodyType:
    return BodyType(schema, INPUTS, zone=UTC, secret=b"a long secret")


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def refused(raw: bytes, schema: Schema = OPEN) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        kind(schema).read(raw)
    return caught.value


def test_what_is_accepted() -> None:
    read = kind().read
    assert read(body()).inputs == (3.5, 120, True, "UA")
    assert read(body(temp=3, seats=120.0, late=0, carrier="never seen")).inputs == (3.0, 120.0, 0, "never seen")
    assert read(body(temp=None, carrier=None)).inputs == (None, 120, True, None)
    assert read(body(temp=1e9)).inputs[0] == 1e9  # limits are watched, not enforced
    full = read(body(departs="2013-07-01T10:00:00+02:00", flight="UA1"))
    assert (full.time, full.key) == (1372665600000000, "UA1")
    assert read(body(departs=None, flight=None)).time is None
    raw = b' {"carrier" :"UA", "late":true,"seats":1,"temp":-0.0}\n'
    assert read(raw).raw == raw


@pytest.mark.parametrize(
    ("changes", "field", "came"),
    [
        ({"temp": "3.5"}, "temp", "a string that holds a number"),
        ({"temp": "warm"}, "temp", "a string"),
        ({"temp": True}, "temp", "true or false"),
        ({"temp": [1]}, "temp", "a list"),
        ({"temp": {"a": 1}}, "temp", "an object"),
        ({"seats": 1.5}, "seats", "a number with decimals"),
        ({"seats": 2**63}, "seats", "a number too large for 64 bits"),
        ({"seats": 1e19}, "seats", "a number of more than 64 bits"),
        ({"seats": None}, "seats", "null"),
        ({"late": 2}, "late", "a number"),
        ({"late": "true"}, "late", "a string"),
        ({"late": None}, "late", "null"),
        ({"carrier": 7}, "carrier", "a number"),
        ({"departs": "soon"}, "departs", "a string that is no such time"),
        ({"departs": 1372665600}, "departs", "a number"),
        ({"flight": 12}, "flight", "a number"),
    ],
)
def test_a_wrong_value_names_field_what_came_and_what_was_expected(changes: Any, field: str, came: str) -> None:
    error = refused(body(**changes))
    assert (error.field, error.came) == (field, came)
    assert error.expected
    assert error.fix
    assert error.status == 422


def test_missing_unknown_and_renamed_fields() -> None:
    short = {name: value for name, value in GOOD.items() if name != "temp"}
    error = refused(json.dumps(short).encode())
    assert (error.field, error.came) == ("temp", "nothing")
    error = refused(json.dumps({**short, "tmp": 1}).encode())
    assert error.field == "temp"
    assert '"tmp"' in error.what
    error = refused(body(seat=1))
    assert error.field == "seat"
    assert 'did you mean "seats"?' in error.what
    assert "what the model predicts" in refused(body(y=True)).what
    assert "no input of this version" in refused(body(plain="x"), SCHEMA).what
    named = 'the fields "temp", "seats", "late" and "carrier" are missing'
    assert refused(b"{}").what == named


def test_of_many_missing_fields_twelve_are_named() -> None:
    columns = tuple(Column(name=f"c{number}", kind="number") for number in range(20))
    wide = Schema(
        name="w", target="y", task="binary", columns=(*columns, Column(name="y", kind="boolean", role="target"))
    )
    with pytest.raises(RequestRefused) as caught:
        BodyType(wide, [one.name for one in columns], zone=UTC).read(b'{"c0":1}')
    error = caught.value
    assert error.what.startswith('the fields "c1", "c2",')
    assert error.what.endswith('"c12" and 7 more are missing')


def test_numbers_too_large_for_a_float() -> None:
    assert refused(b'{"temp":1e999,"seats":1,"late":true,"carrier":null}').came == "a number too large for 64 bits"
    assert refused(b'{"temp":' + b"9" * 400 + b',"seats":1,"late":true,"carrier":null}').field == "temp"


@pytest.mark.parametrize(
    "raw",
    [b"", b"  ", b"{", b"nonsense", b'{"temp":NaN}', b'{"temp":Infinity}', b"\xff\xfe", b"[" * 5000,
     b'{"temp":1,"seats":1,"late":true,"carrier":"\xff"}',
     b'{"temp":' + b"[" * 5000, b'{"temp":1,"seats":1,"late":true,"carrier":"\\ud800"}', b'{"temp":01}', b"{} {}"],
)  # fmt: skip
def test_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        kind().read(raw)
    assert caught.value.status == 400
    assert caught.value.fix


@pytest.mark.parametrize(
    ("raw", "came"), [(b"[]", "a list"), (b"3", "a number"), (b'"x"', "a string"), (b"null", "null")]
)
def test_a_body_that_is_no_object(raw: bytes, came: str) -> None:
    assert refused(raw).came == came


def test_an_error_never_holds_the_callers_data() -> None:
    secret = "4111-1111-1111-1111"
    for changes in ({"temp": secret}, {"seats": [secret]}, {"late": {secret: secret}}, {"departs": secret}):
        error = refused(body(**changes))
        assert secret not in json.dumps(error.to_dict())


def test_private_columns_are_dropped_or_hashed_before_anything_is_written() -> None:
    read = kind(SCHEMA).read
    first = read(body(note="call me", email="a@example.org"))
    again = read(body(email="a@example.org"))
    other = BodyType(SCHEMA, INPUTS, zone=UTC, secret=b"another secret").read(body(email="a@example.org"))
    kept = json.loads(bytes(first.raw))
    assert b"example" not in bytes(first.raw)
    assert b"call me" not in bytes(first.raw)
    assert "note" not in kept
    assert kept["email"].startswith("hmac-")
    assert {name: kept[name] for name in GOOD} == GOOD
    assert json.loads(bytes(again.raw))["email"] == kept["email"] != json.loads(bytes(other.raw))["email"]
    with pytest.raises(ConfigError, match="email"):
        BodyType(SCHEMA, INPUTS, zone=UTC)


def test_a_private_input_reaches_the_model_and_a_private_key_is_hashed() -> None:
    columns = (
        Column(name="income", kind="whole", private="hash"),
        Column(name="user", kind="category", role="key", private="hash"),
        Column(name="y", kind="number", role="target"),
    )
    schema = Schema(name="m", target="y", task="regression", key="user", columns=columns)
    one = BodyType(schema, ["income"], zone=UTC, secret=b"s").read(b'{"income": 70000.0, "user": "ann"}')
    two = BodyType(schema, ["income"], zone=UTC, secret=b"s").read(b'{"income": 70000, "user": "ann"}')
    assert one.inputs == (70000.0,)
    assert one.key is not None
    assert one.key.startswith("hmac-")
    assert bytes(one.raw) == bytes(two.raw)
    assert b"70000" not in bytes(one.raw)


def test_refused_bodies_are_kept_without_private_columns() -> None:
    kept = kind(SCHEMA).redacted(body(temp="x", note="call me", email="a@example.org", emial="b@example.org"))
    assert json.loads(kept) == {**GOOD, "temp": "x"}
    assert kind(SCHEMA).redacted(b'{"email": "a@exa') == b""
    assert kind(OPEN).redacted(b"{broken") == b"{broken"


def test_names_that_no_struct_can_have() -> None:
    columns = (
        Column(name='say "x"\\', kind="number", nulls=1.0),
        Column(name="a b-c$", kind="whole"),
        Column(name="y", kind="number", role="target"),
    )
    schema = Schema(name="m", target="y", task="regression", columns=columns)
    odd = BodyType(schema, [column.name for column in columns[:2]], zone=UTC)
    assert odd.read(json.dumps({'say "x"\\': 2, "a b-c$": 3}).encode()).inputs == (2.0, 3)
    with pytest.raises(RequestRefused, match="whole number"):
        odd.read(json.dumps({'say "x"\\': 2, "a b-c$": "3"}).encode())
    assert decode_values(odd.fields, [json.dumps({'say "x"\\': 2, "a b-c$": 3}).encode()]) == [[2.0], [3]]


def test_times_without_a_zone_are_in_the_projects() -> None:
    assert moment("2013-07-01T10:00:00", ZoneInfo("America/New_York")) == moment("2013-07-01T14:00:00Z", UTC)
    assert moment("2013-07-01", UTC) == moment("2013-07-01T00:00:00Z", UTC)
    for wrong in ("", "x", "2013-13-01", "25:00"):
        with pytest.raises(ValueError):
            moment(wrong, UTC)


def test_logged_values_survive_what_cannot_be_read() -> None:
    fields = kind().fields
    columns = decode_values(fields, [body(), b"{}", b"broken", body(temp="text", seats=7), body(departs="soon")])
    by_name = dict(zip((field.name for field in fields), columns, strict=True))
    assert by_name["temp"] == [3.5, None, None, None, 3.5]
    assert by_name["seats"] == [120, None, None, 7, 120]
    assert by_name["departs"][-1] == "soon"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from(["2013-07-01", "3"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {
        "temp": JSON,
        "seats": st.integers(-5, 5) | st.floats(-5, 5) | JSON,
        "late": st.booleans() | JSON,
        "carrier": st.text(max_size=3) | JSON,
    },
    optional={"departs": JSON, "flight": JSON, "other": JSON},
)


@settings(max_examples=400, deadline=None)
@given(BODIES)
def test_the_fast_reading_takes_only_what_the_slow_one_takes(value: Any) -> None:
    """Whatever the decoder made for the schema accepts, the reading in words accepts with the same values."""
    quick = kind()
    slow = kind()
    slow._fast = None
    raw = json.dumps(value).encode()

    def outcome(one: BodyType) -> Any:
        try:
            request = one.read(raw)
        except (RequestRefused, UsageError) as error:
            return type(error), error.to_dict()
        return [(type(item), item) for item in request.inputs], request.time, request.key

    assert outcome(quick) == outcome(slow)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(RequestRefused, UsageError):
        assert len(kind().read(raw).inputs) == len(INPUTS)
