"""What a comparison found, as people and scripts read it: what matters first, then what differs and does no harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_LINES = 12
SHOWN = 4
"""Differences of a group that its line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One difference: `what` it is about, its value on `a` and on `b`, and `words` for people.

    It `matters` where the replay or the distributions show an effect; the larger `size` comes first. Those of a `group`
    share a line for people.
    """

    what: str
    a: Any
    b: Any
    matters: bool
    words: str
    size: float = 0.0
    group: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "what": self.what, "a": self.a, "b": self.b, "matters": self.matters, "words": self.words, **self.facts,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`differences` in order of weight; `requests` were answered by both sides, `equal` of them the same to the bit.

    `not_seen` is what could not be compared, and why. `requests` of 0: nothing could be replayed, so nothing is known.
    """

    a: str
    b: str
    differences: Sequence[Told]
    requests: int
    equal: int
    not_seen: Sequence[str] = ()
    next: str = ""
    seconds: float = 0.0

    @property
    def matters(self) -> bool:
        return any(one.matters for one in self.differences)

    @property
    def headline(self) -> str:
        weighty = sum(1 for one in self.differences if one.matters)
        if weighty:
            many = f"{weighty} differences that matter" if weighty > 1 else "one difference that matters"
            return f"{self.a} and {self.b}: {many}"
        if not self.requests:
            return f"{self.a} and {self.b}: not known, no request was answered by both"
        how = "equal to the bit" if self.equal == self.requests else "equal but for the last bits"
        return f"{self.a} and {self.b} answer the same: {self.requests:,} requests, {how}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "differences": [one.to_dict() for one in self.differences],
            "requests": self.requests,
            "equal": self.equal,
            "not_seen": list(self.not_seen),
            "next": self.next,
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """The report for a terminal: at most 12 lines, the answer first, the next command last."""
        unseen = [f"UNSEEN   {one}" for one in self.not_seen[:3]]
        # Only where both answer the same is it known that what else differs does no harm.
        word = "harmless" if self.requests and self.equal == self.requests else "differs"
        said = [f"WARN {one}" for one in _grouped([one for one in self.differences if one.matters])]
        said += [f"{word:<8} {one}" for one in _grouped([one for one in self.differences if not one.matters])]
        room = MOST_LINES - 2 - len(unseen)
        if len(said) > room:
            said = [*said[: room - 1], f"         and {len(said) - room + 1} more  (--json has all)"]
        return [self.headline, *said, *unseen, f"Next:   {self.next}"]


def _grouped(differences: Sequence[Told]) -> list[str]:
    """One line a difference; those of one group share a line."""
    lines: dict[str, list[str]] = {}
    for at, one in enumerate(differences):
        lines.setdefault(one.group or str(at), []).append(one.words)
    said = []
    for group, words in lines.items():
        more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        said.append((f"{group}: " if not group.isdigit() else "") + "; ".join(words[:SHOWN]) + more)
    return said
