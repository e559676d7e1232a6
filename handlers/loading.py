"""From a policy file and the environment to a router, or to a refusal that its author has been told about."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TextIO

from handlers import plan_cache
from handlers.cli.output import complain, show
from handlers.compiled import Compiled, compile_file
from handlers.route_source import RouteSource
from router_dsl.plan import Plan, PlanError
from router_dsl.seal import Key, KeyTextError
from runtime.dispatch.dispatcher import NOTHING
from runtime.dispatch.outgoing import UnusableProviderError
from runtime.serve.app import RefusedError
from runtime.serve.keys import KeyFileError
from runtime.serve.lines import LineWriter, unbuffered
from runtime.serve.log import ConsoleLog, JsonLog
from runtime.serve.renewal import RefusedPlanError, Renewal, examine
from runtime.serve.router import Log, Router
from runtime.serve.settings import FILE_REFRESH_S, REMOTE_REFRESH_S, SettingError, Settings
from runtime.serve.source import Fetched, FileSource, Source, SourceError, is_remote

START_S = 2.0
"""How long a start waits for a plan from elsewhere when there is another to begin with."""

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
    plan = _compiled(file, root, keys).plan
    assert plan is not None
    return plan


def _compiled(file: Path, root: Path | None, keys: Sequence[Key]) -> Compiled:
    """Return what `plan_of` does, with the files it was made of."""
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if keys and file.suffix != ".plan":
            complain(
                f"`{file}` is not signed, and POINTSMAN_PLAN_KEY is set",
                "serve what `pointsman build --sign` makes of it",
            )
            raise RefusedError
        compiled = compile_file(file, root, keys) if file.suffix == ".plan" else _from_source(file, root)
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
    return compiled


def _from_source(file: Path, root: Path | None) -> Compiled:
    """Return the plan of a `.route`, compiled now or lately."""
    found = plan_cache.find(file, root)
    if found is not None:
        return Compiled(found[0], [], found[1])
    began_ns = time.time_ns()
    # What is proved is proved by `check` and `build`, before it ships: a start has no seconds for it.
    compiled = compile_file(file, root, proving=False)
    if compiled.plan is not None and not compiled.diagnostics:
        plan_cache.keep(file, root, compiled.plan, compiled.files, began_ns)
    gc.collect()  # what compiling leaves behind, before a server freezes what it finds
    return compiled


def router_at(
    where: str,
    settings: Settings,
    log: Log,
    root: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    secrets: Mapping[str, str] = NOTHING,
) -> Router:
    """Return a router for the policy at a place, which takes over what is found there later.

    Args:
        where: A `.route` or `.plan` file, or the address of a plan. While it is unusable, the settings' fallback is
            served, if there is one.
        settings: Of this process.
        log: Gets the router's events.
        root: Folder that imports may not leave; else the settings', else the file's own.
        environ: Where `key env.NAME` is looked up.
        secrets: Where `key secret NAME` is looked up.

    Raises:
        NoFileError: There is no such file; stderr says so.
        RefusedError: There is nothing to serve; stderr says why.
    """
    if root is None and settings.root:
        root = Path(settings.root)
    if is_remote(where):
        source, every_s = _remote(where, environ), REMOTE_REFRESH_S
        begin = partial(_from_afar, source, settings)
    else:
        source, every_s = _file_source(Path(where), root), FILE_REFRESH_S
        begin = partial(_from_file, source, Path(where), root, settings)
    try:
        plan, tag = begin()
    except RefusedError:
        if settings.policy_fallback is None:
            raise
        plan, tag = plan_of(Path(settings.policy_fallback), root, settings.plan_keys), None
        complain(f"serving the fallback `{settings.policy_fallback}` until `{source.name}` is usable")
    router = router_of(plan, settings, log, environ, secrets)
    if settings.policy_refresh_s is not None:
        every_s = settings.policy_refresh_s
    if every_s:
        router.renewal = Renewal(source, every_s, settings.plan_keys, tag=tag)
    return router


def _from_file(
    source: FileSource | RouteSource, path: Path, root: Path | None, settings: Settings
) -> tuple[Plan, str | None]:
    """Return the plan that is there now, and its mark, None when it is to be looked at again."""
    began_ns = time.time_ns()
    compiled = _compiled(path, root, settings.plan_keys)
    assert compiled.plan is not None
    if isinstance(source, RouteSource):
        source.files = compiled.files
    return compiled.plan, source.tag(began_ns)


def _file_source(path: Path, root: Path | None) -> FileSource | RouteSource:
    return FileSource(path) if path.suffix == ".plan" else RouteSource(path, root)


def _remote(where: str, environ: Mapping[str, str]) -> Source:
    # Not for who serves a file: what knows of clouds costs a start 3 ms.
    from runtime.serve.remote import AddressError, remote

    try:
        return remote(where, environ)
    except AddressError as error:
        complain(str(error))
        raise RefusedError from error


def _from_afar(source: Source, settings: Settings) -> tuple[Plan, str | None]:
    """Return the plan that is there now, and its mark; with a fallback it is not waited for long."""
    within_s = None if settings.policy_fallback is None else START_S
    try:
        fetched = _at_once(source, within_s)
        return examine(fetched.data, settings.plan_keys).plan, fetched.tag
    except (SourceError, RefusedPlanError) as error:
        complain(f"`{source.name}`: {error}")
        raise RefusedError from error


def _at_once(source: Source, within_s: float | None) -> Fetched:
    """Return what a source has, from whatever thread and loop this runs in."""

    async def fetch() -> Fetched:
        try:
            async with asyncio.timeout(within_s):
                found = await source.fetch(None)
        except TimeoutError as error:
            raise SourceError(f"no answer within {within_s:g} s") from error
        assert found is not None
        return found

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fetch()).result()


def router_of(
    plan: Plan,
    settings: Settings,
    log: Log,
    environ: Mapping[str, str] = os.environ,
    secrets: Mapping[str, str] = NOTHING,
) -> Router:
    """Return a router for the plan.

    Args:
        plan: What it decides by.
        settings: How it serves.
        log: Gets one event for each request.
        environ: Where `key env.NAME` is looked up.
        secrets: Where `key secret NAME` is looked up.

    Raises:
        RefusedError: A key, the file of the clients' keys, or a setting is unusable; stderr says which.
    """
    try:
        return Router.open(plan, settings, environ, log, secrets=secrets)
    except (UnusableProviderError, KeyFileError, SettingError) as error:
        complain(str(error))
        raise RefusedError from error


def log_to(stream: TextIO, *, json_lines: bool) -> Log:
    """Return a log on a stream: JSON lines, or readable ones where a person looks and did not ask for JSON."""
    lines = LineWriter(unbuffered(stream))
    if json_lines or not stream.isatty():
        return JsonLog(lines)
    return ConsoleLog(lines, color=not os.environ.get("NO_COLOR"))
