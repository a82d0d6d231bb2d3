"""Serving: a request in, an answer out, and nothing answered that is not logged.

    app        paths, headers, errors: the ASGI callable
    scorer     bytes in, bytes out: read, encode, predict, log; no HTTP
    live       which version answers, by following the journal; built whole, then one reference is swapped
    loading    a version that does not load, as an incident
    labels     outcomes that come later: checked, kept, joined by the monitor
    facts      what the monitor knows, as gauges, read by a child now and then
    sync       answers that wait until the log is on the disk
    keys       who may ask
    metrics    counts for /metrics, summed over processes
    openapi    the interface as a document and as a page
    run        processes: workers, their supervisor, the child that turns segments into Parquet
    shadow      a second version on the same rows, in the child that files them
    worker, convert   entry points of those processes

This path imports neither polars nor numpy nor the lightgbm package.
"""
