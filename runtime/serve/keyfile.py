"""A file of API keys: one TOML table for each, named after it, with the SHA-256 of the key and what it may do.

[anna]
sha256   = "9f86d081884c7d65…"
tenant   = "acme"            # anything else that is text, a number or a bool: `key.tenant` in a policy
policies = ["chat"]          # optional: those it may ask
models   = ["llama-70b"]     # optional: those it may ask for
expires  = 2027-01-01        # optional
revoked  = true              # optional
"""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
from datetime import UTC, date, datetime, time
from typing import cast

from runtime.serve.keys import Key, KeyFileError, digest_of

# A hundred thousand keys. Beyond it the file is something else.
MAX_BYTES = 16 * 1024 * 1024

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
"""What a key can be called."""

RESERVED = ("id", "sha256", "created", "expires", "revoked", "policies", "models", "metrics")
"""What is said of a key and is not one of its attributes."""

ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What an attribute can be called."""

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


def read(path: str) -> tuple[Key, ...]:
    """Return the keys of a file.

    Raises:
        KeyFileError: It cannot be read, or says something unusable.
    """
    return parse(text_of(path), path)


def text_of(path: str) -> str:
    """Return the text of a key file.

    Raises:
        KeyFileError: It cannot be read, or is no text.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would have us wait
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise KeyFileError(f"{path}: it is no file of keys")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_BYTES:
        raise KeyFileError(f"{path}: it is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeyFileError(f"{path}:{line}: it is not UTF-8") from error


def parse(text: str, path: str) -> tuple[Key, ...]:
    """Return the keys that the text of a key file lists.

    Raises:
        KeyFileError: It says something unusable.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeyFileError(_syntax(str(error), text, path)) from error
    except RecursionError as error:
        raise KeyFileError(f"{path}: it is nested too deeply") from error
    keys: dict[bytes, Key] = {}
    for name, said in found.items():
        try:
            key = _key(name, said)
            if key.digest in keys:
                raise _Wrong(f"is the same key as `{keys[key.digest].attributes['id']}`", "sha256")
        except _Wrong as wrong:
            line = _line_of(text, name, wrong.field)
            raise KeyFileError(f"{path}:{line}: `{_shown(name)}` {wrong}") from wrong
        keys[key.digest] = key
    return tuple(keys.values())


class _Wrong(Exception):  # noqa: N818 — never seen outside: it becomes a KeyFileError
    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def _key(name: str, said: object) -> Key:
    if NAME.fullmatch(name) is None:
        raise _Wrong("is no name for a key: letters, digits and `._@+-`, 64 at most")
    if not isinstance(said, dict):
        raise _Wrong("is not a table: a key is `[NAME]` with its `sha256` below")
    table = cast("dict[str, object]", said)
    written = table.get("sha256")
    digest = digest_of(written) if isinstance(written, str) else None
    if digest is None:
        raise _Wrong("needs its `sha256`, 64 hex digits", "sha256" if "sha256" in table else None)
    revoked = table.get("revoked", False)
    if not isinstance(revoked, bool | date):
        raise _Wrong("`revoked` must be true, false or a date", "revoked")
    sees_metrics = table.get("metrics", False)
    if not isinstance(sees_metrics, bool):
        raise _Wrong("`metrics` must be true or false", "metrics")
    attributes = {key: _attribute(key, value) for key, value in table.items() if key not in RESERVED}
    return Key(
        digest,
        {**attributes, "id": name},
        _instant(table, "expires"),
        revoked is not False,
        _names(table, "policies"),
        _names(table, "models"),
        sees_metrics,
    )


def _attribute(name: str, value: object) -> str:
    if ATTRIBUTE.fullmatch(name) is None:
        raise _Wrong(f"`{_shown(name)}` is no name for an attribute", name)
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
    raise _Wrong(f"`{name}` must be text, a number or a bool", name)


def _instant(table: dict[str, object], name: str) -> float | None:
    """Return a date's beginning, or a time, in Unix seconds; UTC unless it says otherwise."""
    match table.get(name):
        case None:
            return None
        case datetime() as moment:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        case date() as day:
            return datetime.combine(day, time(), UTC).timestamp()
    raise _Wrong(f"`{name}` must be a date or a time such as 2027-01-01, without quotes", name)


def _names(table: dict[str, object], name: str) -> frozenset[str] | None:
    said = table.get(name)
    if said is None:
        return None
    if not isinstance(said, list) or not all(isinstance(each, str) and each for each in said):
        raise _Wrong(f'`{name}` must be a list of names such as ["chat"]', name)
    return frozenset(cast("list[str]", said))


def _syntax(message: str, text: str, path: str) -> str:
    place = _PLACE.search(message)
    last = text.count("\n") + (not text.endswith("\n"))
    line = place[1] if place and place[1] else str(max(1, last))
    # What the parser quotes of a file that holds digests is left out.
    return f"{path}:{line}: this is not TOML: {_PLACE.sub('', message).split(': ')[0].lower()}"


def _line_of(text: str, name: str, field: str | None) -> int:
    """Return the line on which a field of a key is said, or else the key, as files are usually written."""
    lines = text.splitlines()
    start = _first(lines, 0, rf"\[\s*[\"']?{re.escape(name)}[\"']?\s*\]") or _first(
        lines, 0, rf"[\"']?{re.escape(name)}\b"
    )
    return (field and start and _first(lines, start, rf"[\"']?{re.escape(field)}[\"']?\s*=")) or start or 1


def _first(lines: list[str], start: int, pattern: str) -> int | None:
    """Return the number of the first line behind so many that begins like this."""
    begins = re.compile(rf"\s*{pattern}")
    return next((number for number, line in enumerate(lines[start:], start + 1) if begins.match(line)), None)


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:64])
