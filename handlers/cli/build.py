"""`pointsman build`: compile a policy into the plan that is shipped and served."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from handlers.cli.output import FOUND, OK, USAGE, complain, show
from handlers.compiled import compile_source
from router_dsl.compile.certify import verify
from router_dsl.load import is_unread
from router_dsl.plan import Plan, encode
from router_dsl.seal import Key, KeyTextError, open_plan, read_keys, seal
from router_dsl.testing import Result
from runtime.decision.book import Book
from runtime.decision.rehearsal import failures

SIGNING_KEY = "POINTSMAN_SIGNING_KEY"


def main(argv: Sequence[str]) -> int:
    """Compile a policy: write the plan, proved to decide as the rules do and as its own tests expect.

    1 when it has errors or a test fails, 2 for wrong use.
    """
    parser = argparse.ArgumentParser(prog="pointsman build", description="Compile a policy into a plan.")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .route file")
    parser.add_argument("-o", "--output", metavar="PLAN", type=Path, help="where to write it (default: FILE.plan)")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: the file's)")
    parser.add_argument("--sign", action="store_true", help=f"sign the plan with the key in ${SIGNING_KEY}")
    parser.add_argument("--json", action="store_true", help="print what was built, or the findings, as JSON")
    options = parser.parse_args(argv)
    if options.root is not None and not options.root.is_dir():
        complain(f"`{options.root}` is no folder", "`--root` takes the folder that imports may not leave")
        return USAGE
    output: Path = options.output or options.file.with_suffix(".plan")
    if output.exists() and options.file.exists() and output.samefile(options.file):
        complain(f"`{output}` is the policy itself", "write the plan elsewhere with `-o`")
        return USAGE
    key: Key | None = None
    if options.sign and (key := _signing_key()) is None:
        return USAGE
    compiled = compile_source(options.file, options.root)
    plan, findings = compiled.plan, compiled.diagnostics
    if not options.json:
        show(findings, sys.stderr)
    told: dict[str, object] = {
        "findings": [finding.to_json() for finding in findings],
        "sources": [str(file) for file in compiled.files],
    }
    if plan is not None:
        data = encode(plan)
        written = open_plan(data)  # what was written down, not what was meant to be
        verify(written)
        failed = _rehearse(written)
        if failed:
            told["failed_tests"] = [result.test.name for result in failed]
            # A router that is told to take it over runs the same tests first, and would refuse it.
            plan = None
    if plan is not None:
        try:
            data = data if key is None else seal(data, key)
        except KeyTextError as error:
            complain(f"{SIGNING_KEY}: {error}")
            return USAGE
        try:
            write(output, data)
        except OSError as error:
            complain(f"cannot write `{output}`: {(error.strerror or str(error)).lower()}")
            return USAGE
        told |= facts_of(plan, output, len(data), key)
    if options.json:
        print(json.dumps(told, indent=2))
    elif plan is not None:
        print(
            "{name}@{short}: {rules} rule{s}, {bytes:,} bytes{sealed} → {file}".format(
                s="" if told["rules"] == 1 else "s",
                **told,
                short=plan.digest[:12],
                sealed="" if key is None else f", signed ({key.kind})",
            )
        )
    if any(map(is_unread, findings)):
        return USAGE
    return FOUND if plan is None else OK


def _signing_key() -> Key | None:
    """Return the key that plans are signed with, or None after saying why there is none."""
    try:
        keys = read_keys(os.environ.get(SIGNING_KEY, ""))
    except KeyTextError as error:
        complain(f"{SIGNING_KEY}: {error}")
        return None
    if len(keys) != 1:
        complain(
            f"`--sign` needs one key in {SIGNING_KEY}",
            "a secret that servers have too, such as `openssl rand -hex 32` prints, or a private Ed25519 key as PEM",
        )
        return None
    return keys[0]


def _rehearse(plan: Plan) -> list[Result]:
    """Run the policy's own tests on the plan, say which fail, and return those."""
    failed = failures(Book(plan)) if plan.program.tests else []
    for result in failed:
        complain(f"{result.test.file}:{result.line}: test `{result.test.name}` fails: {result.message.splitlines()[0]}")
    if failed:
        complain("no plan is written", "mend the policy or the tests; `pointsman test` tells more of them")
    return failed


def facts_of(plan: Plan, output: Path, size: int, key: Key | None = None) -> dict[str, object]:
    """Return what `--json` says of a plan that was written."""
    return {
        "file": str(output),
        "name": plan.program.name,
        "digest": plan.digest,
        "rules": sum(len(policy.rules) for policy in plan.program.policies),
        "bytes": size,
        "tests": len(plan.program.tests),
        "signed": None if key is None else key.kind,
        "certificate": {
            "subject": plan.certificate.subject,
            "classes": plan.certificate.classes,
            "terms": plan.certificate.terms,
        },
    }


def write(path: Path, data: bytes) -> None:
    """Put the data at the path in one step: a reader sees the old file or the whole new one.

    Raises:
        OSError: The folder cannot be written.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        try:
            temporary.write(data)
            temporary.flush()
            os.fsync(temporary.fileno())
            os.chmod(temporary.name, 0o644)  # a temporary file is its owner's alone
            os.replace(temporary.name, path)
        except OSError:
            os.unlink(temporary.name)
            raise
