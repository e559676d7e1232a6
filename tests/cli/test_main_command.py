"""The `pointsman` command itself: which subcommands there are, versions, wrong use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from handlers.cli.main import COMMANDS, main


def test_without_a_command_it_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: pointsman COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_lists_the_commands_there_are(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument]) == 0
    shown = capsys.readouterr().out
    for name in ("serve", "explain"):
        assert f"  {name}" in shown


@pytest.mark.parametrize("name", ["serve", "explain"])
@pytest.mark.parametrize("form", [["{}", "--help"], ["help", "{}"]])
def test_every_command_has_help(name: str, form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(name) for word in form]) == 0
    assert f"usage: pointsman {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pointsman ")


def test_a_mistyped_command_says_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serv"]) == 2
    shown = capsys.readouterr().err
    assert "unknown command `serv`" in shown
    assert "did you mean `serve`?" in shown


def test_a_wrong_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nonsense"]) == 2
    assert main(["serve", "--nonsense"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_command_has_one_line_about_it() -> None:
    assert all(line and line[0].islower() for line in COMMANDS.values())


@pytest.mark.slow
def test_a_reader_that_stops_reading_is_no_traceback() -> None:
    command = f"{sys.executable} -m handlers.cli.main --help"
    done = subprocess.run(
        # Standard output is closed before the command writes to it.
        ["/bin/sh", "-c", f"(sleep 0.2; exec {command}) | true"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.stderr == ""
