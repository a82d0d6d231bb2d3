"""One model version, ready to answer: bytes in, bytes out, and the record of it written in between.

    body -> read by the schema -> encoded -> predicted -> ONE write of the log record -> answer

Nothing is answered that is not in the log. The score that is sent is the score that is logged, to the last bit.
"""

from __future__ import annotations

import itertools
import math
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import MiddlewatchError, OutOfReach, RequestRefused, UsageError
from ..ids import new_id
from ..records import Record, Refusal, frame_of
from ..requests import Body, BodyType, Request
from ..spool import Head, Spool
from ..usercode import PINNED

if TYPE_CHECKING:
    from ..model import ModelVersion
    from ..predictors import Predictor

__all__ = ["Answer", "Ids", "Journalist", "ModelFailed", "Scorer"]

_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_SECOND = 1_000_000
WHOLE = 20
NOTED = 500
LONGEST = 500  # letters of an error that are kept


class Answer(msgspec.Struct, gc=False):
    """What goes back: JSON, the request's id, how many predictions it holds."""

    body: bytes
    id: str
    rows: int


class ItemRefused(RequestRefused):
    """Item `index` (from 0) of a list broke the schema: none of the list was answered."""

    def __init__(self, error: RequestRefused | UsageError, index: int, body: Body) -> None:
        facts = error.to_dict()
        super().__init__(
            f"item {index} of the list: {error.what}",
            field=facts.get("field", ""),
            came=facts.get("came", ""),
            expected=facts.get("expected", ""),
            fix=error.fix,
        )
        self.index = index
        self.body = bytes(body)

    def to_dict(self) -> dict[str, str]:
        return {**super().to_dict(), "index": str(self.index)}


class ModelFailed(MiddlewatchError):
    """The model gave no score for a request that its schema takes. `came` says what failed where, never what came."""

    def __init__(self, what: str, came: str) -> None:
        super().__init__(
            what,
            why=came,
            fix="the request is well formed: whoever runs the model sees it in middlewatch tail --refused",
        )
        self.came = came


def _failing(error: Exception) -> str:
    """`KeyError in features() (train.py, line 12)`: the pinned code's function and line, else where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if PINNED in one.filename] or frames[-1:]
    return f"{type(error).__name__} in {own[0].name}() ({Path(own[-1].filename).name}, line {own[-1].lineno})"


class Ids:
    """Ids of this process."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._counter = itertools.count()

    def next(self, received: int) -> str:
        return new_id(received, self._token, next(self._counter))


class Journalist:
    """Where the scorers of one model write: the log, and the bounded evidence of refused requests.

    Of each second's refusals the first WHOLE are kept with their bodies, those up to NOTED without: a client gone
    wrong is counted in full, a flood costs some 100 KB a second at most. What is beyond is only counted in metrics.
    """

    def __init__(self, log: Spool, refused: Spool, ids: Ids) -> None:
        self.log = log
        self.refused = refused
        self.ids = ids
        self.kept = 0
        self.dropped = 0
        self._second = 0
        self._in_second = 0

    def refuse(self, head: Head, make: Callable[[str], Refusal], received: int) -> str:
        """Note a refusal, unless enough were noted in this second. Returns the request's id."""
        ident = self.ids.next(received)
        if received // _SECOND != self._second:
            self._second, self._in_second = received // _SECOND, 0
        self._in_second += 1
        if self._in_second > NOTED:
            self.dropped += 1
            return ident
        noted = make(ident)
        if self._in_second > WHOLE:
            noted.raw = b""
        try:
            self.refused.append(head, frame_of(noted), received=received)
            self.kept += 1
        except OutOfReach:
            self.dropped += 1  # the caller's error stays the answer; what is lost is counted
        return ident

    def tick(self, now: int) -> None:
        self.log.tick(now)
        self.refused.tick(now)

    def close(self) -> None:
        self.log.close()
        self.refused.close()


