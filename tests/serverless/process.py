"""A Lambda runtime process of ours, as Lambda would start it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from router_dsl.plan import encode
from tests.serve.desk import compiled

ROOT = Path(__file__).resolve().parents[2]

POLICY = """
provider one  { url "sim://one?ttft=1ms&speed=10000"  protocol sim }
provider slow { url "sim://slow?ttft=1ms&speed=20" protocol sim }
model small { context 8k  serve one "up-small"  price $0.10 in $0.20 out }
model drip  { context 8k  serve slow "up-drip"  price $0.10 in $0.20 out }
policy chat { otherwise -> requested else small }
"""


def plan(folder: Path, policy: str = POLICY) -> Path:
    """Write a policy's plan into a folder."""
    path = folder / "policy.plan"
    path.write_bytes(encode(compiled(policy)))
    return path


@contextlib.asynccontextmanager
async def runtime(
    address: str, plan: Path | None, *flags: str, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a runtime; ended when the block is left."""
    env = {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": address,
        "POINTSMAN_ANONYMOUS": "1",
        **({"POINTSMAN_POLICY": str(plan)} if plan else {}),
        **environ,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, *flags, "-m", "handlers.aws_lambda", cwd=ROOT, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
