"""Plans of `.route` files that did not change since they were compiled, in the user's cache folder.

Compiling costs a start a third of a second, nearly all of it for the grammar's tables. An entry is taken when every
file that went into it has the content it had, and the compiler is the one that made it; a policy with findings has no
entry, since they must be seen. The folder is the user's alone, or nothing is read from it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

import router_dsl
from router_dsl.plan import FORMAT, Plan, PlanError, decode, encode
from runtime.serve.source import TICK_NS

# A person works on a few policies; what was used longest ago goes.
MOST_ENTRIES = 32


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """A compiled policy: who compiled it, from what (path and SHA-256), and the plan."""

    compiler: str
    sources: tuple[tuple[str, bytes], ...]
    plan: bytes


def find(path: Path, root: Path | None) -> tuple[Plan, tuple[Path, ...]] | None:
    """Return the plan of a `.route` file and the files it was compiled from, if they and the compiler are the same."""
    try:
        entry = msgspec.msgpack.decode(_place(path, root).read_bytes(), type=_Entry)
        if entry.compiler != _compiler() or not _is_ours(_folder()):
            return None
        files = tuple(Path(name) for name, _ in entry.sources)
        if any(_digest(file) != digest for file, (_, digest) in zip(files, entry.sources, strict=True)):
            return None
        return decode(entry.plan), files
    except (OSError, RuntimeError, msgspec.MsgspecError, PlanError):
        return None


def keep(path: Path, root: Path | None, plan: Plan, files: Sequence[Path], began_ns: int) -> None:
    """Keep a plan that was compiled without findings; not when a file has changed since `began_ns`, or in vain."""
    with contextlib.suppress(OSError, RuntimeError):
        sources = tuple((str(file), _digest(file)) for file in files)
        if any(file.stat().st_mtime_ns >= began_ns - TICK_NS for file in files):
            return
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = _place(path, root)
        temporary = place.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.msgpack.encode(_Entry(_compiler(), sources, encode(plan))))
        os.replace(temporary, place)
        entries = sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
        for old in entries[:-MOST_ENTRIES]:
            old.unlink(missing_ok=True)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pointsman" / "plans"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can put plans here."""
    found = folder.stat()
    is_open = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return os.name == "nt" or (found.st_uid == os.getuid() and not is_open)


def _place(path: Path, root: Path | None) -> Path:
    # As they are written, too: findings name files as they were called.
    named = "\0".join((os.getcwd(), str(path), "" if root is None else str(root)))
    return _folder() / sha256(named.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _digest(file: Path) -> bytes:
    return sha256(file.read_bytes()).digest()


def _compiler() -> str:
    """Return a mark of the compiler: of every file of it, so that who changes it need not remember to say so."""
    digest = sha256(f"{FORMAT} {sys.version_info[:2]}".encode())
    base = os.path.dirname(router_dsl.__file__)
    for folder in (base, *(entry.path for entry in os.scandir(base) if entry.is_dir())):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.endswith((".py", ".lark")):
                found = entry.stat()
                digest.update(f"{entry.path} {found.st_size} {found.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
