"""Ids of predictions: they sort by received time, and find their partition."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from .errors import UsageError

__all__ = ["ALPHABET", "new_id", "new_token", "received_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # sorts as its numbers do
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


def new_id(received: int, token: str, counter: int) -> str:
    """The id of a prediction: 20 letters and digits that sort by received time (microseconds since 1970).

    `token` is 5 characters of the process, `counter` numbers its predictions (the lowest 20 bits count).
    """
    return (
        f"{ALPHABET[received >> 50 & 31]}{_PAIRS[received >> 40 & 1023]}{_PAIRS[received >> 30 & 1023]}"
        f"{_PAIRS[received >> 20 & 1023]}{_PAIRS[received >> 10 & 1023]}{_PAIRS[received & 1023]}"
        f"{token}{_PAIRS[counter >> 10 & 1023]}{_PAIRS[counter & 1023]}"
    )


def received_of(ident: str) -> datetime:
    """When the prediction with this id was received: its partition. Raises UsageError for what is no id."""
    if len(ident) != 20 or not set(ident) <= set(ALPHABET):
        raise UsageError(f'"{ident[:40]}" is not the id of a prediction', fix="middlewatch tail shows some")
    micros = 0
    for letter in ident[:11]:
        micros = micros * 32 + ALPHABET.index(letter)
    return _EPOCH + timedelta(microseconds=micros)


def new_token(random: bytes | None = None) -> str:
    """5 characters for a process or batch; from 4 random bytes where they are given."""
    number = int.from_bytes(random or secrets.token_bytes(4), "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in (20, 15, 10, 5, 0))
