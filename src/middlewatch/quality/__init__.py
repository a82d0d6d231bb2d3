"""How good predictions turned out to be, once their outcomes are known: pure numbers, no disk, no clock.

    sums       a loss of many rows as n, total, squares: days add up
    losses     what one row's prediction cost, and the task's metrics with intervals
    watch      a window's mean loss against its own past; slow decay against a reference
    estimate   what the scores themselves expect, before any outcome is known
    slices     where the loss is highest

Only `losses` and `estimate` load numpy, so that what reads stored sums stays quick.
"""
