"""Where plans come from: a file; what is elsewhere is in `remote.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

# A plan of 100,000 rules has 7 MB (benchmarks/families.py). What is ten times as large is some other file.
MOST_BYTES = 64 * 1024 * 1024


class SourceError(Exception):
    """The plan could not be fetched; the message says why, the one in service stays and it is tried again."""


class UnusableError(Exception):
    """What is there now gives no plan; `tag` is its mark, so that it is not tried again before it changes."""

    def __init__(self, reason: str, tag: str) -> None:
        super().__init__(reason)
        self.tag = tag


@dataclass(frozen=True, slots=True)
class Fetched:
    """An encoded plan, and a mark that changes when it does: an ETag, or what a file system tells."""

    data: bytes
    tag: str


class Source(Protocol):
    """Somewhere a plan can be had, again and again.

    Attributes:
        name: What it is called in messages; holds no secret.
    """

    name: str

    async def fetch(self, known: str | None) -> Fetched | None:
        """Return the plan, or None when it still bears the mark `known`.

        Raises:
            SourceError: It cannot be had now.
            UnusableError: What is there gives no plan.
        """
        ...


def is_remote(where: str) -> bool:
    """Whether a policy is not a file of this machine."""
    return "://" in where


def shown(where: str) -> str:
    """Return a policy's place as it may be told: without user and query, which may hold secrets."""
    if not is_remote(where):
        return where
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class FileSource:
    """A `.plan` file on this machine."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    async def fetch(self, known: str | None) -> Fetched | None:
        """Return the file if it has changed.

        Raises:
            SourceError: It cannot be read.
        """
        # Another thread: the folder may be on a network.
        return await asyncio.to_thread(self.read, known)

    def tag(self, began_ns: int) -> str | None:
        """Return the mark of the file as it is, or None when it was written since `began_ns`, or is gone."""
        return settled_tag((self._path,), began_ns)

    def read(self, known: str | None) -> Fetched | None:
        """Do the same at once."""
        try:
            tag = file_tag(self._path)
            if tag == known:
                return None
            data = self._path.read_bytes()
        except OSError as error:
            raise SourceError((error.strerror or str(error)).lower()) from error
        return Fetched(data, tag)


# A file system counts time in ticks of up to 10 ms: a file written in the same tick may look older than a look at it.
TICK_NS = 20_000_000


def settled_tag(files: Sequence[Path], began_ns: int) -> str | None:
    """Return the mark of files that were read since `began_ns`, or None when one may have been written meanwhile."""
    try:
        if any(file.stat().st_mtime_ns >= began_ns - TICK_NS for file in files):
            return None
        return files_tag(files)
    except OSError:
        return None


def files_tag(files: Sequence[Path]) -> str:
    """Return one mark of several files; that one is gone is a change, too, but the first must be there.

    Raises:
        OSError: It is not.
    """
    marks = [file_tag(files[0])]
    for file in files[1:]:
        try:
            marks.append(file_tag(file))
        except OSError:
            marks.append("gone")
    return " ".join(marks)


def file_tag(path: Path) -> str:
    """Return a mark that changes when a file is written, or another one is put in its place.

    Raises:
        OSError: There is none.
    """
    found = os.stat(path)
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
