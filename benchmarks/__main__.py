"""`make bench`: every benchmark, one after the other; `python -m benchmarks.NAME --help` says more of each."""

from __future__ import annotations

import subprocess
import sys

EVERY = ("decision", "authoring", "estimators", "transport", "gateway")


def main() -> int:
    worst = 0
    for name in EVERY:
        print(f"\n== benchmarks.{name}\n", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
