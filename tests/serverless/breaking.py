"""A function whose application breaks in the middle of its answer; run as a runtime of its own."""

from __future__ import annotations

import os
import sys

from handlers.lambda_runtime.loop import run
from handlers.lambda_runtime.slot import Terms
from tests.serverless.stage import Stage, breaks

if __name__ == "__main__":
    sys.exit(run(Stage(breaks), os.environ, Terms(may_freeze=False)))
