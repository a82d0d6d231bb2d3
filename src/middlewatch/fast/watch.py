"""One model watched: what has come since the last look, judged in blocks, and what should have come and did not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from middlewatch import blocks, model, runs
from middlewatch.blocks import BLOCK, LEAST, STEP, Floats, Lens
from middlewatch.following import Follower
from middlewatch.journal import Entry, Journal
from middlewatch.lenses import lenses
from middlewatch.monitor import budget_of
from middlewatch.monitor.beside import REFUSED, RELEASE, release_key, released_against_gate, unlike
from middlewatch.predictions import COMPARE
from middlewatch.replay import Replayer, Replayers, disagreement
from middlewatch.shift import Reading
from middlewatch.times import iso

from .past import ENOUGH, TRAINING, Past
from .signs import Looked, Sign, looked, otherwise, share_of_budget, signs, widened
from .telling import MONITOR, TRAFFIC, Teller
from .usual import limit

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["Looks", "Watcher"]

# What `middlewatch compare` sent again is no traffic.
_ASKED = pl.col("mw.caller").ne_missing(COMPARE)
# Rows held: blocks of two versions and the first 500 of a release fit well.
HELD = 2000
# Of the new rows so many are answered again by their own version.
REPLAYED = 100
# The previous version answers the first so many rows of a release as well.
SHADOWED = 500
REFUSED_SHARE = 0.2
# Where nothing is known yet: all but everything is refused.
ALL_REFUSED = 0.95
# No request where at least so many came at this time of every other day, and for at least so long, is silence.
LEAST_REQUESTS = 20
SILENT = timedelta(minutes=5)
# Events older than this when they come are history, not traffic: nobody waits for more of it by the clock.
LIVE = timedelta(hours=1)
PAUSED = timedelta(days=1)
# Whether the monitor still runs is looked at this often.
RAN_EVERY = timedelta(minutes=1)
# The stored past is read again this often: windows are made once a day.
AGAIN = timedelta(hours=1)
FEW_DAYS = 3
# Another machine's rows are in the store once its segment is closed: after 15 minutes, and some to spare.
ELSEWHERE = timedelta(minutes=20)


@dataclass(slots=True)
class Looks:
    """What was looked at: rows and blocks, and how many days of history the last block was held against."""

    rows: int = 0
    blocks: int = 0
    days: int = 0

    @property
    def state(self) -> str:
        return "judging" if self.days >= ENOUGH else "learning"


class Watcher:
    """Follows the log of one model from `started` on; `look` is called every few seconds.

    All it knows of the past is in the store, so that another one goes on where it was killed.
    """

    def __init__(self, project: Project, name: str, *, started: datetime) -> None:
        self.project = project
        self.name = name
        self.looks = Looks()
        self.teller = Teller(project, name)
        self._journal: Journal = project.journal(name)
        self._log = Follower(project.store, project.spool(name), name)
        self._refusals = Follower(project.store, project.spool(name), name, stream="refused")
        self._held = pl.DataFrame()
        self._turned = pl.DataFrame()
        self._lenses = lenses(project, name)
        self._replayers = Replayers(project, name)
        self._pasts: dict[date, Past] = {}
        self._read_at = started
        self._k = share_of_budget(budget_of(project))
        self._since = started  # of the silence
        self._live = False
        self._shadowed: tuple[int, int] = (0, 0)  # entry of the journal, rows seen when it was last compared

    def look(self, now: datetime) -> list[int]:
        """Judge what has come; returns the numbers of the incidents it opened or changed. Raises OutOfReach."""
        self.teller.begin(now)
        fresh = self._take(self._log.new(now=now, most=HELD).filter(_ASKED))
        turned = self._refusals.new(now=now, most=HELD).filter(_ASKED)
        if fresh or turned.height:
            self._since = now
        if fresh:
            self._release(now)
            self._rows(now, fresh)
        if fresh or turned.height:
            self._refused(turned, fresh, now)
        self._silence(now)
        return sorted(self.teller.touched)

    def over(self, frame: pl.DataFrame, now: datetime) -> list[int]:
        """Judge given rows of the log as if they had come at once, block by block; of scored batches."""
        self.teller.begin(now)
        fresh = self._take(frame, most=frame.height)
        if fresh:
            self._release(now)
            self._rows(now, fresh)
        return sorted(self.teller.touched)

    # ------------------------------------------------------------------ what came

    def _take(self, came: pl.DataFrame, *, most: int = HELD) -> int:
        """Hold new rows beside the last ones; returns how many are new and no history."""
        if not came.height:
            return 0
        came = came.drop("mw.raw", "mw.features", "mw.scores", strict=False).with_columns(pl.lit(True).alias("_new"))
        held = self._held
        if held.height:
            # Nine in ten of the rows held are older: a client's clock that is ahead must not make all others late.
            newest = held["mw.time"].quantile(0.9, "nearest")
            on_time = came["mw.time"] >= newest - self.project.config.monitor.grace  # type: ignore[operator]
            # What is late is for the day's window. Where history is played (again), from an earlier day on, it is not.
            paused = came["mw.received"].min() - held["mw.received"].max() > PAUSED  # type: ignore[operator]
            if on_time.sum() * 2 >= came.height or (self._live and not paused):
                came = came.filter(on_time)
            held = held.with_columns(pl.lit(False).alias("_new"))
            if not came.height:
                return 0
        lag = (came["mw.received"] - came["mw.time"]).median()
        if isinstance(lag, timedelta):
            self._live = abs(lag) <= LIVE
        parts = [held, came] if held.height else [came]
        held = pl.concat(parts, how="diagonal_relaxed").sort("mw.received", "mw.time", "mw.id")
        self._held = held.tail(max(most, HELD))
        return came.height

    def _rows(self, now: datetime, fresh: int) -> None:
        """Blocks that end in new rows, of every version and local day by itself."""
        day = pl.col("mw.time").dt.convert_time_zone(str(self.project.zone)).dt.date()
        groups = self._held.with_columns(day.alias("_day")).partition_by("_day", "mw.version", as_dict=True)
        still: set[tuple[str, str]] = set()
        strange, judged, clean = False, 0, 0
        last: datetime | None = None
        for (which, version), rows in sorted(groups.items(), key=lambda item: (str(item[0][0]), str(item[0][1]))):
            if not rows["_new"].any() or not isinstance(which, date) or not isinstance(version, str):
                continue
            part = rows.sort("mw.time", "mw.id")
            after = int(part["_new"].arg_true()[0])
            at = blocks.ends(part.height, after=after, step=max(STEP, part.height // blocks.MOST))
            lens = self._lenses(version)
            if lens is None or not at.size:
                continue
            seen, since = self._judge(part, at, version, lens, now)
            if last is not None and part["mw.time"][-1] - last > LIVE:
                still = set()  # of a later day, or of the version that answers now
            still |= seen
            if since:
                strange, clean = True, 0
            judged += int(part["_new"].sum())
            clean += 0 if seen else int(part["_new"][since:].sum())
            last = part["mw.time"][-1]
        self.looks.rows += fresh
        if last is not None:
            self.teller.clean(judged, clean, still, afresh=strange, until=last, now=now)

    def _judge(
        self, part: pl.DataFrame, at: blocks.Ints, version: str, lens: Lens, now: datetime
    ) -> tuple[set[tuple[str, str]], int]:
        """Judge blocks in order; returns what the last one shows, and the row after the last strange block (0: none
        was).
        """
        zone = self.project.zone
        hours = [moment.astimezone(zone).hour for moment in part["mw.time"].gather(at - 1)]
        day = part["mw.time"][-1].astimezone(zone).date()
        past = self._stored(day, now)
        basis, _ = past.scores(hours[-1], version)
        lens = widened(lens, past.spans())
        seen = self._seen(part, lens, at, version, basis)
        allowed = {one.name: one.nulls for one in self.project.schema(self.name).features}
        usual = {hour: (past.inputs(hour), past.scores(hour, version)[1]) for hour in set(hours)}
        found: list[Sign] = []
        closed: bool | None = None
        strange = 0
        for place, hour in enumerate(hours):
            inputs, scores = usual[hour]
            self.looks.days = inputs.days
            found = signs(seen, place, inputs, scores, lens, allowed, k=self._k)
            self.looks.blocks += 1
            if found and closed is None:
                closed = self.project.windows(self.name).judgement(day) is not None
            if found:
                strange = int(seen.blocks.ends[place])
            if found and not closed:  # of a day that is judged the monitor has spoken; what comes late amends it
                start, end = int(seen.blocks.starts[place]), int(seen.blocks.ends[place])
                after = float(np.mean(seen.scores[start:end]))
                self.teller.signs(found, now=now, before=scores.mean(), after=after)
        again = otherwise(part.filter("_new").tail(REPLAYED), self._replayers.get(version))
        if again is not None:
            found, strange = [*found, again], part.height
            if self.project.windows(self.name).judgement(day) is None:
                after = float(np.mean(seen.scores[-BLOCK:]))
                self.teller.signs([again], now=now, before=usual[hours[-1]][1].mean(), after=after)
        return {(one.reading.column, one.reading.channel) for one in found}, strange

    def _seen(self, part: pl.DataFrame, lens: Lens, at: blocks.Ints, version: str, basis: str) -> Looked:
        """The blocks with the scores that are judged: those given, or what the version known best would have given.

        So a release is no alarm for what it was meant to change; that is judged by itself (`_release`).
        """
        if basis in (version, TRAINING) or not model.ours(version):
            return looked(part, lens, at)
        replayer, other = self._replayers.get(basis), self._lenses(basis)
        if replayer is None or other is None:
            return looked(part, lens, at)
        rows = part.drop("_new", "_day", strict=False)
        shown = replayer.shown(rows)
        return looked(part, lens, at, shown, _decided(replayer, other, rows, shown))

    # ------------------------------------------------------------------ releases

    def _release(self, now: datetime) -> None:
        """The first rows of a version that went live against its gate, on the version before it as well."""
        entries = self._journal.entries()
        state = self._journal.state()
        live = state.live.get("live")
        for one in self.teller.ours():
            if RELEASE in one.columns and str(one.top[0].get("version")) != live:
                until = self._held["mw.time"][-1]
                self.teller.close(one, f"{one.top[0].get('version')} no longer answers", until=until, now=now)
        entry = released_against_gate(entries).get(live or "")
        if entry is None:
            return
        rows = self._held.filter(pl.col("mw.version") == entry.version).head(SHADOWED)
        before_n, before_rows = self._shadowed
        if rows.height < LEAST or (before_n == entry.n and before_rows >= min(rows.height, SHADOWED)):
            return
        self._shadowed = (entry.n, rows.height)
        self._compare(entry, rows, now)

    def _compare(self, entry: Entry, rows: pl.DataFrame, now: datetime) -> None:
        key = release_key(entry)
        fresh, earlier = self._replayers.get(entry.version), self._replayers.get(entry.previous)
        if fresh is None or earlier is None or self.teller.told(key):
            return
        plain = rows.drop("_new", strict=False)
        seen = disagreement(fresh, earlier, plain)
        reading = unlike(seen)
        if reading is None:
            return
        now_mean, then_mean = float(fresh.shown(plain).mean()), float(earlier.shown(plain).mean())
        times = rows["mw.time"].sort()
        changed = f"{seen.decisions:.0%} of decisions changed, " if fresh.version.task != "regression" else ""
        said = (
            f"{entry.version} answers unlike {entry.previous}, the version before: {changed}order agrees to"
            f" {seen.order:.2f}; mean prediction {then_mean:.3g} -> {now_mean:.3g}"
        )
        more = {
            "version": entry.version,
            "previous": entry.previous,
            "order": round(seen.order, 4),
            "score_before": round(then_mean, 6),
            "score_after": round(now_mean, 6),
        }
        sign = Sign(reading, times[0], times[-1], rows.height)
        self.teller.open([sign], now=now, before=then_mean, after=now_mean, said=said, key=key, more=more)

    # ------------------------------------------------------------------ requests that were not answered, or not sent

    def _refused(self, turned: pl.DataFrame, fresh: int, now: datetime) -> None:
        """The share of the last requests that were refused, or failed."""
        if turned.height:
            kept = turned.select("mw.time", "mw.received").with_columns(pl.coalesce("mw.time", "mw.received"))
            self._turned = (
                pl.concat([self._turned, kept]).sort("mw.received").tail(HELD) if self._turned.height else kept
            )
        if not self._turned.height:
            return
        # By received time: a refused request may have told no time of its own.
        answered = self._held.select("mw.time", "mw.received") if self._held.height else self._turned.clear()
        both = pl.concat(
            [answered.with_columns(pl.lit(False).alias("no")), self._turned.with_columns(pl.lit(True).alias("no"))]
        )
        last = both.sort("mw.received").tail(blocks.BLOCK)
        share = float(last["no"].mean() or 0.0)  # type: ignore[arg-type]
        local = last["mw.time"][-1].astimezone(self.project.zone)
        days, worst = self._stored(local.date(), now).refused(local.hour)
        line = limit(REFUSED_SHARE, worst) if days >= ENOUGH else ALL_REFUSED
        if last.height >= LEAST and share >= line and share > worst:
            reading = Reading.over(REFUSED, "refused", share, line, share, worst)
            first = blocks.began(last["no"].to_numpy(), worst)
            times = last["mw.time"]
            sign = Sign(reading, times[first:].min(), times[first:].max(), last.height - first)  # type: ignore[arg-type]
            self.teller.signs([sign], now=now, before=None, after=None)
            return
        if share * 2 < line:
            for one in self.teller.ours():
                if REFUSED in one.columns:
                    until = last["mw.time"].max()
                    self.teller.close(one, f"{share:.0%} of the last {last.height} requests were refused",
                                      until=until, now=now)  # type: ignore[arg-type]  # fmt: skip

    def _silence(self, now: datetime) -> None:
        """Traffic that stopped against the same time of other days, and a monitor that no longer runs."""
        quiet = now - self._since - (ELSEWHERE if self._machines() > 1 else timedelta())
        for one in self.teller.ours() if quiet < SILENT else ():
            if TRAFFIC in one.columns:
                self.teller.close(one, "requests come again", until=self._since, now=now)
        if self._live and quiet >= SILENT and self._journal.live() is not None:
            least = self._stored(now.astimezone(self.project.zone).date(), now).least_rows(self._since, now)
            if least is not None and least >= LEAST_REQUESTS:
                reading = Reading.over(TRAFFIC, "silence", least, LEAST_REQUESTS, 0.0, least)
                sign = Sign(reading, self._since, now, 0)
                minutes = quiet / timedelta(minutes=1)
                said = f"no request for {minutes:.0f} minutes; at this time of other days at least {least:,.0f} came"
                if not any(TRAFFIC in one.columns for one in self.teller.ours()):
                    self.teller.open([sign], now=now, said=said, key=f"fast silence {iso(self._since)[:16]}")
        self._monitor(now)

    def _machines(self) -> int:
        """How many machines answered the rows held."""
        if not self._held.height:
            return 1
        return int(self._held["mw.server"].str.replace(r"-[^-]+$", "").n_unique())

    def _monitor(self, now: datetime) -> None:
        if self._ran_at is not None and now - self._ran_at < RAN_EVERY:
            return
        self._ran_at = now
        ran = runs.last(self.project.store, self.name)
        stale = runs.stale(self.project.config.monitor.window)
        late = ran is not None and now - ran > stale
        mine = [one for one in self.teller.ours() if MONITOR in one.columns] if late or self._late else []
        self._late = late
        if late and not mine and ran is not None:
            hours = (now - ran) / timedelta(hours=1)
            reading = Reading.over(MONITOR, "silence", hours, stale / timedelta(hours=1))
            said = f"the monitor last ran {hours:.0f} hours ago: nothing is judged"
            self.teller.open([Sign(reading, ran, now, 0)], now=now, said=said, key=f"fast monitor {iso(ran)}")
        if not late:
            for one in mine:
                self.teller.close(one, "the monitor has run again", until=now, now=now)

    _late: bool = True  # until the first look has seen that it is not
    _ran_at: datetime | None = None

    # ------------------------------------------------------------------ what stands in the store

    def _stored(self, today: date, now: datetime) -> Past:
        if now - self._read_at >= AGAIN or len(self._pasts) > FEW_DAYS:
            self._pasts, self._read_at = {}, now
        if today not in self._pasts:
            self._pasts[today] = Past.read(self.project, self.name, today)
        return self._pasts[today]


def _decided(replayer: Replayer, lens: Lens, rows: pl.DataFrame, shown: Floats) -> dict[str, blocks.Flags]:
    """By decision which rows the version would have given it."""
    if lens.classes:
        made = replayer.decisions(rows)
        return {name: made == name for name in lens.classes}
    return {blocks.YES: shown >= lens.threshold} if lens.threshold is not None else {}
