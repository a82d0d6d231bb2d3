from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import ids, predictions, spool
from middlewatch.errors import OutOfReach, UsageError
from middlewatch.following import newest
from middlewatch.records import Record, Refusal, frame_of
from middlewatch.retention import expire_log
from middlewatch.store import Store

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
COLUMNS = (
    ("temp", "number", ""),
    ("seats", "whole", ""),
    ("late", "boolean", ""),
    ("carrier", "category", ""),
    ("departs", "time", ""),
    ("email", "number", "hash"),
    ("note", "text", "drop"),
)


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def head(version: str = "v7", stream: str = "log", columns: Any = COLUMNS) -> spool.Head:
    return spool.Head(model="delay", version=version, server="s", zone="UTC", columns=columns, stream=stream)


def record(number: int, *, received: datetime = NOW, time: datetime | None = None, **values: Any) -> Record:
    at = received + timedelta(seconds=number)
    return Record(
        id=ids.new_id(micros(at), "abcde", number),
        time=micros(time or at),
        received=micros(at),
        caller="billing/4.2",
        key=f"K{number}",
        score=number / 7,
        label=None,
        scores=None,
        latency_us=12.5,
        raw=json.dumps(
            {"temp": number / 3, "seats": number, "late": bool(number % 2), "carrier": "UA", **values}
        ).encode(),
    )


def fill(
    folder: Path, records: list[Record], *, server: str = "host-aaaaa", close: bool = True, **kinds: Any
) -> spool.Spool:
    log = spool.Spool(folder, server=server, **kinds)
    top = head()
    for one in records:
        log.append(top, frame_of(one), received=one.received)
    if close:
        log.close()
    return log


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), base=tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


# ------------------------------------------------------------------ ids


@given(st.integers(0, 2**55 - 1), st.integers(0, 2**55 - 1), st.integers(0, 2**21))
def test_ids_sort_by_received_time_and_find_it(one: int, two: int, counter: int) -> None:
    first, second = ids.new_id(one, "zzzzz", counter), ids.new_id(two, "00000", counter)
    assert len(first) == 20
    if one != two:
        assert (first < second) == (one < two)
    assert micros(ids.received_of(ids.new_id(min(one, 2**52), "abcde", counter))) == min(one, 2**52)


def test_ids_of_a_batch_are_all_different() -> None:
    assert len({ids.new_id(micros(NOW), "abcde", at) for at in range(5000)}) == 5000
    assert ids.received_of(ids.new_id(micros(NOW), "abcde", 1)) == NOW
    assert len(ids.new_token()) == 5
    for wrong in ("", "abc", "U" * 20, "é" * 20):
        with pytest.raises(UsageError):
            ids.received_of(wrong)


# ------------------------------------------------------------------ segments


def test_records_can_be_read_while_the_segment_is_written(folder: Path, store: Store) -> None:
    log = fill(folder, [record(1), record(2)], close=False)
    assert [one.open for one in spool.segments(folder)] == [True]
    assert predictions.read(store, folder, "delay")["mw.score"].to_list() == [1 / 7, 2 / 7]
    log.close()
    assert predictions.read(store, folder, "delay").height == 2


def test_a_segment_is_closed_by_size_age_day_and_release(folder: Path) -> None:
    def closed() -> int:
        return sum(not one.open for one in spool.segments(folder))

    log = spool.Spool(folder, server="host-aaaaa", max_bytes=4000, max_age=900)
    top = head()

    def append(at: datetime, head: spool.Head) -> None:
        log.append(head, frame_of(record(0, received=at)), received=micros(at))

    for turn in range(40):
        append(NOW + timedelta(seconds=turn), top)
    by_size = closed()
    assert by_size > 0
    append(NOW + timedelta(seconds=2000), top)
    assert closed() == by_size + 1
    append(NOW + timedelta(days=1), top)
    assert closed() == by_size + 2
    append(NOW + timedelta(days=1), head("v8"))
    assert closed() == by_size + 3
    log.tick(micros(NOW + timedelta(days=1, seconds=899)))
    assert closed() == by_size + 3
    log.tick(micros(NOW + timedelta(days=1, seconds=901)))
    assert closed() == by_size + 4
    assert not any(one.open for one in spool.segments(folder))
    assert (log.records, log.bytes) == (43, spool.total_bytes(spool.segments(folder)))


