"""kill -9 under load, again and again: nothing that was acknowledged is lost."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from pathlib import Path

from middlewatch import predictions, spool
from serving import Client, Server, bodies, expected, make_project, promote, publish


def test_no_acknowledged_prediction_is_lost(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    rows = bodies(20)
    right = expected("binary", 0, rows)
    acknowledged: dict[str, float] = {}
    faults: list[object] = []
    rng = random.Random(5)

    def load(url: str) -> None:
        client = Client(url)
        at = 0
        try:
            while True:
                at = (at + 1) % 20
                batch = at % 5 == 0
                answer = client.predict([rows[at], rows[0]] if batch else rows[at])
                found = answer["predictions"] if batch else [answer]
                if [one["score"] for one in found] != ([right[at], right[0]] if batch else [right[at]]):
                    faults.append(answer)
                acknowledged.update({one["id"]: one["score"] for one in found})
        except (http.client.HTTPException, OSError):
            client.close()  # the server was killed

    kills = 20 if os.environ.get("FAULTS") == "full" else 4
    for _ in range(kills):
        server = Server(tmp_path)
        threads = [threading.Thread(target=load, args=(server.url,)) for _ in range(3)]
        for one in threads:
            one.start()
        time.sleep(0.3 + rng.random() * 0.4)
        server.kill()
        for one in threads:
            one.join()
    assert faults == []
    assert len(acknowledged) > 200
    print(f"{kills} kills, {len(acknowledged)} acknowledged")
    folder = project.spool("delay")
    before = predictions.read(project.store, folder, "delay")
    kept = dict(zip(before["mw.id"], before["mw.score"], strict=True))
    assert {ident: kept.get(ident) for ident in acknowledged} == acknowledged
    assert len(kept) == before.height
    assert len(kept) - len(acknowledged) <= kills * 3 * 2, "only what was under way may be logged and not acknowledged"
    # The segments of the dead servers come into the store, once.
    done = predictions.convert(project.store, folder, "delay")
    assert done.damaged == 0
    assert spool.segments(folder) == []
    after = predictions.read(project.store, folder, "delay")
    assert after.equals(before)
