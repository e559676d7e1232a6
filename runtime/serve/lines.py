"""Log lines to a stream that may be slow, full or gone, without ever holding up a request."""

from __future__ import annotations

import atexit
import io
import threading
from collections import deque
from typing import Protocol, TextIO

# About 1 KB a line: at most 10 MB wait for a reader that has stalled.
BACKLOG_LINES = 10_000

# Lines are gathered for so long and written at once. Waking the thread for each of them had it fight the event loop for
# the interpreter, at a fifth of the whole cost of a request (benchmarks/README.md, 2026-11).
BATCH_S = 0.02

# Of 1 KB each: what is lost together when a stream fails.
BATCH_LINES = 256

# How long the last lines may take when the process ends.
CLOSE_TIMEOUT_S = 2.0


class Stream(Protocol):
    """What lines are written to."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some bytes and return how many, None when it would have to wait."""
        ...


class Lines(Protocol):
    """Where lines go, their line ends included.

    Attributes:
        dropped: How many were lost so far.
    """

    dropped: int

    def write(self, line: bytes) -> None:
        """Take one line; never waits, never fails."""
        ...

    def close(self) -> None:
        """Let the last ones out."""
        ...


class LineWriter:
    """Writes lines from a thread of its own; what does not fit the backlog is dropped and counted.

    Args:
        stream: Unbuffered: a thread stuck inside a buffered one would hold the lock that the interpreter's exit needs.
        backlog_lines: How many may wait.

    Attributes:
        dropped: Lines lost so far, to a full backlog or a stream that failed.
    """

    def __init__(self, stream: Stream, backlog_lines: int = BACKLOG_LINES) -> None:
        self.dropped = 0
        self._stream = stream
        self._backlog_lines = backlog_lines
        # Appending to a deque takes no lock, a queue takes three; the thread is woken once for a whole batch.
        self._lines: deque[bytes] = deque()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Take one line, its line end included, to be written soon; never waits, never fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pointsman-log", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        if len(self._lines) >= self._backlog_lines:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._wanted.is_set():
            self._wanted.set()

    def close(self) -> None:
        """Write what is left, for a short while at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        self._wanted.set()
        thread.join(CLOSE_TIMEOUT_S)
        if not thread.is_alive():
            self._closing.clear()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._wanted.wait()
            # A line that comes after this is written with these or asks anew.
            self._wanted.clear()
            is_last = self._closing.wait(BATCH_S)
            while self._lines:
                self._write_batch([self._lines.popleft() for _ in range(min(len(self._lines), BATCH_LINES))])

    def _write_batch(self, lines: list[bytes]) -> None:
        try:
            _write(self._stream, b"".join(lines))
        except (OSError, ValueError):
            # A closed pipe or a full disk: the requests go on without their lines.
            self.dropped += len(lines)


class HeldLines:
    """Holds lines until it is told that nobody waits: for a process that stands still as soon as it has answered.

    Args:
        stream: Unbuffered.

    Attributes:
        dropped: Lines lost so far, to a stream that failed.
    """

    def __init__(self, stream: Stream) -> None:
        self.dropped = 0
        self._stream = stream
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Hold one line."""
        self._lines.append(line)

    def flush(self) -> None:
        """Write what is held; waits for the stream, never fails."""
        lines, self._lines = self._lines, []
        try:
            if lines:
                _write(self._stream, b"".join(lines))
        except (OSError, ValueError):
            self.dropped += len(lines)

    def close(self) -> None:
        """Write what is held."""
        self.flush()


def unbuffered(stream: TextIO) -> Stream:
    """Return what is below a text stream, without a buffer where that can be had."""
    try:
        return open(stream.fileno(), "wb", buffering=0, closefd=False)
    except io.UnsupportedOperation:
        return stream.buffer


def _write(stream: Stream, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = stream.write(left)
        if not written:
            raise BlockingIOError
        left = left[written:]
