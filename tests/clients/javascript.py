"""Runs the scripts of `node/`, which print what each of their scenarios came to."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

NODE = Path(__file__).parent / "node"

CameTo = dict[str, Any]


def node() -> str:
    """Return where node is; skips the test, loudly, where it or its packages are missing."""
    found = shutil.which("node")
    if found is None or not (NODE / "node_modules").is_dir():
        if os.environ.get("REQUIRE_NODE"):
            pytest.fail("node or its packages are missing: `make node`")
        pytest.skip("JAVASCRIPT CLIENTS ARE NOT TESTED: node or its packages are missing: `make node`")
    return found


async def run(script: str, url: str) -> CameTo:
    """Run a script of `node/` against a router."""
    environ = {**os.environ, "ROUTER_URL": url, "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        node(), script, cwd=NODE, env=environ, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: CameTo = json.loads(out)
    return found


def result(came_to: CameTo, name: str) -> Any:
    """Return what a scenario came to that did not fail."""
    assert "is" in came_to[name], came_to[name]
    return came_to[name]["is"]


def failure(came_to: CameTo, name: str) -> Any:
    """Return the error that a scenario ended with."""
    assert "error" in came_to[name], came_to[name]
    return came_to[name]["error"]
