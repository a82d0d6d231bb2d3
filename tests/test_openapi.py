"""What our own OpenAPI document says is held against what the server does, by requests that a tool makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving import serving
from test_serve import ready


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_every_route_does_what_the_document_says(tmp_path: Path, task: str) -> None:
    """No 5xx, no answer that the document does not know, nothing accepted that it forbids.

    That all it allows is accepted is not asked for: values against the shape of a row, and id or key, are more than
    JSON schema can say.
    """
    ready(tmp_path, {"delay": task})
    with serving(tmp_path) as (server, _):
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
             "--max-examples", "10", "--seed", "1", "--no-color", "--generation-database", "none",
             "--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"],
            capture_output=True, text=True, cwd=tmp_path, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        assert "Tested: 20" in done.stdout
