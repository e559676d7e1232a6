"""A policy drawn as a page: rules with what reaches them, how they are looked up, endpoints, guards, findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from handlers.coverage import Coverage, atoms
from handlers.pictures.drawing import COLORS, DARK_COLORS
from router_dsl.interpret import text_of
from router_dsl.plan import (
    DEFAULT_OPTIONS,
    Block,
    Call,
    Column,
    Endpoint,
    Plan,
    Policy,
    Probe,
    Program,
    Reject,
    Requested,
    Rule,
    Split,
    Target,
    Tree,
    Use,
    blocks_of,
)
from router_dsl.source import Diagnostic
from router_dsl.testing import Result

# More cases than this are a list that nobody reads; the page says how many there are.
_MOST_CASES = 200
_MOST_BEHIND = 6

STYLE = f"""
:root {{ color-scheme: light dark; {COLORS} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK_COLORS} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 24px; max-width: 1200px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 26px; margin: 0; }}
h2 {{ margin: 36px 0 10px; font-size: 20px; }}
h3 {{ margin: 18px 0 6px; font-size: 16px; }}
code, pre {{ font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }}
pre {{ background: var(--fill); border: 1px solid var(--line); border-radius: 6px; padding: 10px; overflow-x: auto;
  overflow-wrap: normal; margin: 6px 0; }}