@given(cut=st.integers(0, 2000), flip=st.one_of(st.none(), st.integers(0, 2000)))
@settings(max_examples=200, deadline=None)
def test_a_cut_or_damaged_segment_gives_every_whole_record_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    payloads = [bytes([65 + number]) * (20 + number * 7) for number in range(10)]
    log = spool.Spool(folder, server="h-a")
    top = head(columns=())
    for one in payloads:
        log.append(top, spool.framed(one), received=micros(NOW))
    log.close()
    (name,) = spool.segments(folder)
    data = bytearray(name.path.read_bytes())
    size = len(data)
    start = size - sum(len(one) + 8 for one in payloads)
    del data[max(start, size - cut) :]
    hit = None
    if flip is not None and len(data) > start:
        hit = start + flip % (len(data) - start)
        data[hit] ^= 0x55
    name.path.write_bytes(bytes(data))
    segment = spool.read_segment(name)
    assert segment is not None
    ends = [start]
    for one in payloads:
        ends.append(ends[-1] + len(one) + 8)
    whole = [
        one
        for one, first, last in zip(payloads, ends, ends[1:], strict=False)
        if last <= len(data) and not (hit is not None and first <= hit < last)
    ]
    # A damaged length hides what follows; a damaged content hides only itself.
    assert [one for one in segment.payloads if one not in whole] == []
    if hit is None:
        assert segment.payloads == whole
        assert segment.torn == len(data) - max(end for end in ends if end <= len(data))
    else:
        assert segment.torn or segment.damaged or segment.payloads == whole


def test_zeros_after_a_power_failure_are_a_torn_tail(folder: Path) -> None:
    fill(folder, [record(1)])
    (name,) = spool.segments(folder)
    with name.path.open("ab") as file:
        file.write(bytes(4096))
    segment = spool.read_segment(name)
    assert segment is not None
    assert (len(segment.payloads), segment.torn, segment.damaged) == (1, 4096, 0)


