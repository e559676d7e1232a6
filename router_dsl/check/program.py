"""Syntax trees in, one program out: the passes of the check, in order."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from router_dsl import ast, load
from router_dsl.analyse.witness import Oracle
from router_dsl.check import doubtful, guards, models, own_facts, policies, providers, trials, unused
from router_dsl.check.asked import Paths
from router_dsl.check.conditions import Conditions
from router_dsl.check.memo import Memo
from router_dsl.check.models import Catalog
from router_dsl.check.options import ActionOptions
from router_dsl.check.report import Report
from router_dsl.check.scope import Scope, collect
from router_dsl.check.targets import Targets
from router_dsl.compile.build import refusals
from router_dsl.plan import Program
from router_dsl.source import Diagnostic, in_order

OracleOf = Callable[[Program], Oracle]


def check(
    files: Sequence[ast.File],
    reported: Sequence[Diagnostic] = (),
    *,
    broken: bool = False,
    oracle_of: OracleOf | None = None,
    memo: Memo | None = None,
    doubts: bool = True,
) -> tuple[Program | None, list[Diagnostic]]:
    """Return the program that the files mean, or None when there is an error; and all findings, in order.

    Syntax and import errors leave trees that lack declarations. An unknown name is then reported only when the text
    does not seem to declare it, and, while an import is missing, only when it is near a known one; what a declaration
    lacks is reported only when no error lies inside it. There is no program in any case.

    Args:
        files: The root file first, then every file it imports, as `load.load` gives them.
        reported: What `load.load` found; not repeated in the result.
        broken: There are errors already, whether or not `reported` has them.
        oracle_of: Gives what makes requests to a program and decides them. Without it assertions are not judged, and
            what only a request can show is not reported.
        memo: Rules resolved by an earlier check of nearly the same files, for an editor. With one, warnings that need a
            look at the whole policy are left out.
        doubts: Report what is allowed and hardly meant; proving it takes most of the time.
    """
    broken = broken or any(finding.severity == "error" for finding in reported)
    sources = [file.span.source for file in files]
    report = Report(sources, broken, reported, imports_lost=broken and _imports_lost(files))
    scope = collect(files, report)
    program, targets, catalog = _program(scope, memo)
    # With an error about, what is unused or never decides may be the error's doing.
    if memo is None and not broken and not report.has_errors:
        unused.warn(scope, targets)
        if doubts:
            doubtful.warn(program, scope, catalog, None if oracle_of is None else oracle_of(program))
    if broken or report.has_errors:
        return None, in_order(report.diagnostics)
    refused = refusals(program, files)
    return (None if refused else program), in_order([*report.diagnostics, *refused])


def _program(scope: Scope, memo: Memo | None) -> tuple[Program, Targets, Catalog]:
    paths = Paths(scope)
    conditions = Conditions(scope, paths)
    own = own_facts.resolve(scope)
    places = providers.resolve(scope)
    catalog = models.resolve(scope, places)
    targets = Targets(scope, paths, catalog)
    targets.pools()
    options = ActionOptions(scope, conditions, targets)
    options.defaults()
    kept = policies.resolve(scope, conditions, targets, options, memo)
    program = Program(
        name=_name(scope.root.span.source.name),
        providers=places,
        models=tuple(catalog.models),
        endpoints=tuple(catalog.endpoints),
        pools=tuple(catalog.by_pool.items()),
        facts=own,
        guards=guards.guards(scope, conditions),
        limits=guards.limits(scope, conditions),
        policies=kept,
        tests=trials.tests(scope, conditions, targets),
        assertions=trials.assertions(scope, conditions),
    )
    unused.check_left_over(scope, conditions)
    return program, targets, catalog


def _name(file: str) -> str:
    """Return the program's name: the root file's without folder and ending."""
    base = posixpath.basename(file.replace("\\", "/"))
    return base.removesuffix(".route") or base


def _imports_lost(files: Sequence[ast.File]) -> bool:
    """Whether some import led to none of the files."""
    names = {file.span.source.name for file in files}
    return any(
        load.imported_name(file.span.source.name, item.path.value) not in names
        for file in files
        for item in file.items
        if isinstance(item, ast.Import)
    )
