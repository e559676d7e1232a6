"""What an action changes in the outgoing body: `cap`, `set` and `drop`, merged over the defaults' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.check.quantity import number
from router_dsl.check.report import Report
from router_dsl.plan import Options, Scalar

ROUTED = ("model", "messages", "prompt", "input", "stream")
"""Parameters that the router itself reads or writes; a policy may not edit them."""

Edit = ast.Cap | ast.Set | ast.Drop


@dataclass(frozen=True, slots=True)
class Edits:
    """The edits of one action."""

    cap: tuple[tuple[str, int | float], ...]
    set: tuple[tuple[str, Scalar], ...]
    drop: tuple[str, ...]


def merged(base: Options, options: Sequence[ast.Option], report: Report) -> Edits:
    """Return the edits of `options`; whatever they say about a parameter replaces what `base` says about it."""
    edits = [option for option in options if isinstance(option, Edit)]
    seen: dict[str, Edit] = {}
    for edit in edits:
        _check(edit, seen, report)
    cap = {param: value for param, value in base.cap if param not in seen}
    put = {param: value for param, value in base.set if param not in seen}
    drop = [param for param in base.drop if param not in seen]
    for edit in seen.values():
        match edit:
            case ast.Cap():
                most = number(edit.value, "number", f"`cap {edit.param.text}`", report, low=0)
                cap[edit.param.text] = most or 0
            case ast.Set():
                put[edit.param.text] = _scalar(edit, report)
            case ast.Drop():
                drop.append(edit.param.text)
    return Edits(tuple(cap.items()), tuple(put.items()), tuple(drop))


def _check(edit: Edit, seen: dict[str, Edit], report: Report) -> None:
    param = edit.param.text
    if param in ROUTED:
        report.add("E411", f"`{param}` cannot be edited", edit.param.span, "the router itself reads or writes it")
    other = seen.setdefault(param, edit)
    if type(other) is not type(edit):
        report.add("E410", f"`{param}` is edited in two ways", edit.span, f"the other one is in line {other.span.line}")


def _scalar(edit: ast.Set, report: Report) -> Scalar:
    value = edit.value
    match value:
        case ast.Number():
            return number(value, "number", f"`set {edit.param.text}`", report) or 0
        case ast.Name() if not value.quoted and value.text in ("true", "false"):
            return value.text == "true"
        case ast.Name():
            return value.text
        case ast.Text():
            return value.value
