"""The mergeable summary of a table: profile(a) + profile(b) = profile(a and b).

    frame --profile(batch, spec)--> Profile --+--> merged, stored, read back, asked
                                              |
    frame --profile_groups(frame, by)--> one for each hour, day, caller ...

`sketches` holds the arithmetic (bins, hashes, distinct counts), `column` the summary of one column and its merge,
`measure` how a column of a batch becomes one, `table` the whole.
"""

from __future__ import annotations

from .column import Bins, ColumnProfile, Kind, Values, merge_columns
from .sketches import bin_keys, bin_lower, hash_numbers, hash_text
from .table import (
    ColumnSpec,
    Failed,
    Look,
    Predicate,
    Profile,
    ProfileSpec,
    Sample,
    hash_ids,
    lowest,
    merge,
    profile,
    profile_groups,
    profile_stream,
    spec_of,
)

__all__ = [
    "Bins",
    "ColumnProfile",
    "ColumnSpec",
    "Failed",
    "Kind",
    "Look",
    "Predicate",
    "Profile",
    "ProfileSpec",
    "Sample",
    "Values",
    "bin_keys",
    "bin_lower",
    "hash_ids",
    "hash_numbers",
    "hash_text",
    "lowest",
    "merge",
    "merge_columns",
    "profile",
    "profile_groups",
    "profile_stream",
    "spec_of",
]
