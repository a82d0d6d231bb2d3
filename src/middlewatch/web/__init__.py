"""The pages: plain HTML made on the server, readable on a phone at 2am, with no script and nothing from outside.

    app        paths to pages, headers, errors; the one ASGI callable
    home, incident, features, versions, requests
               one page each: `facts` reads stored records into plain JSON, `page` draws the same facts
    acts       what a button does, what its confirm page says beforehand, and how it is undone
    guard      who may press it
    words      numbers and times as people read them
    http       a request, an answer; rendering: templates

Home and incident read stored JSON alone and import neither polars nor numpy; features and requests do, in a
worker thread and only when asked for.
"""

from __future__ import annotations

from .app import pages

__all__ = ["pages"]
