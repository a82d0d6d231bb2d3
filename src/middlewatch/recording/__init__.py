"""Watching a service that exists already, from inside it: middleware, a decorator, one call.

    shape       where inputs, answer and id stand in the service's own words
    reading     a row and its answer, as the schema understands them
    recorder    the bounded queue and the one thread that writes
    asgi wsgi   middleware
    calls       the decorator, and `log`

In the host's request nothing is parsed and nothing is waited for: two bodies go into a queue. What is wrong is counted,
kept beside the log for `doctor`, and said once to `logging`; nothing is raised. Loads neither polars nor numpy.
"""

from __future__ import annotations

from .asgi import Middleware
from .calls import Logged, log, watch
from .wsgi import WSGIMiddleware

__all__ = ["Logged", "Middleware", "WSGIMiddleware", "log", "watch"]
