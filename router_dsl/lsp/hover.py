"""What to tell about the word under the cursor, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from router_dsl import ast
from router_dsl.check.report import squeezed
from router_dsl.diagnose import FORMS
from router_dsl.fields import ENDPOINT, OF_POOL, ZONED, request_field
from router_dsl.lsp.names import Names, Occurrence, lets_in
from router_dsl.lsp.words import MEANINGS

# What fits beside a text without covering it.
_MOST_ROWS = 12


def told(occurrence: Occurrence, names: Names) -> str | None:
    """Return what a name stands for, None when nothing is known of it."""
    name = occurrence.name
    match occurrence.kind:
        case "request fact":
            return _request_fact(name)
        case "endpoint fact":
            field = ENDPOINT.get(name)
            kind = "measured" if field is not None and field.measured else "of the policy"
            return None if field is None else f"**{name}**: {field.type}, an endpoint fact ({kind})\n\n{field.doc}"
        case "model":
            return _model(names.models[name]) if name in names.models else None
        case "provider":
            return _provider(names.providers[name], names) if name in names.providers else None
        case "pool":
            return _pool(names.pools[name], names) if name in names.pools else None
        case "let":
            return _code(names.lets[name]) if name in names.lets else None
        case "fact":
            return _own_fact(names.facts[name]) if name in names.facts else None
        case "guard":
            return _code(names.guards[name], "no rule can get round it") if name in names.guards else None
        case "limit":
            return _limit(names.limits[name]) if name in names.limits else None
        case "policy":
            return _policy(names.policies[name], names) if name in names.policies else None
        case "rule":
            return _rule(name, names.policies.get(occurrence.owner), names)
        case "label":
            return _endpoint(name, occurrence.owner, names)
        case "file" | "test":
            return None


def keyword(word: str) -> str | None:
    """Return the meaning and the form of a keyword, None for other words."""
    meaning = MEANINGS.get(word)
    form = f"\n\n```route\n{FORMS[word]}\n```" if word in FORMS else ""
    return None if meaning is None else f"**{word}**: {meaning}{form}"


def _code(node: ast.Node, more: str = "") -> str:
    return f"```route\n{node.span.text}\n```" + (f"\n\n{more}" if more else "")


def _request_fact(name: str) -> str | None:
    field = request_field(name)
    if field is None:
        return None
    values = f" ({', '.join(field.values)})" if field.values else ""
    lines = [f"**{name}**: {field.type}{values}", field.doc[0].upper() + field.doc[1:] + f". From: {field.origin}."]
    if field.type == "tokens":
        lines.append("Written `24k`, `1.5M`.")
    if field.name in OF_POOL:
        lines.append(f"Asked as `{field.name}(POOL)`.")
    if name in ZONED:
        lines.append(f'Also `{name}@"Europe/Berlin"`.')
    baseline = "Missing" if field.baseline is None else f"`{field.baseline}`"
    lines.append(f"{baseline} in a `test` that does not give it.")
    return "\n\n".join(lines)


def _own_fact(fact: ast.Fact) -> str:
    return _code(fact, "A value that does not parse, or is none of these, is missing.")


def _model(model: ast.Model) -> str:
    said = "  ".join(squeezed(prop.span) for prop in model.props)
    rows = [_row(model, serve) for serve in model.serves[:_MOST_ROWS]]
    lines = [f"**model {model.name.text}**" + (f": {said}" if said else "")]
    if rows:
        lines.append("\n".join(["| endpoint | there | said |", "|---|---|---|", *rows]))
    if len(model.serves) > _MOST_ROWS:
        lines.append(f"and {len(model.serves) - _MOST_ROWS} more")
    return "\n\n".join(lines)


def _row(model: ast.Model, serve: ast.Serve) -> str:
    said = "  ".join(squeezed(prop.span) for prop in serve.props)
    return f"| `{_id(model, serve)}` | {squeezed(serve.upstream.span)} | {said} |"


def _id(model: ast.Model, serve: ast.Serve) -> str:
    label = f"/{serve.label.text}" if serve.label is not None else ""
    return f"{model.name.text} @ {serve.provider.text}{label}"


def _endpoint(label: str, owner: str, names: Names) -> str | None:
    model, _, provider = owner.partition("@")
    node = names.models.get(model)
    for serve in node.serves if node is not None else ():
        if serve.provider.text == provider and serve.label is not None and serve.label.text == label:
            return _code(serve)
    return None


def _provider(provider: ast.Provider, names: Names) -> str:
    served = [
        _id(model, serve)
        for model in names.models.values()
        for serve in model.serves
        if serve.provider.text == provider.name.text
    ]
    shown = ", ".join(f"`{endpoint}`" for endpoint in served[:_MOST_ROWS])
    more = f" and {len(served) - _MOST_ROWS} more" if len(served) > _MOST_ROWS else ""
    return _code(provider, f"Serves {shown}{more}." if served else "Serves nothing.")


def _pool(pool: ast.Pool, names: Names) -> str:
    unknown = [m.name.text for m in pool.members if m.name.text not in names.models]
    return _code(pool, f"Unknown: {', '.join(unknown)}" if unknown else "Chosen among as one.")


def _limit(limit: ast.Limit) -> str:
    past = f"Past it only `over {limit.name.text}` holds." if limit.soft else "Past it requests are refused with 429."
    return _code(limit, past)


def _policy(policy: ast.Policy, names: Names) -> str:
    first = next(iter(names.policies), "") == policy.name.text
    chosen = "the default" if first else f'selected with `model: "@{policy.name.text}"`'
    labels = ", ".join(f"`{rule.label.text}`" for rule in policy.rules[:_MOST_ROWS])
    more = f" and {len(policy.rules) - _MOST_ROWS} more" if len(policy.rules) > _MOST_ROWS else ""
    return f"**policy {policy.name.text}**: {len(policy.rules)} rules, {chosen}\n\n{labels}{more}"


def _rule(label: str, policy: ast.Policy | None, names: Names) -> str | None:
    rules = policy.rules if policy is not None else ()
    at = next((i for i, rule in enumerate(rules) if rule.label.text == label), None)
    if at is None or policy is None:
        return None
    rule = rules[at]
    lines = [f"**rule {label}** of policy {policy.name.text}, {at + 1} of {len(rules)}"]
    if rule.when is not None:
        lines.append(f"Decides when\n\n```route\n{squeezed(rule.when.span)}\n```")
        lines += [f"where `{let}` is `{squeezed(names.lets[let].value.span)}`" for let in _lets(rule.when, names)]
    if at:
        earlier = ", ".join(f"`{before.label.text}`" for before in rules[max(0, at - _MOST_ROWS) : at])
        more = f"{at - _MOST_ROWS} more and " if at > _MOST_ROWS else ""
        lines.append(f"and none of {more}{earlier} does.")
    else:
        lines.append("It is asked first.")
    return "\n\n".join(lines)


def _lets(condition: ast.Condition, names: Names) -> Iterator[str]:
    """Yield the lets that a condition asks, each once."""
    yield from (let for let in dict.fromkeys(lets_in(condition)) if let in names.lets)
