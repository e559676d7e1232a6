"""`make bench`: every benchmark, one after the other; `python -m benchmarks.NAME --help` says more of each.

python -m benchmarks [--peers DIR]
"""

from __future__ import annotations

import subprocess
import sys

EVERY = (
    "decision", "authoring", "editor", "estimators", "transport", "translation", "gateway", "outage", "coldstart",
    "start", "store", "openrouter",
)  # fmt: skip
WITH_PEERS = ("gateway", "outage", "start")
"""Those that take `--peers DIR`."""


def main() -> int:
    worst = 0
    for name in EVERY:
        print(f"\n== benchmarks.{name}\n", flush=True)
        more = sys.argv[1:] if name in WITH_PEERS else []
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *more], check=False)
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
