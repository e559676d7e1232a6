"""Renaming: every place of a name at once, or a reason why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.fields import ENDPOINT, FAMILIES, REQUEST
from router_dsl.lsp.complete import written
from router_dsl.lsp.names import Names, Occurrence
from router_dsl.source import Source, Span
from router_dsl.syntax import parse

RENAMED = ("provider", "model", "pool", "let", "fact", "guard", "limit", "policy", "rule", "label")
"""Kinds of names that a policy declares."""


class RefusedError(ValueError):
    """The name cannot be changed so; the message says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the text."""

    span: Span
    text: str


def renamed(files: Sequence[ast.File], what: Occurrence, new: str) -> list[Edit]:
    """Return the changes that rename what stands at a place, in every file.

    Raises:
        RefusedError: The name is nobody's to change, or another thing has the new one, or some place would mean
            something else afterwards.
    """
    names = Names(files)
    found = [occurrence for occurrence in names.occurrences() if occurrence.identity == what.identity]
    refuse_unless_declared(what, found)
    _refuse_taken(what, new, names)
    if any(parse(file.span.source)[1] for file in files):
        raise RefusedError("the file does not parse: mend that first")
    for text in dict.fromkeys((written(new), json.dumps(new, ensure_ascii=False))):
        edits = [Edit(place.span, _in_place(place, text, new)) for place in found]
        if _means_the_same(files, edits, what, new):
            return edits
    raise RefusedError(f"with `{new}` some place would mean something else")


def refuse_unless_declared(what: Occurrence, found: Sequence[Occurrence]) -> None:
    """Raise when a name is not the author's to change.

    Raises:
        RefusedError: It is built in, or declared nowhere.
    """
    if what.kind in ("request fact", "endpoint fact"):
        raise RefusedError(f"`{what.name}` is a fact of the language, or of requests: it has the name it has")
    if what.kind not in RENAMED:
        raise RefusedError("only declared names are renamed")
    if what.kind == "rule" and what.name == "otherwise":
        raise RefusedError("`otherwise` is the last rule's only name")
    if not any(place.declares for place in found):
        raise RefusedError(f"`{what.name}` is declared nowhere")


def _refuse_taken(what: Occurrence, new: str, names: Names) -> None:
    if not new or new != new.strip() or not new.isprintable():
        raise RefusedError("a name is not empty, not padded and printable")
    if new == what.name:
        raise RefusedError(f"it is `{new}` already")
    if (owner := _taken(what, new, names)) is not None:
        raise RefusedError(f"{owner} `{new}` is there already")


def _taken(what: Occurrence, new: str, names: Names) -> str | None:
    """Return what has a name already that could be meant instead."""
    match what.kind:
        case "provider" | "model" | "pool":
            tables = (("provider", names.providers), ("model", names.models), ("pool", names.pools))
            is_alias = what.kind != "provider" and new in _aliases(names)
            return "the other name of a model" if is_alias else next((k for k, t in tables if new in t), None)
        case "let" | "fact":
            if new in REQUEST or new in ENDPOINT or new in FAMILIES or new == "over":
                return "the built-in fact"
            return next((k for k, t in (("let", names.lets), ("fact", names.facts)) if new in t), None)
        case "guard":
            return "guard" if new in names.guards else None
        case "limit":
            return "limit" if new in names.limits else None
        case "policy":
            return "policy" if new in names.policies else None
        case "rule":
            policies = [names.policies[name] for name in names.called(what.owner) if name in names.policies]
            labels = {rule.label.text for policy in policies for rule in policy.rules}
            return "rule" if new in labels or new == "otherwise" else None
        case _:
            return None


def _aliases(names: Names) -> set[str]:
    return {
        value.text if isinstance(value, ast.Name) else value.value
        for model in names.models.values()
        for prop in model.props
        if prop.keyword.text == "aka"
        for value in prop.values
        if not isinstance(value, ast.Number)
    }


def _in_place(place: Occurrence, text: str, new: str) -> str:
    """Return the new name as it stands in a place: inside the quotation marks of `model "@NAME"`, it has none."""
    before = place.span.source.text[place.span.start - 1 : place.span.start]
    return json.dumps(new, ensure_ascii=False)[1:-1] if before == "@" and place.kind == "policy" else text


def _means_the_same(files: Sequence[ast.File], edits: Sequence[Edit], what: Occurrence, new: str) -> bool:
    """Whether, after the edits, every name of every file stands for what it stood for."""
    after: list[ast.File] = []
    for file in files:
        source = file.span.source
        inside = [edit for edit in edits if edit.span.source.name == source.name]
        parsed, found = parse(Source(source.name, applied(source.text, inside)))
        if found:
            return False
        after.append(parsed)

    def expected(occurrence: Occurrence) -> tuple[object, ...]:
        is_it = occurrence.identity == what.identity
        owner = occurrence.owner
        if what.kind == "policy" and occurrence.kind == "rule" and owner == what.name:
            owner = new
        if what.kind in ("model", "provider") and occurrence.kind == "label":
            model, _, provider = owner.partition("@")
            model = new if what.kind == "model" and model == what.name else model
            owner = f"{model}@{new if what.kind == 'provider' and provider == what.name else provider}"
        return occurrence.kind, new if is_it else occurrence.name, owner, occurrence.declares

    before = [expected(occurrence) for occurrence in Names(files).occurrences()]
    return before == [(o.kind, o.name, o.owner, o.declares) for o in Names(after).occurrences()]


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with the edits made; they do not overlap."""
    for edit in sorted(edits, key=lambda edit: edit.span.first, reverse=True):
        text = text[: edit.span.first] + edit.text + text[edit.span.last :]
    return text
