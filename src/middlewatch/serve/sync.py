"""`durability = "power"`: an answer waits until its log record is on the disk.

No timer: one thread forces the log while the next requests write theirs, and whoever came meanwhile shares the
next force. Nothing of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
import threading

from ..errors import OutOfReach
from ..spool import Spool

__all__ = ["GroupCommit"]

_Waiter = tuple[Spool, "asyncio.Future[None]"]


class GroupCommit:
    """Forces logs to disk for the requests of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[_Waiter] = []
        self._arrived = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="middlewatch-sync", daemon=True)
        self._thread.start()

    async def durable(self, log: Spool) -> None:
        """Wait until everything appended to `log` so far is on the disk. Raises OutOfReach where it is not."""
        done = asyncio.get_running_loop().create_future()
        with self._arrived:
            self._waiting.append((log, done))
            self._arrived.notify()
        await done

    def stop(self) -> None:
        with self._arrived:
            self._stopped = True
            self._arrived.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting or self._stopped)
                waiters, self._waiting = self._waiting, []
                if not waiters:
                    return
            failed: dict[int, OutOfReach] = {}
            for log in {id(log): log for log, _ in waiters}.values():
                try:
                    log.sync()
                except OutOfReach as error:
                    failed[id(log)] = error
            loop = waiters[0][1].get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, [(done, failed.get(id(log))) for log, done in waiters])


def _settle(done: list[tuple[asyncio.Future[None], OutOfReach | None]]) -> None:
    for future, error in done:
        if future.done():
            continue  # its client has gone
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