class Scorer:
    """Answers for one version of one model. Used by one thread at a time."""

    def __init__(
        self,
        version: ModelVersion,
        predictor: Predictor,
        journalist: Journalist,
        *,
        zone: tzinfo,
        zone_name: str,
        secret: bytes | None,
    ) -> None:
        self.version = version.version
        self.model = version.model
        self.schema = version.schema
        self.journalist = journalist
        self.body_type = BodyType(version.schema, version.encoding.names, zone=zone, secret=secret)
        self._row = predictor.row
        # What is made of a private column might tell it.
        hidden = any(one.private for one in self.body_type.fields if one.needed)
        has_features = not hidden and getattr(predictor, "has_features", False)
        self._shown: Callable[..., Any] | None = predictor.row_shown if has_features else None  # type: ignore[attr-defined]
        self._encode = version.encoding.encode_row
        self._read = self.body_type.read
        self._log = journalist.log
        self._next_id = journalist.ids.next
        self.classes = version.classes if version.outputs > 1 else ()
        head = {
            "model": self.model,
            "version": self.version,
            "server": journalist.log.server,
            "zone": zone_name,
            "columns": tuple((one.name, one.kind, one.private or "") for one in self.body_type.fields),
        }
        self._head = Head(**head, stream="log")  # type: ignore[arg-type]
        self._refused_head = Head(**head, stream="refused")  # type: ignore[arg-type]
        names = [msgspec.json.encode(one).decode() for one in self.classes]
        self._class_names = names
        self._tail = f',"model":{msgspec.json.encode(self.model).decode()},"version":"{self.version}","id":"'

    def answer(self, body: bytes, *, caller: str, received: int) -> Answer:
        """Predict for an object or a list of objects, log it, and say so. `received` is microseconds since 1970.

        Raises RequestRefused and UsageError for a faulty body (ItemRefused where it was one of a list; then
        none of the list is answered or logged), ModelFailed, and OutOfReach where the log cannot be written.
        """
        if body[:1] != b"{" and body.lstrip()[:1] == b"[":
            return self._answer_list(body, caller, received)
        record = self._predict(self._read(body), caller, received)
        self._log.append(self._head, frame_of(record), received=received)
        return Answer(self._text(record).encode(), record.id, 1)

    def score(self, bodies: Sequence[Body], *, caller: str, received: int) -> list[Record]:
        """Predict for some objects and log them, all or none; raises as `answer`."""
        requests = []
        for index, one in enumerate(bodies):
            try:
                requests.append(self._read(one))
            except (RequestRefused, UsageError) as error:
                raise ItemRefused(error, index, one) from None
        records = [self._predict(request, caller, received) for request in requests]
        if records:
            frames = b"".join(frame_of(record) for record in records)
            self._log.append(self._head, frames, received=received, records=len(records))
        return records

    def refused(self, error: MiddlewatchError, body: bytes, *, caller: str, received: int) -> str:
        """Keep a body that was refused, or that the model failed on, as evidence within bounds. Returns its id."""
        if isinstance(error, ItemRefused):
            body = error.body
        facts = error.to_dict()
        said = facts["error"] + (f": {facts['why']}" if "why" in facts else "")
        if isinstance(error, ModelFailed) and error.__cause__ is not None and not self.body_type.is_private:
            said += f": {error.__cause__}"  # its words may hold the row

        def make(ident: str) -> Refusal:
            return Refusal(
                id=ident,
                time=self.body_type.event_time(body),
                received=received,
                caller=caller,
                field=facts.get("field", ""),
                came=error.came if isinstance(error, ModelFailed) else facts.get("came", ""),
                expected=facts.get("expected", ""),
                error=said[:LONGEST],
                raw=self.body_type.redacted(body)[:4096],
                status=error.status,
            )

        return self.journalist.refuse(self._refused_head, make, received)

    def _predict(self, request: Request, caller: str, received: int) -> Record:
        started = time.perf_counter_ns()
        features = None
        try:
            if self._shown is None:
                score = self._row(self._encode(request.inputs))
            else:
                score, features = self._shown(self._encode(request.inputs))
        except Exception as error:
            raise ModelFailed(f"{self.version} of {self.model} failed on this request", _failing(error)) from error
        label, scores = None, None
        if isinstance(score, list):
            scores = score
            score = max(scores)
            label = self.classes[scores.index(score)]
        if not math.isfinite(score):
            raise ModelFailed(f"{self.version} of {self.model} failed on this request", f"it gave {score}")
        at = received if request.time is None else request.time
        took = (time.perf_counter_ns() - started) / 1000
        # By place: names would cost half a microsecond of every request.
        return Record(
            self._next_id(received), at, received, caller, request.key, score, label, scores, took,
            bytes(request.raw), features,
        )  # fmt: skip

    def _text(self, record: Record) -> str:
        """The JSON of one prediction."""
        more = ""
        if record.scores is not None and record.label is not None:
            pairs = ",".join(f"{name}:{value!r}" for name, value in zip(self._class_names, record.scores, strict=True))
            place = self.classes.index(record.label)
            more = f',"label":{self._class_names[place]},"probabilities":{{{pairs}}}'
        return f'{{"score":{record.score!r}{more}{self._tail}{record.id}"}}'

    def _answer_list(self, body: bytes, caller: str, received: int) -> Answer:
        try:
            bodies = _ROWS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                "the body is not JSON", why=str(error), fix="send an object or a list of objects"
            ) from None
        records = self.score(bodies, caller=caller, received=received)
        answers = ",".join(self._text(one) for one in records)
        ident = records[0].id if records else self._next_id(received)
        return Answer(f'{{"predictions":[{answers}]}}'.encode(), ident, len(records))
