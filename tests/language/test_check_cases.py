"""Broken files and what the checker says about each: message, place and help, as an author reads them.

A case is the file, a line of dashes, and the rendered findings. `python tests/language/test_check_cases.py` rewrites
the findings; read every difference as an author would before keeping it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.checked import check
from router_dsl.load import load_text
from router_dsl.source import Diagnostic, in_order, render

CASES = Path(__file__).parent / "cases" / "check"
NAMES = sorted(path.stem for path in CASES.glob("*.case"))
DASHES = "----\n"


def findings(text: str) -> list[Diagnostic]:
    files, reported = load_text(text, "x.route", CASES)
    program, found = check(files, reported)
    everything = in_order([*reported, *found])
    assert (program is None) == any(finding.severity == "error" for finding in everything)
    return everything


def rendered(text: str) -> str:
    return "\n".join(render(finding) + "\n" for finding in findings(text))


def parts(name: str) -> tuple[str, str]:
    text, _, expected = (CASES / f"{name}.case").read_text(encoding="utf-8").partition(DASHES)
    return text, expected


@pytest.mark.parametrize("name", NAMES)
def test_findings_are_as_written(name: str) -> None:
    text, expected = parts(name)
    assert rendered(text) == expected


def test_every_case_has_a_finding() -> None:
    assert len(NAMES) >= 80
    assert [name for name in NAMES if not parts(name)[1]] == []


@pytest.mark.parametrize("name", NAMES)
def test_messages_keep_the_house_style(name: str) -> None:
    for finding in findings(parts(name)[0]):
        assert finding.message[0] == "`" or finding.message[0].islower() or finding.code < "E2"
        assert "\n" not in finding.message
        assert not finding.message.endswith(".")
        for word in ("str", "int", "None", "tuple", "Traceback"):
            assert word not in finding.message.split()


if __name__ == "__main__":
    for name in NAMES:
        text, _ = parts(name)
        (CASES / f"{name}.case").write_text(text + DASHES + rendered(text), encoding="utf-8")