p {{ margin: 6px 0; }} .soft {{ color: var(--soft); }} .good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
.warn {{ color: var(--warn); }} nav a {{ margin-right: 14px; }} a {{ color: var(--note); }}
.scroll {{ overflow-x: auto; }} table {{ border-collapse: collapse; width: 100%; }}
th {{ text-align: left; color: var(--soft); font-weight: 600; font-size: 13px; }}
th, td {{ padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.ladder {{ list-style: none; margin: 0; padding: 0; border-left: 3px solid var(--line); margin-left: 8px; }}
.ladder > li {{ position: relative; padding: 6px 0 10px 24px; }}
.ladder > li::before {{ content: ""; position: absolute; left: -9px; top: 13px; width: 11px; height: 11px;
  border-radius: 50%; background: var(--paper); border: 2px solid var(--faint); }}
.ladder > li.tested::before {{ background: var(--good); border-color: var(--good); }}
.ladder > li.dead::before {{ background: var(--bad); border-color: var(--bad); }}
.rule {{ display: grid; grid-template-columns: minmax(8em, 14em) 1fr; gap: 2px 16px; }}
.label {{ font-weight: 600; overflow-wrap: anywhere; grid-row: 1 / span 3; }} .then {{ grid-column: 2; }}
.note {{ grid-column: 2; color: var(--soft); font-size: 13px; }}
.tag {{ display: inline-block; border: 1px solid currentColor; border-radius: 10px; padding: 0 8px; font-size: 12px; }}
.finding {{ border-left: 3px solid var(--warn); padding-left: 12px; margin: 12px 0; }}
.finding.error {{ border-color: var(--bad); }}
.blocks {{ display: flex; flex-wrap: wrap; gap: 12px; }}
.block {{ border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; background: var(--fill);
  flex: 1 1 320px; }}
details > summary {{ cursor: pointer; }}
@media (max-width: 640px) {{ .rule {{ grid-template-columns: 1fr; }} .label {{ grid-row: auto; }}
  .then, .note {{ grid-column: 1; }} }}
"""


@dataclass(frozen=True, slots=True)
class Region:
    """What is known of the requests that a rule takes.

    Attributes:
        behind: Labels of earlier rules that take a part of what its condition asks for.
        example: Facts of one request that it decides, as a `given` has them; None when none was found.
    """

    behind: tuple[str, ...]
    example: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that a page shows of one policy file.

    Attributes:
        plan: None when the policy has errors; then only the findings are shown.
        excerpts: For each finding, the lines it is about, as `check` prints them.
        regions: By policy and label.
    """

    name: str
    plan: Plan | None
    findings: Sequence[Diagnostic]
    excerpts: Sequence[str]
    coverage: Coverage | None
    results: Sequence[Result]
    regions: Mapping[tuple[str, str], Region]


def report_html(shown: Sequence[Shown]) -> str:
    """Return one page about some policy files; it needs nothing else."""
    title = escape(", ".join(one.name for one in shown))
    body = "\n".join(line for one in shown for line in _file(one))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<main>\n{body}\n</main>\n</body></html>\n"
    )


def _file(one: Shown) -> Iterator[str]:
    errors = sum(finding.severity == "error" for finding in one.findings)
    warnings = len(one.findings) - errors
    yield f"<h1>{escape(one.name)}</h1>"
    if one.plan is not None:
        program = one.plan.program
        yield (
            f'<p class="soft">{" · ".join(_contents(program))} · '
            f'<span class="{"warn" if warnings else "good"}">{_count(warnings, "warning")}</span> · '
            f"digest <code>{one.plan.digest[:12]}</code></p>"
        )
    else:
        yield f'<p class="bad">{_count(errors, "error")}: it does not compile</p>'
    yield from _findings(one)
    if one.plan is None:
        return
    for policy in one.plan.program.policies:
        yield from _policy(policy, one)
        yield from _tree(one.plan.trees[policy.name], policy)
    yield from _endpoints(one.plan)
    yield from _guards(one.plan)
    yield from _tests(one)


def _contents(program: Program) -> list[str]:
    return [
        _count(len(program.policies), "policy"),
        _count(sum(len(policy.rules) for policy in program.policies), "rule"),
        _count(len(program.endpoints), "endpoint"),
        _count(len(program.tests), "test"),
    ]


def _findings(one: Shown) -> Iterator[str]:
    if not one.findings:
        return
    yield "<h2>Findings</h2>"
    for finding, excerpt in zip(one.findings, one.excerpts, strict=True):
        tone = "bad" if finding.severity == "error" else "warn"
        yield (
            f'<div class="finding {finding.severity}"><p><strong class="{tone}">{finding.code}</strong> '
            f"{_ticks(finding.message)}</p><pre>{escape(excerpt)}</pre></div>"
        )


# --- rules ----------------------------------------------------------------------------------------


def _policy(policy: Policy, one: Shown) -> Iterator[str]:
    reached = {label for name, label in one.coverage.decided if name == policy.name} if one.coverage else set()
    tested = sum(rule.label in reached for rule in policy.rules)
    yield f"<h2>Policy <code>{escape(policy.name)}</code></h2>"
    yield (
        f'<p class="soft">Asked from above; the first rule whose condition holds decides. '
        f"{tested} of {_count(len(policy.rules), 'rule')} decide some test.</p>"
    )
    yield '<ol class="ladder">'
    for rule in policy.rules:
        yield from _rule(rule, policy.name, rule.label in reached, one)
    yield "</ol>"


def _rule(rule: Rule, policy: str, tested: bool, one: Shown) -> Iterator[str]:
    region = one.regions.get((policy, rule.label))
    unreached = region is not None and region.example is None
    kind = "tested" if tested else "dead" if unreached else "open"
    state = {"tested": "decides a test", "dead": "no request found", "open": "no test"}[kind]
    tone = {"tested": "good", "dead": "bad", "open": "soft"}[kind]
    when = "otherwise" if rule.when is None else f"when {rule.text}"
    yield f'<li class="{kind}"><div class="rule"><div class="label">{escape(rule.label)}</div>'
    yield f'<div><code>{escape(when)}</code> <span class="tag {tone}">{state}</span></div>'
    yield f'<div class="then">→ {_action(rule)}</div>'
    notes = [f"line {rule.line}"]
    if region is not None and region.behind:
        named = ", ".join(f"<code>{escape(label)}</code>" for label in region.behind[:_MOST_BEHIND])
        more = len(region.behind) - _MOST_BEHIND
        notes.append(f"what is left by {named}" + (f" and {more} more" if more > 0 else ""))
    if region is not None and region.example is not None:
        notes.append(f"such as <code>{escape(region.example or 'the baseline request')}</code>")
    missed = _missed(rule, policy, one) if tested else ""
    yield f'<div class="note">{" · ".join(notes)}{missed}</div></div></li>'


def _missed(rule: Rule, policy: str, one: Shown) -> str:
    """Return which answers of a tested rule's questions no test gives."""
    if one.coverage is None:
        return ""
    texts = dict.fromkeys(atom.text for atom in atoms(rule.when))
    missed = [
        f"<code>{escape(text)}</code> {'yes' if answer else 'no'}"
        for text in texts
        for answer in (True, False)
        if (policy, rule.label, text, answer) not in one.coverage.answers
    ]
    return f" · no test answers {', '.join(missed)}" if missed else ""


def _action(rule: Rule) -> str:
    action = rule.action
    if isinstance(action, Reject):
        message = f" “{escape(action.message)}”" if action.message else ""
        return f'<span class="bad">reject {action.status}</span>{message}'
    chain = " else ".join(f"<strong>{escape(_target(target))}</strong>" for target in action.targets)
    # Where another policy decides, its own rule says how.
    options = "" if all(isinstance(target, Call) for target in action.targets) else _options(action)
    return chain + (f' <span class="soft">{escape(options)}</span>' if options else "")


def _target(target: Target) -> str:
    match target:
        case Requested():
            return "requested"
        case Call(policy):
            return f"policy {policy}"
        case Split(shares, by):
            return "split " + ", ".join(f"{share * 100:g}% {_target(arm)}" for share, arm in shares) + f" by {by}"
        case _:
            return target.text


def _options(action: Use) -> str:
    options = action.options
    order = ", ".join(name if share == 1 else f"{name} {share * 100:g}%" for name, share in options.by)
    said = [f"by {order}"] if options.by != DEFAULT_OPTIONS.by else []
    said += [f"where {options.where_text}"] if options.where is not None else []
    times = (("within", options.within_s), ("first token", options.first_token_s), ("stall", options.stall_s))
    said += [f"{name} {time_s:g}s" for name, time_s in times if time_s is not None]
    said += [f"retry {options.retry}"] if options.retry != 1 else []
    said += [f"escalate to {options.escalate.target.text}"] if options.escalate is not None else []
    said += [f"shadow {options.shadow.share * 100:g}% {options.shadow.target.text}"] if options.shadow else []
    said += ["hedge"] if options.hedge is not None else []
    said += [f"sticky by {options.sticky}"] if options.sticky else []
    return "  ".join(said)


# --- the compiled form ----------------------------------------------------------------------------


def _tree(tree: Tree, policy: Policy) -> Iterator[str]:
    yield "<details><summary><h3 style='display:inline'>How it is looked up</h3></summary>"
    labels = [rule.label for rule in policy.rules]
    if tree.switch is not None:
        yield (
            f"<p>First <code>{escape(tree.switch)}</code> picks one of {len(tree.cases)} cases; the rules that do not "
            "ask it are looked up whatever its value, and the earlier of both finds decides.</p>"
        )
        yield f"<h3>Whatever <code>{escape(tree.switch)}</code> is</h3>"
    else:
        yield "<p>Every fact is looked up once; what all the answers leave, the earliest rule of it decides.</p>"
    yield from _blocks(tree.shared, labels)
    for number, (value, case) in enumerate(tree.cases.items()):
        if number == _MOST_CASES:
            yield f'<p class="soft">and {len(tree.cases) - _MOST_CASES} more cases</p>'
            break
        yield f"<h3><code>{escape(tree.switch or '')} == {escape(value)}</code></h3>"
        yield from _blocks(blocks_of(case), labels)
    yield "</details>"


def _blocks(blocks: Sequence[Block], labels: Sequence[str]) -> Iterator[str]:
    yield '<div class="blocks">'
    for block in blocks:
        rules = ", ".join(f"<code>{escape(labels[rule])}</code>" for rule in dict.fromkeys(block.rules))
        yield f'<div class="block"><p>rules {rules}</p>'
        asked, lazy = list(map(_column, block.columns)), list(map(_column, block.lazy))
        yield f'<p class="soft">looked up: {", ".join(asked)}</p>' if asked else ""
        yield f'<p class="soft">only while it can still matter: {", ".join(lazy)}</p>' if lazy else ""
        yield "</div>"
    yield "</div>"


def _column(column: Column | Probe) -> str:
    if isinstance(column, Probe):
        return f"<code>{escape(text_of(column.cond))}</code>"
    return f"<code>{escape(column.fact)}</code> ({_count(len(column.masks), 'class')})"


# --- what there is --------------------------------------------------------------------------------


def _endpoints(plan: Plan) -> Iterator[str]:
    program = plan.program
    yield "<h2>Models and prices</h2>"
    yield '<div class="scroll"><table><thead><tr><th>model</th><th>endpoint</th><th class="number">$ in</th>'
    yield '<th class="number">$ out</th><th class="number">$ cached</th><th class="number">context</th>'
    yield "<th>region</th><th>more</th></tr></thead><tbody>"
    for model in program.models:
        for i, index in enumerate(model.endpoints):
            endpoint = program.endpoints[index]
            name = f"<strong>{escape(model.name)}</strong>" if i == 0 else ""
            prices = (endpoint.price_in, endpoint.price_out, endpoint.price_cached)
            cells = "".join(f'<td class="number">{_price(price)}</td>' for price in prices)
            context = f"{endpoint.context:,}" if endpoint.context else "–"
            yield (
                f"<tr><td>{name}</td><td><code>{escape(endpoint.id)}</code></td>{cells}"
                f'<td class="number">{context}</td><td>{escape(endpoint.region or "–")}</td>'
                f"<td>{escape(_more(endpoint))}</td></tr>"
            )
    yield "</tbody></table></div>"
    yield '<p class="soft">Dollars per million tokens.</p>'


def _price(nano: int | None) -> str:
    return "–" if nano is None else f"{nano / 1e9:.2f}" if nano % 10_000_000 == 0 else f"{nano / 1e9:g}"


def _more(endpoint: Endpoint) -> str:
    said = [endpoint.quantization or "", "zdr" if endpoint.zdr else "", *endpoint.tags]
    said += ["supports " + ", ".join(endpoint.supports)] if endpoint.supports else []
    return " · ".join(part for part in said if part)


def _guards(plan: Plan) -> Iterator[str]:
    program = plan.program
    if program.guards:
        yield "<h2>Guards</h2><p class='soft'>No rule, fallback, hedge, copy or escalation gets round them.</p>"
        yield _table_head("guard", "whenever", "only endpoints where")
        for guard in program.guards:
            when = "always" if guard.when is None else f"<code>{escape(text_of(guard.when))}</code>"
            require = f"<code>{escape(text_of(guard.require))}</code>"
            yield f"<tr><td><strong>{escape(guard.name)}</strong></td><td>{when}</td><td>{require}</td></tr>"
        yield "</tbody></table></div>"
    if program.limits:
        yield f"<h2>Limits</h2>{_table_head('limit', 'counts', 'for each', 'past it')}"
        for limit in program.limits:
            amount = f"${limit.amount / 1e9:g}" if limit.unit == "$" else f"{limit.amount:,} {limit.unit}"
            when = "" if limit.when is None else f" when <code>{escape(text_of(limit.when))}</code>"
            past = f"<code>over {escape(limit.name)}</code> holds" if limit.soft else "429"
            yield (
                f"<tr><td><strong>{escape(limit.name)}</strong></td><td>{amount} in {limit.per_s:,} s{when}</td>"
                f"<td>{escape(', '.join(limit.by))}</td><td>{past}</td></tr>"
            )
        yield "</tbody></table></div>"


def _table_head(*names: str) -> str:
    cells = "".join(f"<th>{name}</th>" for name in names)
    return f"<div class='scroll'><table><thead><tr>{cells}</tr></thead><tbody>"


def _tests(one: Shown) -> Iterator[str]:
    if not one.results:
        return
    failed = sum(not result.passed for result in one.results)
    tone = "bad" if failed else "good"
    yield f'<h2>Tests</h2><p class="{tone}">{len(one.results) - failed} passed, {failed} failed</p>'
    yield "<ul>"
    for result in one.results:
        mark = "✓" if result.passed else "✗"
        told = "" if result.passed else f"<pre>{escape(result.message)}</pre>"
        tone = "good" if result.passed else "bad"
        yield f'<li><span class="{tone}">{mark}</span> {escape(result.test.name)}{told}</li>'
    yield "</ul>"


def _ticks(message: str) -> str:
    """Return a message with the author's text set as code."""
    parts = escape(message).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"
