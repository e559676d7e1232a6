"""Log lines to a stream that may be slow, full or gone, without ever holding up a request."""

from __future__ import annotations

import atexit
import queue
import threading
from typing import Protocol

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
        self._lines: queue.Queue[bytes | None] = queue.Queue(backlog_lines)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def write(self, line: bytes) -> None:
        """Take one line, its line end included, to be written soon; never waits, never fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pointsman-log", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left, for a short while at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        try:
            self._lines.put(None, timeout=CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._closing.wait(BATCH_S)
            lines, is_last = self._waiting(line)
            try:
                self._write(b"".join(lines))
            except (OSError, ValueError):
                # A closed pipe or a full disk: the requests go on without their lines.
                self.dropped += len(lines)
            if is_last:
                return

    def _waiting(self, first: bytes) -> tuple[list[bytes], bool]:
        """Return all lines that wait, and whether the end is among them."""
        lines = [first]
        while len(lines) < BATCH_LINES:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            if line is None:
                return lines, True
            lines.append(line)
        return lines, False

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = self._stream.write(left)
            if not written:
                raise BlockingIOError
            left = left[written:]