def test_a_full_disk_is_an_error_and_leaves_no_half_record(tmp_path: Path) -> None:
    """The limit on file sizes stands for the disk: the last write comes out short, as on a full disk."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_predictions import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
log = spool.Spool(Path({str(tmp_path)!r}), server="h-a")
top = head()
good = failed = 0
for number in range(100):
    try:
        log.append(top, frame_of(record(number)), received=micros(NOW))
        good += 1
    except OutOfReach as error:
        assert "free disk space" in error.fix
        failed += 1
        if failed == 1:
            at = number
print(good, at)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    good, at = map(int, done.stdout.split())
    assert 0 < good < 100
    assert good == at
    (name,) = spool.segments(tmp_path)
    segment = spool.read_segment(name)
    assert segment is not None
    assert (len(segment.payloads), segment.torn) == (good, 0)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(OutOfReach, match="cannot be written"):
        fill(tmp_path / "spool", [record(1)])


def test_a_removed_folder_is_begun_anew(folder: Path, store: Store) -> None:
    log = fill(folder, [record(1)], close=False)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    log.tick(micros(NOW))
    log.append(head(), frame_of(record(2)), received=micros(NOW))
    assert predictions.read(store, folder, "delay")["mw.key"].to_list() == ["K2"]


# ------------------------------------------------------------------ conversion


def test_segments_become_parquet_with_typed_columns_once(folder: Path, store: Store) -> None:
    fill(
        folder,
        [
            record(1, departs="2013-07-01T10:00:00+02:00", email="hmac-12", seats=2.0),
            record(2, temp=None, late=1, time=None),
            record(3, time=NOW - timedelta(days=400)),
        ],
    )
    before = predictions.read(store, folder, "delay")
    done = predictions.convert(store, folder, "delay")
    assert (done.files, done.rows, done.torn, done.damaged, done.problems) == (1, 3, 0, 0, ())
    assert spool.segments(folder) == []
    after = predictions.read(store, folder, "delay")
    assert after.equals(before)
    assert after.sort("mw.received")["temp"].to_list() == [1 / 3, None, 1.0]
    assert after.schema["seats"] == pl.Int64
    assert after.schema["late"] == pl.Boolean
    assert after.schema["carrier"] == pl.String
    assert after.schema["email"] == pl.String
    assert "note" not in after.columns
    assert after.schema["departs"] == pl.Datetime("us", "UTC")
    assert after.sort("mw.received")["departs"][0] == datetime(2013, 7, 1, 8, tzinfo=UTC)
    assert after.columns[-12:] == list(predictions.META)
    (file,) = predictions.files(store, "delay")
    assert (file.version, file.ident, file.day) == ("v7", "host-aaaaa-000001", NOW.date())
    assert (file.first, file.last) == (
        (NOW - timedelta(days=400)).replace(minute=0),
        NOW.replace(minute=0) + timedelta(hours=1),
    )
    assert predictions.convert(store, folder, "delay") == predictions.Converted()


def test_killed_between_writing_the_file_and_removing_the_segment(folder: Path, store: Store) -> None:
    fill(folder, [record(1), record(2)])
    (name,) = spool.segments(folder)
    data = name.path.read_bytes()
    predictions.convert(store, folder, "delay")
    name.path.write_bytes(data)
    assert predictions.read(store, folder, "delay")["mw.key"].to_list() == ["K1", "K2"]
    predictions.convert(store, folder, "delay")
    assert len(predictions.files(store, "delay")) == 1
    assert predictions.read(store, folder, "delay").height == 2


def test_a_dead_writers_segment_is_taken_a_living_ones_is_not(folder: Path, store: Store) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_predictions import *
log = fill(Path({str(folder)!r}), [record(1), record(2)], server="host-bbbbb", close=False)
print("ready", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert not predictions.waiting(folder)
    assert predictions.convert(store, folder, "delay").files == 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (name,) = spool.segments(folder)
    with name.path.open("ab") as file:
        file.write(b"\x00\x01torn")
    assert predictions.waiting(folder)
    done = predictions.convert(store, folder, "delay")
    assert (done.rows, done.torn) == (2, 6)
    assert "nobody was told" in done.problems[0]
    assert predictions.read(store, folder, "delay").height == 2


def test_damaged_segments_are_kept_aside(folder: Path, store: Store) -> None:
    fill(folder, [record(1), record(2), record(3)])
    (name,) = spool.segments(folder)
    data = bytearray(name.path.read_bytes())
    at = data.index(b"K2")
    data[at] ^= 1
    name.path.write_bytes(bytes(data))
    payload = b"\x93\x01\x02\x03"
    (folder / "log@host-zzzzz@000001.done").write_bytes(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    done = predictions.convert(store, folder, "delay")
    assert (done.rows, done.damaged, len(done.problems)) == (2, 1, 2)
    assert sorted(path.suffix for path in folder.iterdir()) == [".bad", ".bad"]
    assert predictions.read(store, folder, "delay")["mw.key"].to_list() == ["K1", "K3"]


def test_a_segment_of_a_newer_middlewatch_is_left_alone(folder: Path, store: Store) -> None:
    payload = spool._ENCODER.encode({"format": spool.FORMAT + 1})
    folder.mkdir()
    path = folder / "log@host-zzzzz@000001.done"
    path.write_bytes(spool.framed(payload))
    done = predictions.convert(store, folder, "delay")
    assert "newer Middlewatch" in done.problems[0]
    assert path.exists()


# ------------------------------------------------------------------ the reader


def test_reading_by_event_and_received_time(folder: Path, store: Store) -> None:
    """Rows whose event time is far from their received time, in files and in a live segment."""
    event = datetime(2013, 7, 1, tzinfo=UTC)
    days = [record(n, received=NOW + timedelta(days=n % 3), time=event + timedelta(hours=n)) for n in range(60)]
    for day in range(3):
        fill(folder, days[day::3], server=f"host-{day}")
        if day < 2:
            predictions.convert(store, folder, "delay")
    assert len(predictions.files(store, "delay")) == 2

    def keys(**kinds: Any) -> list[int]:
        return sorted(int(one[1:]) for one in predictions.read(store, folder, "delay", **kinds)["mw.key"])

    since, until = event + timedelta(hours=10), event + timedelta(hours=20)
    assert keys(since=since, until=until) == list(range(10, 20))
    assert keys(since=since) == list(range(10, 60))
    assert keys(until=until, where="temp >= 4") == list(range(12, 20))
    start = NOW + timedelta(days=1)
    assert keys(by="received", since=start, until=start + timedelta(hours=1)) == list(range(1, 60, 3))
    assert keys(by="received", since=NOW - timedelta(days=9), until=NOW) == []
    assert len(predictions.files(store, "delay", since=start, until=start + timedelta(hours=1), by="received")) == 1
    assert predictions.files(store, "delay", since=event + timedelta(days=30)) == []
    got = predictions.read(store, folder, "delay", columns=["temp", "mw.score", "no such"])
    assert got.columns == ["temp", "mw.score"]
    assert got.height == 60


def test_versions_with_other_columns_are_read_together(folder: Path, store: Store) -> None:
    for version, columns, values in (
        ("v1", (("temp", "number", ""), ("code", "whole", "")), {"temp": 1.5, "code": 7}),
        (
            "v2",
            (("temp", "number", ""), ("code", "category", ""), ("wind", "number", "")),
            {"temp": 2.5, "code": "07", "wind": 3},
        ),
    ):
        log = spool.Spool(folder, server=f"host-{version}")
        one = record(int(version[1:]))
        one.raw = json.dumps(values).encode()
        log.append(head(version, columns=columns), frame_of(one), received=one.received)
        log.close()
    live = predictions.read(store, folder, "delay")
    predictions.convert(store, folder, "delay")
    frame = predictions.read(store, folder, "delay")
    assert frame.equals(live)
    assert frame["code"].to_list() == ["7", "07"]
    assert frame["wind"].to_list() == [None, 3.0]
    assert frame["mw.version"].to_list() == ["v1", "v2"]


def test_nothing_logged_and_faulty_filters(folder: Path, store: Store) -> None:
    empty = predictions.read(store, folder, "delay")
    assert empty.columns == list(predictions.META)
    assert predictions.read_refused(store, folder, "delay").columns == list(predictions.REFUSED)
    assert predictions.read(store, None, "delay").height == 0
    fill(folder, [record(1)])
    for where in ("tempp > 1", "temp >", "temp > 'a'", ""):
        if not where:
            assert predictions.read(store, folder, "delay", where=where).height == 1
            continue
        with pytest.raises(UsageError, match="filter"):
            predictions.read(store, folder, "delay", where=where)


def test_refused_requests_are_a_stream_of_their_own(folder: Path, store: Store) -> None:
    log = spool.Spool(folder, server="host-aaaaa", stream="refused")
    top = head(stream="refused")
    for number in range(3):
        one = Refusal(
            id=ids.new_id(micros(NOW) + number, "abcde", number), time=None, received=micros(NOW) + number,
            caller="x", field="temp", came="a string", expected="a number", error="no", raw=b'{"temp":"x"}',
        )  # fmt: skip
        log.append(top, frame_of(one), received=one.received)
    live = predictions.read_refused(store, folder, "delay")
    log.close()
    assert predictions.convert(store, folder, "delay").files == 1
    frame = predictions.read_refused(store, folder, "delay")
    assert frame.equals(live)
    assert frame["field"].to_list() == ["temp"] * 3
    assert frame["mw.version"].to_list() == ["v7"] * 3
    assert frame["mw.time"].null_count() == 3
    assert predictions.read(store, folder, "delay").height == 0


def test_a_bucket_reads_as_a_folder(folder: Path, tmp_path: Path) -> None:
    bucket = Store.open("memory://", base=tmp_path)
    fill(folder, [record(1), record(2)])
    live = predictions.read(bucket, folder, "delay")
    predictions.convert(bucket, folder, "delay")
    assert predictions.read(bucket, None, "delay").equals(live)


def test_multiclass_answers_keep_label_and_probabilities(folder: Path, store: Store) -> None:
    one = record(1)
    one.label, one.scores = "b", [0.1, 0.7, 0.2]
    fill(folder, [one])
    live = predictions.read(store, folder, "delay")
    predictions.convert(store, folder, "delay")
    frame = predictions.read(store, folder, "delay")
    assert frame.equals(live)
    assert (frame["mw.label"][0], frame["mw.scores"].to_list()[0]) == ("b", [0.1, 0.7, 0.2])


# ------------------------------------------------------------------ batches


def test_a_batch_is_logged_with_its_event_times(store: Store) -> None:
    event = datetime(2013, 7, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "temp": [1.0, None, 3.0],
            "mw.time": [event, None, event + timedelta(hours=5)],
            "mw.score": [0.1, 0.2, 0.3],
            "mw.version": ["v1", "v1", "v2"],
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )
    assert predictions.write_batch(store, "delay", frame, now=NOW) == 3
    got = predictions.read(store, None, "delay")
    assert got["mw.score"].to_list() == [0.1, 0.3, 0.2]
    assert got["mw.time"].to_list() == [event, event + timedelta(hours=5), NOW]
    assert set(got["mw.received"]) == {NOW}
    assert set(got["mw.caller"]) == {"batch"}
    assert got["mw.id"].n_unique() == 3
    assert ids.received_of(got["mw.id"][0]) == NOW
    assert {one.version for one in predictions.files(store, "delay")} == {"v1", "v2"}
    assert predictions.write_batch(store, "delay", frame, now=NOW) == 3
    assert predictions.read(store, None, "delay").height == 6
    assert predictions.write_batch(store, "delay", frame.clear(), now=NOW) == 0
    with pytest.raises(UsageError, match=r"mw\.score"):
        predictions.write_batch(store, "delay", frame.drop("mw.score"), now=NOW)


def test_the_newest_event_is_found_in_the_last_file_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newest(store, None, "m") is None
    for back in range(5):
        times = [NOW - timedelta(days=back, minutes=at) for at in range(90)]
        frame = pl.DataFrame({"mw.time": times, "mw.score": [0.5] * 90, "mw.version": ["v1"] * 90})
        predictions.write_batch(store, "m", frame, now=NOW - timedelta(days=3 - back), token=f"0000{back}")
    opened, file_rows = list[str](), predictions.file_rows

    def noted(store: Store, file: predictions.LogFile) -> pl.LazyFrame:
        opened.append(file.ident)
        return file_rows(store, file)

    monkeypatch.setattr(predictions, "file_rows", noted)
    assert newest(store, None, "m") == (NOW, "batch-00000")
    assert opened == ["batch-00000-000001"]


def test_extreme_event_times(folder: Path, store: Store) -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), NOW]
    fill(folder, [record(number, time=time) for number, time in enumerate(times)])
    predictions.convert(store, folder, "delay")
    assert predictions.read(store, folder, "delay").height == 3
    got = predictions.read(store, folder, "delay", since=datetime(9999, 1, 1, tzinfo=UTC))
    assert got["mw.key"].to_list() == ["K1"]


def test_expired_days_go_whole_and_only_they(tmp_path: Path) -> None:
    store = Store.open("store", base=tmp_path)
    row = pl.DataFrame({"x": [1.0], "mw.score": [0.5], "mw.version": ["v1"]})
    for day in (1, 2, 3):
        predictions.write_batch(store, "m", row, now=datetime(2026, 1, day, tzinfo=UTC))
    assert expire_log(store, "m", date(2026, 1, 3)) == 2
    left = predictions.read(store, None, "m", since=None, until=None)
    assert left["mw.received"].dt.day().to_list() == [3]
    assert expire_log(store, "m", date(2026, 1, 3)) == 0


def test_a_spool_in_trouble_says_so_until_it_is_mended(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.write_text("a file where the folder should be")
    log = spool.Spool(place, server="s-1")
    assert log.trouble() == "", "not tried yet"
    with pytest.raises(OutOfReach):
        log.append(head(), frame_of(record(1)), received=micros(NOW))
    assert log.trouble()
    place.unlink()
    assert log.trouble() == ""
    log.close()
