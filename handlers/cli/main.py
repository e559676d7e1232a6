"""The `pointsman` command: picks the subcommand and imports nothing else, so that `serve` stays light."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from handlers.cli.output import FOUND, OK, USAGE, complain

COMMANDS = {
    "serve": "answer requests as a policy says",
    "check": "say everything that is wrong with a policy",
    "explain": "say where a request would go, and why",
    "test": "run the tests written in policies",
    "diff": "say which requests a change of a policy re-routes",
    "bounds": "say the worst each rule can do: attempts, wait, cost",
    "fmt": "lay out policies the one way",
    "build": "compile a policy into a plan",
    "usage": "add up what was spent, from the log",
    "keys": "make, list and revoke the keys of clients",
    "lsp": "the language server that editors start",
}

LASTING = ("lsp",)
"""Commands that go on building trees for hours."""

INTERRUPTED = 130
"""What shells report for a command ended by Ctrl-C."""


class Command(Protocol):
    """A module of this package that is a command."""

    def main(self, argv: Sequence[str]) -> int:
        """Run with the arguments behind the command's name and return the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pointsman ARGS` and return its exit code: 0 fine, 1 findings or failure, 2 wrong use."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no `→` shows a question mark instead of a traceback.
            stream.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. Python flushes stdout once more at exit: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND
    return code


def _run(arguments: Sequence[str]) -> int:
    commands = {name: line for name, line in COMMANDS.items() if find_spec(f"handlers.cli.{name}") is not None}
    if not arguments:
        print(_usage(commands), file=sys.stderr)
        return USAGE
    first = arguments[0]
    if first in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[1] in commands:
            return _command(arguments[1], ["--help"])
        print(_usage(commands))
        return OK
    if first in ("-V", "--version", "version"):
        print(f"pointsman {_version()}")
        return OK
    if first not in commands:
        from difflib import get_close_matches  # for slips alone

        near = get_close_matches(first, commands, n=1)
        kind = "option" if first.startswith("-") else "command"
        complain(f"unknown {kind} `{first}`", f"did you mean `{near[0]}`?" if near else "see `pointsman --help`")
        return USAGE
    return _command(first, arguments[1:])


def _command(name: str, arguments: Sequence[str]) -> int:
    # Commands build their trees and end, and a server begins to collect when it is ready. Searching those trees for
    # cycles, of which there are none, took a fifth to a third of the time at 10,000 rules and a tenth of a start (two
    # shared cores, 2026-11), and finding none saved no memory.
    collecting = gc.isenabled()
    if name not in LASTING:
        gc.disable()
    try:
        return cast("Command", import_module(f"handlers.cli.{name}")).main(arguments)
    except SystemExit as stop:
        # How argparse ends a command, after `--help` and after a wrong option.
        return stop.code if isinstance(stop.code, int) else OK if stop.code is None else USAGE
    finally:
        if collecting:
            gc.enable()


def _usage(commands: dict[str, str]) -> str:
    lines = ["usage: pointsman COMMAND …", "", "An LLM inference router whose policies read like sentences.", ""]
    lines += [f"  {name:<8} {line}" for name, line in commands.items()]
    lines += ["", "pointsman COMMAND --help says more; pointsman --version says which one this is."]
    return "\n".join(lines)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pointsman")
    except PackageNotFoundError:
        return "(from source, not installed)"


if __name__ == "__main__":
    sys.exit(main())
