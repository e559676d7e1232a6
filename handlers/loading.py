"""From a policy file and the environment to a router, or to a refusal that its author has been told about."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from handlers.cli.output import complain, show
from handlers.compiled import compile_file
from router_dsl.plan import Plan, PlanError
from router_dsl.seal import Key, KeyTextError
from runtime.dispatch.outgoing import UnusableKeyError
from runtime.serve.app import RefusedError
from runtime.serve.keys import KeyFileError
from runtime.serve.lines import LineWriter, Stream
from runtime.serve.log import ConsoleLog, JsonLog
from runtime.serve.router import Log, Router
from runtime.serve.settings import SettingError, Settings

SHIPPED = Path(__file__).resolve().parent.parent / "rules" / "default.route"
"""What is served when nobody says what: simulated providers, and the real ones whose keys are set."""


class NoFileError(RefusedError):
    """The policy file does not exist or cannot be read."""


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    Raises:
        RefusedError: A setting is unusable; stderr says which.
    """
    try:
        return Settings.read(environ)
    except SettingError as error:
        complain(str(error))
        raise RefusedError from error


def plan_of(file: Path, root: Path | None = None, keys: Sequence[Key] = ()) -> Plan:
    """Return the plan of a `.route` or `.plan` file; warnings go to stderr.

    Args:
        root: Folder that imports may not leave; the file's own unless said.
        keys: One of them must have signed the plan; a `.route` cannot be signed, and is refused where there are keys.

    Raises:
        NoFileError: It cannot be read; stderr says so.
        RefusedError: It is not a usable plan, or does not compile; stderr says why.
    """
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if keys and file.suffix != ".plan":
            complain(
                f"`{file}` is not signed, and POINTSMAN_PLAN_KEY is set",
                "serve what `pointsman build --sign` makes of it",
            )
            raise RefusedError
        compiled = compile_file(file, root, keys)
    except OSError as error:
        complain(f"`{file}`: {(error.strerror or str(error)).lower()}")
        raise NoFileError from error
    except PlanError as error:
        complain(f"`{file}`: {error}")
        raise RefusedError from error
    except KeyTextError as error:
        complain(f"POINTSMAN_PLAN_KEY: {error}")
        raise RefusedError from error
    show(compiled.diagnostics, sys.stderr)
    if compiled.plan is None:
        complain(f"`{file}` does not compile")
        raise RefusedError
    return compiled.plan


def router_of(plan: Plan, settings: Settings, log: Log) -> Router:
    """Return a router for the plan with the keys of this process's environment.

    Raises:
        RefusedError: A key, or the file of the clients' keys, is unusable; stderr says which.
    """
    try:
        return Router.open(plan, settings, os.environ, log)
    except (UnusableKeyError, KeyFileError) as error:
        complain(str(error))
        raise RefusedError from error


def log_to(stream: TextIO, *, json_lines: bool) -> Log:
    """Return a log on a stream: JSON lines, or readable ones where a person looks and did not ask for JSON."""
    lines = LineWriter(_unbuffered(stream))
    if json_lines or not stream.isatty():
        return JsonLog(lines)
    return ConsoleLog(lines, color=not os.environ.get("NO_COLOR"))


def _unbuffered(stream: TextIO) -> Stream:
    try:
        return open(stream.fileno(), "wb", buffering=0, closefd=False)
    except io.UnsupportedOperation:
        return stream.buffer
