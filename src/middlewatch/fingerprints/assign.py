"""The best one-to-one assignment: each row to one column, so that the sum of what pairs are worth is the greatest."""

from __future__ import annotations

import numpy as np

from .history import Floats, Ints


def assign(worth: Floats) -> Ints:
    """The column of each row of `worth` (rows, columns; at least as many columns as rows; finite).

    The Hungarian method with potentials: shortest augmenting paths, O(rows * rows * columns). See Kuhn (1955),
    "The Hungarian method for the assignment problem".
    """
    rows, columns = worth.shape
    cost = -worth
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, np.int64)  # the row (from 1) that holds a column (from 1); column 0 starts a path
    for row in range(1, rows + 1):
        owner[0] = row
        at = 0
        least = np.full(columns + 1, np.inf)
        came_from = np.zeros(columns + 1, np.int64)
        done = np.zeros(columns + 1, bool)
        while True:
            done[at] = True
            holder = owner[at]
            reduced = cost[holder - 1] - of_row[holder] - of_column[1:]
            better = ~done[1:] & (reduced < least[1:])
            least[1:][better] = reduced[better]
            came_from[1:][better] = at
            free = np.where(done[1:], np.inf, least[1:])
            nearest = int(np.argmin(free)) + 1
            step = free[nearest - 1]
            of_row[owner[done]] += step
            of_column[done] -= step
            least[~done] -= step
            at = nearest
            if owner[at] == 0:
                break
        while at:
            owner[at] = owner[came_from[at]]
            at = int(came_from[at])
    chosen = np.zeros(rows, np.int64)
    held = np.flatnonzero(owner[1:])
    chosen[owner[1:][held] - 1] = held
    return chosen
