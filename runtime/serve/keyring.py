"""The keys at work: those of the environment, and those of a file that is read again when it has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from runtime.serve.keys import KeyFileError, Keys

# A key that is revoked opens nothing from so much later on; looking costs one system call.
LOOK_EVERY_S = 1.0

Stamp = tuple[int, int, int, int]


class Keyring:
    """Which keys open this router, now; owned by one `Router`.

    Args:
        own: Keys of the environment.
        file: A file with more, or None.
        told: Gets an event when the file has changed.

    Attributes:
        keys: Those of the environment and, over them, those of the file.

    Raises:
        KeyFileError: The file cannot be used.
    """

    def __init__(self, own: Keys, file: str | None, told: Callable[[Mapping[str, object]], None]) -> None:
        self._own = own
        self._file = file
        self._told = told
        self._looked_unix_s = 0.0
        self._stamp: Stamp | None = None
        self.keys = own
        if file is not None:
            self._stamp = _stamp(file)
            self.keys = self._read(file)

    def is_due(self, now_unix_s: float) -> bool:
        """Whether it is time to look at the file; a clock that was set back makes it so."""
        return self._file is not None and not 0 <= now_unix_s - self._looked_unix_s < LOOK_EVERY_S

    async def look(self, now_unix_s: float) -> None:
        """Look at the file, and read it if it has changed.

        Only who looks waits for that; the others are served with the keys there were. What cannot be used is told and
        changes nothing.
        """
        assert self._file is not None
        self._looked_unix_s = now_unix_s
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            keys = await asyncio.to_thread(self._read, self._file)
        except KeyFileError as error:
            self._told({"event": "keys_refused", "error": str(error)})
            return
        if self._stamp == stamp:  # else a later change is being read, or has been
            self.keys = keys
            self._told({"event": "keys_loaded", "keys": len(keys)})

    def _read(self, file: str) -> Keys:
        # Imported where there is a file: TOML costs a cold start 6 ms.
        from runtime.serve.keyfile import read

        return Keys({**self._own.by_digest, **Keys.of(read(file)).by_digest})


def _stamp(path: str) -> Stamp | None:
    """Return what changes when a file does, None for one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
