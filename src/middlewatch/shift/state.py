"""A Watch as plain values, to be kept and taken up again: what it learnt, without windows that are stored anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .watch import _Held

if TYPE_CHECKING:
    from .channels import Facts
    from .watch import Watch

# Settings, and what is worked out anew at the first look.
_GIVEN = frozenset({"budget", "length", "_partners"})
_BESIDE = [one.name for one in fields(_Held) if one.name != "facts"]


class _Stored(Mapping[str, "Facts"]):
    """Facts of a window that are read when they are first asked for: most windows held are not the reference."""

    def __init__(self, names: Sequence[str], read: Callable[[], Mapping[str, Facts]]) -> None:
        self._names = dict.fromkeys(names)
        self._read = read
        self._facts: Mapping[str, Facts] | None = None

    def _found(self) -> Mapping[str, Facts]:
        if self._facts is None:
            self._facts = self._read()
        return self._facts

    def __getitem__(self, name: str) -> Facts:
        return self._found()[name]

    def __contains__(self, name: object) -> bool:
        # Predictions of a version that no longer loads are left out, as where the fold begins anew.
        return name in self._names and name in self._found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def state_of(watch: Watch) -> dict[str, Any]:
    """What was learnt but for the facts of the windows held: plain values, arrays, bins and dates, for `resume`."""
    # Not every column of a window joins what the next ones are held against.
    held = [(tuple(one.facts), *(getattr(one, name) for name in _BESIDE)) for one in watch._windows]
    return {name: value for name, value in vars(watch).items() if name not in _GIVEN} | {"_windows": held}


def resume(watch: Watch, state: Mapping[str, Any], facts: Sequence[Callable[[], Mapping[str, Facts]]]) -> None:
    """Let a new Watch go on from a state; `facts` read the windows learnt before, oldest first.

    Where fewer are given than are held the oldest of those held are let go of: they are no longer stored.
    """
    vars(watch).update(state)
    windows = state["_windows"]
    held = min(len(windows), len(facts))
    watch._windows = [
        _Held(facts=_Stored(names, read), **dict(zip(_BESIDE, rest, strict=True)))
        for (names, *rest), read in zip(windows[len(windows) - held :], facts[len(facts) - held :], strict=True)
    ]
