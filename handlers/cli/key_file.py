"""Writing a key file: one writer at a time, in one step, for its owner alone; what people wrote in it stays."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self

from runtime.serve import keyfile

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Exclusive:
    """A key file that nobody else writes meanwhile.

    The lock is on the file itself. Whoever waited for one that was replaced meanwhile waits for its successor.

    Args:
        create: Make an empty one where there is none.

    Attributes:
        text: What is in it.

    Raises:
        OSError: It cannot be opened.
        runtime.serve.keys.KeyFileError: It is no text.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path = Path(os.path.realpath(path))  # a link stays one
        self._create = create
        self._lock = -1
        self.text = ""

    def __enter__(self) -> Self:
        while True:
            lock = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if self._create else 0), 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(self._path)):
                    break
            os.close(lock)
        self._lock = lock
        try:
            self.text = keyfile.text_of(str(self._path))
        except BaseException:
            os.close(lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def replace(self, text: str) -> None:
        """Put this text in its place: a reader sees the old file or the whole new one.

        Raises:
            OSError: The folder cannot be written.
        """
        # A temporary file is its owner's alone, and so is what becomes of it.
        with NamedTemporaryFile(dir=self._path.parent, prefix=f".{self._path.name}.", delete=False) as temporary:
            try:
                temporary.write(text.encode())
                temporary.flush()
                os.fsync(temporary.fileno())
                os.replace(temporary.name, self._path)
            except BaseException:
                os.unlink(temporary.name)
                raise


def table(name: str, said: Mapping[str, object]) -> str:
    """Return the TOML of one key."""
    lines = [f"[{_named(name)}]", *(f"{_named(field)} = {_value(value)}" for field, value in said.items())]
    return "\n".join(lines) + "\n"


def inserted(text: str, name: str, line: str) -> str | None:
    """Return the text with one more line at the end of a key's head, or None where that does not do."""
    heads = (f"[{name}]", f'["{name}"]', f"['{name}']")
    lines = text.splitlines(keepends=True)
    for place, head in enumerate(lines):
        if head.partition("#")[0].replace(" ", "").strip() not in heads:
            continue
        lines[place] = head if head.endswith("\n") else f"{head}\n"
        kept = lines[place + 1 :]
        # `revoked = false` gives way.
        for later, each in enumerate(kept):
            if each.lstrip().startswith("["):
                break
            if re.match(r"\s*revoked\s*=", each):
                del kept[later]
                break
        changed = "".join([*lines[: place + 1], f"{line}\n", *kept])
        return changed if _is_only_revoked(text, changed, name) else None
    return None


def _is_only_revoked(before: str, after: str, name: str) -> bool:
    with suppress(ValueError):
        old, new = keyfile.parse(before, ""), keyfile.parse(after, "")
        changed = [b for a, b in zip(old, new, strict=True) if a != b]
        return len(changed) == 1 and changed[0].attributes["id"] == name and changed[0].revoked
    return False


def _named(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _value(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case list():
            return f"[{', '.join(map(_value, value))}]"
    # JSON's strings in ASCII are TOML's, but for characters beyond the first plane, which TOML writes otherwise.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
