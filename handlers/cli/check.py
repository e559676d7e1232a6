"""`pointsman check`: everything that is wrong with a policy, at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from handlers.checked import check
from handlers.cli.output import FOUND, OK, USAGE, complain, wants_color
from handlers.notes import notes_on
from router_dsl.load import is_unread, load, load_text, unreadable
from router_dsl.plan import Program
from router_dsl.source import Diagnostic, in_order, render

STDIN = "-"


def main(argv: Sequence[str]) -> int:
    """Check policies: print every finding; 0 when there is no error, 1 when there is, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="pointsman check", description="Say everything that is wrong with policies.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .route file, or - for standard input")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write a page about the policies as well")
    parser.add_argument("--notes", action="store_true", help="also say which rules are partly shadowed, and by which")
    parser.add_argument("--no-color", action="store_true", help="print without colours")
    options = parser.parse_args(argv)
    if options.root is not None and not options.root.is_dir():
        complain(f"`{options.root}` is no folder", "`--root` takes the folder that imports may not leave")
        return USAGE
    if options.html is not None and STDIN in options.files:
        complain("`--html` needs files", "save the policy, then draw it")
        return USAGE
    findings: list[Diagnostic] = []
    by_file: dict[str, list[Diagnostic]] = {}
    programs: list[Program] = []
    unread = False
    for name in dict.fromkeys(options.files):
        program, found = check_file(name, options.root)
        findings += found
        by_file[name] = in_order(found)
        if program is not None:
            programs.append(program)
        unread = unread or any(map(is_unread, found))
    findings = in_order(findings)
    notes = [note for program in programs for note in notes_on(program)] if options.notes else []
    if options.json:
        told: dict[str, object] = {"findings": [finding.to_json() for finding in findings]}
        print(json.dumps(told | ({"notes": [note.to_json() for note in notes]} if options.notes else {}), indent=2))
    else:
        _print(findings, programs, color=wants_color(sys.stdout) and not options.no_color)
        for note in notes:
            print(note.text)
    if unread:
        return USAGE
    if options.html is not None and not _draw(options.html, by_file, options.root):
        return USAGE
    return FOUND if any(finding.severity == "error" for finding in findings) else OK


def _draw(out: Path, by_file: dict[str, list[Diagnostic]], root: Path | None) -> bool:
    """Write a page about policies; False, after a complaint, when it cannot be written."""
    from handlers.pictures.report import report_html
    from handlers.report import shown

    page = report_html([shown(Path(name), root, findings) for name, findings in by_file.items()])
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        complain(f"`{out}`: {(error.strerror or str(error)).lower()}")
        return False
    return True


def check_file(name: str, root: Path | None) -> tuple[Program | None, list[Diagnostic]]:
    """Return the program of a file (`-`: of standard input), None when there is an error, and all findings."""
    if name == STDIN:
        try:
            files, found = load_text(sys.stdin.buffer.read().decode("utf-8-sig"), "stdin", root)
        except UnicodeDecodeError as error:
            return None, [unreadable("stdin", f"it is not UTF-8 text (byte {error.start + 1})")]
    else:
        files, found = load(Path(name), root)
    if not files:
        return None, found
    program, more = check(files, found)
    return program, [*found, *more]


def _print(findings: Sequence[Diagnostic], programs: Sequence[Program], *, color: bool) -> None:
    for finding in findings:
        print(render(finding, color=color), end="\n\n")
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counted = [_count(errors, "error")] if errors else []
    if warnings:
        counted.append(_count(warnings, "warning"))
    print(", ".join(counted) if errors else "; ".join([f"ok: {_contents(programs)}", *counted]))


def _contents(programs: Sequence[Program]) -> str:
    policies = [policy for program in programs for policy in program.policies]
    return ", ".join(
        [
            _count(len(policies), "policy"),
            _count(sum(len(policy.rules) for policy in policies), "rule"),
            _count(sum(len(program.endpoints) for program in programs), "endpoint"),
            _count(sum(len(program.tests) for program in programs), "test"),
        ]
    )


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"
