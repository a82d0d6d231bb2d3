"""May a data version be learnt from? Its data tests, and the faults that the data of the last model had not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import comparing, data, gate, model
from .errors import Refused
from .replay import Replayer

if TYPE_CHECKING:
    import polars as pl

    from .fingerprints import Cause
    from .project import Project
    from .schema import Schema

FEW = 0.01
"""A fault in a smaller share of the rows is told and learnt: another draw of the rows moves trees more, and
training by schedule would wait for a person because of one bad hour in half a year."""

SAID = ("kind", "form", "columns", "detail", "since")


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong in the new rows of a data version of so many `rows`, held `against` an earlier one; nothing
    without one."""

    against: str = ""
    causes: tuple[Cause, ...] = ()
    rows: int = 0

    @property
    def certain(self) -> list[Cause]:
        """What must not be learnt: certain, and in more than a FEW of the rows."""
        return [one for one in self.causes if one.confidence == "certain" and one.effect.rows >= FEW * self.rows]

    def verdicts(self) -> list[gate.Verdict]:
        """The gate's line: no fault is certain. None where there is nothing to hold the data against."""
        if not self.against:
            return []
        told = [one.detail for one in self.certain] or [f"{one.detail} ({one.confidence})" for one in self.causes]
        said = "; ".join(told) or f"no fault with a name against {self.against}"
        return [gate.verdict("data_as_before", not self.certain, said)]

    def notes(self) -> list[str]:
        return [f"{one.detail} ({one.confidence}: {one.proof})" for one in self.causes]

    def facts(self) -> list[dict[str, Any]]:
        """For the manifest: the certain ones, with what they were held against."""
        told = [one.to_dict() for one in self.certain]
        return [{"against": self.against, **{key: one[key] for key in SAID}} for one in told]


def faults(
    project: Project,
    name: str,
    schema: Schema,
    snapshot: data.DataVersion,
    rows: pl.DataFrame,
    champion: model.ModelVersion | None,
) -> Faults:
    """The snapshot's rows against the data that the last model learnt from, by the words of `why`."""
    before = data.trusted(project.store, name, model.learnt_from(project.store, name), but=snapshot.version)
    if before is None:
        return Faults()
    scorer = None if champion is None else Replayer(champion, model.predictor(project.store, champion))
    then = data.frame(project.store, name, before)
    compared = comparing.compare(rows, then, schema, zone=str(project.zone), scorer=scorer)
    return Faults(before, compared.causes, rows.height)


def refuse(snapshot: data.DataVersion, found: Faults) -> None:
    """Raise Refused where data tests fail, with what `why` says of it, or where a fault is certain."""
    failed = [one for one in snapshot.manifest["findings"] if one["severity"] == "fail"]
    certain = found.certain
    if snapshot.ok and not certain:
        return
    what = f"{snapshot.version} fails {len(failed)} data test{'s' if len(failed) != 1 else ''}"
    mend = certain[0].fix if certain else ""
    raise Refused(
        f"nothing was trained: {_said(certain[0], snapshot.rows) if certain else what}",
        where=f"{snapshot.manifest['source']}, kept as {snapshot.version}"
        + (f", against {found.against}" if certain else ""),
        why="; ".join(
            [*(f"certain: {one.proof}" for one in certain[:1]), *(one.detail for one in certain[1:3])]
            + [one["message"] for one in failed[:3]]
        ),
        fix=f"{mend or 'mend the source or the schema'}, or  "
        f"middlewatch train --data {snapshot.version} --force 'the reason'",
    )


def _said(cause: Cause, rows: int) -> str:
    """A cause speaks of the rows that were looked at, those that the data before did not have."""
    return f"{cause.detail} ({cause.effect.rows:,} of {rows:,} rows)"
