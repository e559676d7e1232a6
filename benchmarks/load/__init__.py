"""The upstream and the load generator of the gateway benchmarks, in C, built on first use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class NoCompilerError(RuntimeError):
    """There is no C compiler on this machine."""


def build(folder: Path) -> tuple[Path, Path]:
    """Compile both programs into `folder`; return the upstream's and the load generator's path.

    Raises:
        NoCompilerError: Neither `cc` nor `gcc` is there.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("the gateway benchmarks need a C compiler (`cc`) for their upstream and load generator")
    built = []
    for name in ("upstream", "load"):
        out = folder / name
        subprocess.run([compiler, "-O2", "-w", "-o", str(out), str(HERE / f"{name}.c")], check=True)
        built.append(out)
    return built[0], built[1]
