"""What the monitor keeps of every day: profiles for ever, hours and a sample for a while, judgements.

Objects of one model, all written once, under `<model>/windows/<YYYY-MM-DD>/` (local days in the zone):

    r0001.json             summary, plain JSON; written last, so a revision without one does not exist
    r0001.day              the day's Profile: what judging reads
    r0001.hours            hourly Profiles and a sample of at most 2,000 rows: what `why` reads; what blocks of rows
                           reached in each hour: what the fast channel reads; kept 120 days
    scores-v0007-0001.bin  the day's predictions under another version (out-of-fold, or replayed sample)
    judged-0001.json       what the monitor said, of each hour where those are judged; the last one counts
    quality-0001.json      what its outcomes say so far; the last one counts

Late rows make a new revision; the newest counts. Reading summaries and judgements imports neither polars nor
numpy, so that `status` stays quick.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .beside import beside, by_column, repeats_of
from .errors import NotFound, StoreError
from .times import iso

if TYPE_CHECKING:
    import polars as pl

    from .blocks import Lens
    from .profiles import Profile, ProfileSpec
    from .store import Store

    Lenses = Callable[[str | None], Lens | None]

Source = Literal["log", "training"]
SCORE = "mw.score"
DECILES = tuple(q / 10 for q in range(1, 10))
KEEP_HOURS_DAYS = 120
SAMPLE_ROWS = 2000
_REVISION = re.compile(r"r(\d{4,})\.json")
_ANY_REVISION = re.compile(r"r(\d{4,})\.(?:json|day|hours)")
_JUDGED = re.compile(r"judged-(\d{4,})\.json")
_SCORES = re.compile(r"scores-v(\d+)-(\d{4,})\.bin")
_QUALITY = re.compile(r"quality-(\d{4,})\.json")
# The plain facts of a day, by how their names begin.
_FACTS = {"r": _REVISION, "judged-": _JUDGED, "quality-": _QUALITY}


@dataclass(frozen=True, slots=True)
class WindowDay:
    """One stored day. `profile` is the merge of its hours; all but the summary is read when asked for."""

    day: date
    revision: int
    summary: Mapping[str, Any]
    _windows: Windows = field(repr=False)

    @property
    def source(self) -> Source:
        return "training" if self.summary["source"] == "training" else "log"

    @property
    def rows(self) -> int:
        return int(self.summary["rows"])

    @property
    def versions(self) -> dict[str, int]:
        """Rows answered by each model version; empty for training windows."""
        return dict(self.summary["versions"])

    @property
    def profile(self) -> Profile:
        """The whole day in one Profile, decoded anew at each call."""
        from .profiles import Profile

        return Profile.from_bytes(_unpacked(self._windows._whole(self.day, self.revision))[0])

    @property
    def beside(self) -> dict[str, dict[str, Any]]:
        """By column what no merged profile can tell (see `by_column`). Empty in a store of the first layout."""
        return _unpacked(self._windows._whole(self.day, self.revision))[1]

    @property
    def hours(self) -> Mapping[int, Profile]:
        """Profiles of the local clock hours (0 to 23) that have rows, decoded when asked for. Empty once past
        retention.
        """
        kept = self._windows._hours(self.day, self.revision)
        return _Hours({int(hour): data for hour, data in kept.get("hours", {}).items()})

    @property
    def sample(self) -> pl.DataFrame:
        """At most 2,000 rows of the day as observations (typed inputs and `mw.*`). Empty once past
        retention.
        """
        import polars as pl

        data = self._windows._hours(self.day, self.revision).get("sample")
        return pl.read_ipc(io.BytesIO(data)) if data else pl.DataFrame()


class _Hours(Mapping[int, "Profile"]):
    """Packed Profiles by clock hour, in order."""

    def __init__(self, packed: Mapping[int, bytes]) -> None:
        self._packed = dict(sorted(packed.items()))

    def __getitem__(self, hour: int) -> Profile:
        from .profiles import Profile

        return Profile.from_bytes(self._packed[hour])

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@dataclass(frozen=True, slots=True)
class Scores:
    """A day's predictions under one version: a Profile with `mw.score` (and `mw.label` for classes).

    `basis` is "out_of_fold" (training rows scored by models that had not seen them) or "replayed" (the kept
    sample scored again).
    """

    version: str
    basis: str
    profile: Profile


class Windows:
    """The windows of one model in a store."""

    def __init__(self, store: Store, model: str) -> None:
        self.store = store
        self.model = model
        self.prefix = f"{model}/windows/"

    # ------------------------------------------------------------------ writing

    def put(
        self,
        day: date,
        *,
        hours: Mapping[int, Profile],
        source: Source,
        now: datetime,
        sample: pl.DataFrame | None = None,
        blocks: Mapping[int, list[dict[str, Any]]] | None = None,
        repeats: Mapping[str, float] | None = None,
        versions: Mapping[str, int] | None = None,
        facts: Mapping[str, Any] | None = None,
        durable: bool = True,
        growing: bool = False,
    ) -> int:
        """Write the day's windows as a new revision and return its number.

        `hours` maps local clock hours to Profiles of the inputs and `mw.score`, `blocks` to what blocks of their rows
        reached (`blocks.extremes`), `repeats` says how many of them are alike (`beside.repeats_of`); `facts` are
        further plain JSON facts for the summary (refused requests, when rows were received). Training windows never
        hide logged ones: for a day that has logged rows nothing is written and the standing revision is returned. Of a
        `growing` day, made anew with each hour, all but the newest two revisions go.
        """
        from .profiles import merge

        names = self._names(day)
        standing = _last(names, _REVISION)
        if standing and source == "training" and self._summary(day, standing)["source"] == "log":
            return standing
        hours = dict(sorted(hours.items()))
        whole = merge(hours.values())
        packed = msgspec.msgpack.encode(
            {"profile": whole.to_bytes(small=True), "beside": beside(hours.values(), sample, repeats)}
        )
        self.store.mark()  # a day's Profile is packed as no older layout has it
        revision = standing + 1
        folder = self._folder(day)
        while not self.store.put_new(f"{folder}r{revision:04d}.day", packed, durable=durable):
            revision += 1  # somebody else's, finished or torn: never written over
        body: dict[str, Any] = {"hours": {str(hour): one.to_bytes() for hour, one in hours.items()}}
        if sample is not None and sample.height:
            buffer = io.BytesIO()
            sample.write_ipc(buffer, compression="zstd")
            body["sample"] = buffer.getvalue()
        if blocks:
            body["blocks"] = {str(hour): list(held) for hour, held in blocks.items()}
        self.store.put_new(f"{folder}r{revision:04d}.hours", msgspec.msgpack.encode(body), durable=durable)
        summary = {
            "schema": 1,
            "day": day.isoformat(),
            "revision": revision,
            "source": source,
            "written": iso(now),
            **describe(whole),
            "hours": {str(hour): one.rows for hour, one in sorted(hours.items())},
            "versions": dict(versions or {}),
            **dict(facts or {}),
        }
        self.store.put_new(f"{folder}r{revision:04d}.json", msgspec.json.encode(summary), durable=durable)
        if growing:
            self._forget_revisions(day, before=revision - 1)
        return revision

    def _forget_revisions(self, day: date, *, before: int) -> None:
        for name in self._names(day):
            match = _ANY_REVISION.fullmatch(name)
            if match and int(match[1]) < before:
                self.store.delete(f"{self._folder(day)}{name}")

    def put_scores(self, day: date, version: str, profile: Profile, *, basis: str, durable: bool = True) -> None:
        """Keep the day's predictions under `version`. Written again, the newest counts."""
        number = 1 + _last(self._names(day), re.compile(rf"scores-v0*{int(version[1:])}-(\d+)\.bin"))
        data = msgspec.msgpack.encode({"version": version, "basis": basis, "profile": profile.to_bytes()})
        while not self.store.put_new(
            f"{self._folder(day)}scores-{_padded(version)}-{number:04d}.bin", data, durable=durable
        ):
            number += 1

    def put_judgement(
        self, day: date, facts: Mapping[str, Any], *, hours: Mapping[int, Mapping[str, Any]] | None = None
    ) -> int:
        """Append what the monitor said about the window that starts on `day`; returns its number.

        Of windows of an hour `hours` are those judged now; the ones before stay, and the whole day says what its
        loudest hour does. They come every hour: but the newest and the one before it, they go.
        """
        standing = sorted(int(match[1]) for name in self._names(day) if (match := _JUDGED.fullmatch(name)))
        number = 1 + max(standing, default=0)
        if hours is not None:
            known = (self._judgement(day, number - 1) or {}).get("hours", {})
            kept = {**known, **{str(hour): dict(one) for hour, one in hours.items()}}
            loudest = max(kept.values(), key=lambda one: (bool(one["alarm"]), str(one["end"])))
            facts = {**loudest, **facts, "hours": dict(sorted(kept.items(), key=lambda item: int(item[0])))}
        data = msgspec.json.encode({"schema": 1, **facts})
        while not self.store.put_new(f"{self._folder(day)}judged-{number:04d}.json", data):
            number += 1
        for old in standing[:-1] if hours is not None else ():
            self.store.delete(f"{self._folder(day)}judged-{old:04d}.json")
        return number

    def put_quality(self, day: date, facts: Mapping[str, Any], *, durable: bool = True) -> int:
        """Keep what the outcomes of a day say so far, as a new revision; returns its number.

        Outcomes that trickle in make many: but the newest and the one before it, for who has just listed, they go.
        """
        standing = sorted(int(match[1]) for name in self._names(day) if (match := _QUALITY.fullmatch(name)))
        number = 1 + max(standing, default=0)
        data = msgspec.json.encode({"schema": 1, **facts})
        while not self.store.put_new(f"{self._folder(day)}quality-{number:04d}.json", data, durable=durable):
            number += 1
        for old in standing[:-1]:
            self.store.delete(f"{self._folder(day)}quality-{old:04d}.json")
        return number

    def expire(self, before: date) -> int:
        """Drop hours and samples of days before `before` (days, summaries and judgements stay). Returns
        how many.
        """
        old = [
            key for key in self.store.list(self.prefix) if key.endswith(".hours") and _day_of(key, self.prefix) < before
        ]
        for key in old:
            self.store.delete(key)
            self._forget_hours(_day_of(key, self.prefix))
        return len(old)

    def _forget_hours(self, day: date) -> None:
        """Of a day past keeping only the loudest hour's judgement stays."""
        number = _last(self._names(day), _JUDGED)
        judged = self._judgement(day, number)
        if judged is not None and "hours" in judged:
            self.put_judgement(day, {name: one for name, one in judged.items() if name != "hours"})
            self.store.delete(f"{self._folder(day)}judged-{number:04d}.json")

    # ------------------------------------------------------------------ reading

    def days(self) -> list[date]:
        """Every day that has a window, in order."""
        return sorted(self._index())

    def since(self, count: int) -> date | None:
        """The first of the newest `count` days that have a window: what to read on from, however old the store is."""
        names = self.store.folders(self.prefix)[-count:]
        return date.fromisoformat(names[0]) if names else None

    def day(self, day: date) -> WindowDay:
        """The newest revision of a day. Raises NotFound."""
        revision = _last(self._names(day), _REVISION)
        if not revision:
            raise NotFound(f"there is no window for {day.isoformat()}", where=self._folder(day))
        return WindowDay(day, revision, self._summary(day, revision), self)

    def read(self, days: Iterable[date] | None = None) -> list[WindowDay]:
        """The newest revisions of `days` (all where None) that exist, in order, with one listing."""
        asked = None if days is None else set(days)
        index = self._index(asked)
        wanted = sorted(index if asked is None else asked & set(index))
        keys = [f"{self._folder(day)}r{index[day]:04d}.json" for day in wanted]
        found = zip(wanted, keys, self.store.get_many(keys), strict=True)
        return [WindowDay(day, index[day], _decoded(key, data), self) for day, key, data in found]

    def blocks(self, days: Iterable[date]) -> dict[date, dict[int, list[dict[str, Any]]]]:
        """What blocks of rows reached on `days`, by hour: empty for those past retention or stored without."""
        asked = set(days)
        index = self._index(asked)
        found = {}
        for day in sorted(asked & set(index)):
            kept = self._hours(day, index[day]).get("blocks", {})
            found[day] = {int(hour): held for hour, held in kept.items()}
        return found

    def summaries(self, *, since: date | None = None, until: date | None = None) -> list[dict[str, Any]]:
        """Plain summaries of the days in [since, until], oldest first, each with its last judgement as
        `judged` and what its outcomes say as `quality` (None where there is none yet). JSON only.
        """
        wanted: list[tuple[int, str, str]] = []
        for at, (day, names) in enumerate(sorted(self._listing(since, until).items())):
            numbers = {of: _last(names, pattern) for of, pattern in _FACTS.items()}
            if numbers["r"]:
                folder = self._folder(day)
                wanted += [(at, of, f"{folder}{of}{number:04d}.json") for of, number in numbers.items() if number]
        # Together: from a bucket one by one would take the time of as many answers.
        found: dict[int, dict[str, Any]] = {}
        for (at, of, key), data in zip(wanted, self.store.get_many([key for *_, key in wanted]), strict=True):
            found.setdefault(at, {})[of] = _decoded(key, data)
        return [
            {**held["r"], "judged": held.get("judged-"), "quality": held.get("quality-")}
            for _, held in sorted(found.items())
        ]

    def judgement(self, day: date) -> dict[str, Any] | None:
        """The last judgement of the window that starts on `day`, or None."""
        return self._judgement(day, _last(self._names(day), _JUDGED))

    def judgements(self, *, since: date | None = None, until: date | None = None) -> dict[date, dict[str, Any]]:
        """Last judgements by the window's start, oldest first: its first day, or its clock hour as a datetime."""
        found: dict[date, dict[str, Any]] = {}
        newest = {day: _last(names, _JUDGED) for day, names in sorted(self._listing(since, until).items())}
        keys = {day: f"{self._folder(day)}judged-{number:04d}.json" for day, number in newest.items() if number}
        for (day, key), data in zip(keys.items(), self.store.get_many(list(keys.values())), strict=True):
            judged = _decoded(key, data)
            hours = judged.get("hours")
            if hours is None:
                found[day] = judged
            for hour, one in (hours or {}).items():
                found[datetime.combine(day, time(int(hour)))] = one
        return found

    def scores(self, day: date, version: str) -> Scores | None:
        """The day's predictions under `version` where they were put, else None."""
        from .profiles import Profile

        number = _last(self._names(day), re.compile(rf"scores-v0*{int(version[1:])}-(\d+)\.bin"))
        if not number:
            return None
        data = msgspec.msgpack.decode(self.store.get(f"{self._folder(day)}scores-{_padded(version)}-{number:04d}.bin"))
        return Scores(version=version, basis=data["basis"], profile=Profile.from_bytes(data["profile"]))

    def days_scored(self, version: str) -> set[date]:
        """Days that have predictions under `version` put beside them, with one listing."""
        found = set()
        for day, names in self._listing(None, None).items():
            if any((match := _SCORES.fullmatch(name)) and int(match[1]) == int(version[1:]) for name in names):
                found.add(day)
        return found

    # ------------------------------------------------------------------ inside

    def _folder(self, day: date) -> str:
        return f"{self.prefix}{day.isoformat()}/"

    def _names(self, day: date) -> list[str]:
        folder = self._folder(day)
        return [key.removeprefix(folder) for key in self.store.list(folder)]

    def _listing(self, since: date | None, until: date | None) -> dict[date, list[str]]:
        found: dict[date, list[str]] = {}
        # The names of a day's objects come after its own: of days before `since` nothing is listed.
        after = f"{self.prefix}{since.isoformat()}" if since is not None else None
        for key in self.store.list(self.prefix, after=after):
            day = _day_of(key, self.prefix)
            if until is None or day <= until:
                found.setdefault(day, []).append(key.rsplit("/", 1)[1])
        return found

    def _index(self, asked: Set[date] | None = None) -> dict[date, int]:
        """The newest revision of each day; of those from the first to the last that is `asked` for."""
        if asked is not None and not asked:
            return {}
        since, until = (min(asked), max(asked)) if asked else (None, None)
        newest = {day: _last(names, _REVISION) for day, names in self._listing(since, until).items()}
        return {day: revision for day, revision in newest.items() if revision}

    def _whole(self, day: date, revision: int) -> bytes:
        return self.store.get(f"{self._folder(day)}r{revision:04d}.day")

    def _summary(self, day: date, revision: int) -> dict[str, Any]:
        return self._json(f"{self._folder(day)}r{revision:04d}.json")

    def _judgement(self, day: date, number: int) -> dict[str, Any] | None:
        return self._json(f"{self._folder(day)}judged-{number:04d}.json") if number else None

    def _json(self, key: str) -> dict[str, Any]:
        return _decoded(key, self.store.get(key))

    def _hours(self, day: date, revision: int) -> dict[str, Any]:
        data = self.store.find(f"{self._folder(day)}r{revision:04d}.hours")
        return msgspec.msgpack.decode(data, type=dict[str, Any]) if data is not None else {}


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows of one local day, ready for `Windows.put`: by clock hour Profiles and what blocks of rows reached, a
    sample, rows by version, the first and the last time of receipt, rows by clock hour and version, how many are alike.
    """

    hours: dict[int, Profile]
    sample: pl.DataFrame
    versions: dict[str, int]
    received: tuple[datetime, datetime] | None = None
    blocks: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    by_hour: dict[str, dict[str, int]] = field(default_factory=dict)
    repeats: dict[str, float] = field(default_factory=dict)


def cut(
    frame: pl.DataFrame,
    spec: ProfileSpec,
    *,
    zone: tzinfo,
    lenses: Lenses | None = None,
    blocks_since: date = date.min,
) -> dict[date, Cut]:
    """Observations (with `mw.id` and `mw.time`) by local day of `zone`, in order; rows without a time are left out.

    `lenses` says how the rows of a version (None: training rows) are looked at in blocks; without it none are made,
    nor of days before `blocks_since`. The sample of a day is its 2,000 rows with the lowest hash of `mw.id`, without
    the raw requests.
    """
    import polars as pl

    from .profiles import lowest, profile_groups

    # In order of time, so that a repeat is the value of the request before.
    frame = frame.drop("mw.raw", "mw.features", strict=False).drop_nulls("mw.time").sort("mw.time", "mw.id")
    local = frame["mw.time"].dt.convert_time_zone(str(zone))
    days = local.dt.date()
    # All hours of all days at once: thousands of small profiles cost little more than one.
    hours: dict[date, dict[int, Profile]] = {}
    clock = days.cast(pl.Int64) * 24 + local.dt.hour().cast(pl.Int64)
    for number, one in profile_groups(frame, clock, spec).items():
        day, at = divmod(int(str(number)), 24)
        hours.setdefault(date(1970, 1, 1) + timedelta(days=day), {})[at] = one
    found: dict[date, Cut] = {}
    inputs = [one.name for one in spec.columns if one.name in frame.columns and not one.name.startswith("mw.")]
    begin = 0
    for which, count in days.value_counts(name="rows").sort(days.name).iter_rows():
        rows = frame.slice(begin, count)
        begin += count
        versions = rows["mw.version"].drop_nulls() if "mw.version" in rows.columns else pl.Series([], dtype=pl.String)
        counted = versions.value_counts(name="rows").sort(versions.name)
        found[which] = Cut(
            hours=hours[which],
            sample=lowest(rows, "mw.id", SAMPLE_ROWS),
            versions=dict(counted.iter_rows()),
            received=_span(rows["mw.received"]) if "mw.received" in rows.columns else None,
            blocks=_blocks(rows, lenses, zone) if lenses is not None and which >= blocks_since else {},
            by_hour=_by_hour(local.slice(begin - count, count), versions) if versions.len() == count else {},
            repeats=repeats_of(rows, inputs),
        )
    return found


def _by_hour(local: pl.Series, versions: pl.Series) -> dict[str, dict[str, int]]:
    import polars as pl

    counted = pl.DataFrame({"hour": local.dt.hour(), "version": versions}).group_by("hour", "version").len()
    found: dict[str, dict[str, int]] = {}
    for hour, version, rows in counted.sort("hour", "version").iter_rows():
        found.setdefault(str(hour), {})[version] = rows
    return found


def _span(times: pl.Series) -> tuple[datetime, datetime] | None:
    low, high = times.min(), times.max()
    return (low, high) if isinstance(low, datetime) and isinstance(high, datetime) else None


def _blocks(rows: pl.DataFrame, lenses: Lenses, zone: tzinfo) -> dict[int, list[dict[str, Any]]]:
    """What blocks of one day's rows, in order of time, reached in each local hour; each version by itself."""
    from . import blocks

    found: dict[int, list[dict[str, Any]]] = {}
    for part in rows.partition_by("mw.version", maintain_order=True) if "mw.version" in rows.columns else [rows]:
        version = part["mw.version"][0] if "mw.version" in part.columns else None
        lens = lenses(version)
        at = blocks.ends(part.height, step=max(blocks.STEP, part.height // blocks.MOST))
        if lens is None or not at.size:
            continue
        hours = part["mw.time"].gather(at - 1).dt.convert_time_zone(str(zone)).dt.hour().to_list()
        made = blocks.extremes(part, lens, blocks.measure(part, lens, at), hours, version=version)
        for hour, facts in made.items():
            found.setdefault(hour, []).append(facts)
    return found


def describe(profile: Profile) -> dict[str, Any]:
    """What a summary says of a day: rows, the predictions' mean and deciles, null shares by column."""
    facts: dict[str, Any] = {
        "rows": profile.rows,
        "nulls": {
            name: round(one.nulls / profile.rows, 6) if profile.rows else 0.0
            for name, one in profile.columns.items()
            if name != SCORE
        },
        "score": None,
    }
    score = profile.columns.get(SCORE)
    if score is not None and score.n:
        facts["score"] = {
            "mean": float(score.mean),
            "std": float(score.std),
            "min": score.min,
            "max": score.max,
            "deciles": [float(score.quantile(q)) for q in DECILES],
        }
    return facts


def _decoded(key: str, data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StoreError(
            "a stored window cannot be read", where=key, why=str(error), fix="middlewatch monitor --rebuild"
        ) from error


def _unpacked(data: bytes) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The profile's bytes and what stands beside it; a store of the first layout holds the profile alone."""
    if data.startswith(b"MWP"):
        return data, {}
    body = msgspec.msgpack.decode(data)
    return body["profile"], by_column(body["beside"])


def _last(names: Iterable[str], pattern: re.Pattern[str]) -> int:
    """Highest number that `pattern`'s first group finds among names, 0 where none matches."""
    return max((int(match[1]) for name in names if (match := pattern.fullmatch(name))), default=0)


def _padded(version: str) -> str:
    return f"v{int(version[1:]):04d}"


def _day_of(key: str, prefix: str) -> date:
    return date.fromisoformat(key.removeprefix(prefix).split("/", 1)[0])
