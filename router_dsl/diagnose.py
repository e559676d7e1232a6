"""The place where the grammar got stuck → one finding that an author understands."""

from __future__ import annotations

import re

from router_dsl import syntax_codes as codes
from router_dsl.expected import DECLARATIONS, OPTIONS, in_words, listed
from router_dsl.lex import Token
from router_dsl.reading import Stuck
from router_dsl.source import Diagnostic, Span

# How to write what begins with a word, said when nothing better is known.
FORMS = {
    "import": 'import "other.route"',
    "provider": 'provider NAME { url "https://…" }',
    "url": 'url "https://…"',
    "key": "key env.NAME",
    "region": "region NAME",
    "auth": "auth bearer",
    "wake": 'wake "https://…"',
    "header": 'header "x-name" "value"',
    "model": "model NAME { context 128k  serve … }",
    "context": "context 128k",
    "output": "output 8k",
    "aka": 'aka "name", "name"',
    "tags": "tags a, b",
    "supports": "supports tools, json",
    "serve": 'serve PROVIDER "upstream id" price $0.20 in $0.60 out',
    "price": "price $0.20 in $0.60 out",
    "quantization": "quantization fp8",
    "weight": "weight 2",
    "pool": "pool NAME = MODEL, MODEL @ PROVIDER",
    "fact": "fact NAME: one of a, b from key.NAME",
    "let": "let NAME = CONDITION",
    "guard": "guard NAME: when CONDITION require CONDITION",
    "limit": "limit NAME: 60 requests per minute by key",
    "policy": "policy NAME { … }",
    "label": "LABEL: when CONDITION -> ACTION",
    "otherwise": "otherwise -> TARGET",
    "split": "split 95% a, 5% b by user",
    "reject": 'reject 403 "message"',
    "by": "by price",
    "where": "where price.out <= $1",
    "prefer": "prefer cache",
    "sticky": "sticky by user",
    "within": "within 30s",
    "first": "first token 3s",
    "stall": "stall 5s",
    "retry": "retry 2 on 429, 5xx, timeout",
    "hedge": "hedge after p95",
    "escalate": "escalate to TARGET when truncated",
    "shadow": "shadow 1% TARGET",
    "cap": "cap max_tokens 1000",
    "set": "set temperature 0",
    "drop": "drop user",
    "cache": "cache 5m",
    "tag": "tag NAME",
    "test": 'test "what holds" { given … expect … }',
    "given": "given FACT VALUE, FACT VALUE",
    "down": "down PROVIDER",
    "full": "full PROVIDER",
    "slow": "slow PROVIDER 3s",
    "expect": "expect rule LABEL",
    "expect reject": "expect reject 413",
    "expect order": "expect order A, B",
    "expect not": "expect not TARGET",
    "expect cost": "expect cost <= $0.01",
    "expect attempts": "expect attempts <= 3",
    "assert": "assert never CONDITION when CONDITION",
    "assert attempts": "assert attempts <= 4",
    "assert cost": "assert cost <= $1 when CONDITION",
    "assert wait": "assert wait <= 30s",
    "assert reachable": "assert reachable LABEL",
}
_WRONG_WORDS = {
    "elif": "each condition is a rule of its own: `LABEL: when …`",
    "elseif": "each condition is a rule of its own: `LABEL: when …`",
    "unless": "write `when not …`",
}
# What an unquoted name with dots, slashes or colons runs over.
_RUN = re.compile(r"[\w$%][\w$%./:@+-]*")


def diagnose(stuck: Stuck, what: str) -> Diagnostic:
    """Return the finding about a place that makes no sense.

    Args:
        what: What was read: `rule`, `line` or `declaration`.
    """
    token, before = stuck.token, stuck.before
    if token is not None and before is not None and (name := _unquoted(token, before)):
        span = Span(token.source, before.start, before.start + len(name))
        return Diagnostic(codes.BAD_NAME, f"a bare name cannot be `{name}`", span, f'write `"{name}"`')
    expected = in_words(stuck.accepted)
    help_ = _help(stuck)
    if token is None or not token.text:
        assert before is not None
        message = f"this {what} ends too early: expected {expected} after `{before.text}`"
        return Diagnostic(codes.TOO_EARLY, message, before.span, help_)
    return Diagnostic(codes.UNEXPECTED, f"unexpected `{token.text}`: expected {expected}", token.span, help_)


def _unquoted(token: Token, before: Token) -> str:
    """Return the name with dots or slashes that a word is a part of, or nothing."""
    if token.kind not in ("DOT", "SLASH", "COLON") or before.kind != "NAME" or before.end != token.start:
        return ""
    found = _RUN.match(token.source.text, before.start)
    name = found[0].rstrip(".,:/") if found else ""
    return name if before.start + len(name) > token.end else ""


def _help(stuck: Stuck) -> str | None:
    token, before = stuck.token, stuck.before
    word = token.text if token is not None else ""
    previous = before.text if before is not None else ""
    if stuck.was_name and word:
        return f'as a name `{previous}` is written `"{previous}"` here'
    if token is not None and (special := _special(stuck, token, previous)) is not None:
        return special
    if word in _WRONG_WORDS:
        return _WRONG_WORDS[word]
    in_rule = "label" in stuck.keywords or "otherwise" in stuck.keywords
    if in_rule and before is not None and before.type == "NAME" and previous in OPTIONS and word:
        return f'an option stands after the targets; a target of this name is written `"{previous}"`'
    if "RPAR" in stuck.accepted or "RSQB" in stuck.accepted:
        return "a `(` is not closed" if "RPAR" in stuck.accepted else "a `[` is not closed"
    if before is None and "POLICY" in stuck.accepted:
        return "a declaration begins with " + listed([f"`{word}`" for word in DECLARATIONS])
    if "CONCURRENT" in stuck.accepted or (previous == "limit" and "NUMBER" in stuck.accepted):
        return "the form is `limit 8 concurrent`"
    if (pair := " ".join(stuck.keywords[-2:])) in FORMS:
        return f"the form is `{FORMS[pair]}`"
    keywords = [word for word in stuck.keywords if word in FORMS]
    if keywords[1:] and keywords[-1] == "policy":
        keywords.pop()
    if keywords and keywords[-1] == "by" and len(keywords) > 1 and keywords[-2] in ("limit", "split"):
        keywords.pop()
    return f"the form is `{FORMS[keywords[-1]]}`" if keywords else None


def _special(stuck: Stuck, token: Token, previous: str) -> str | None:
    """Return the help for a few mistakes that many make."""
    word, kind, accepted = token.text, token.kind, stuck.accepted
    if word == "when" and "LABEL" in accepted:
        return "a rule begins with its label: `NAME: when …`"
    if "LABEL" in accepted and token.labels:
        return f'a label like this is written `"{word}": when …`'
    if word == "otherwise" and accepted == {"WHEN"}:
        return "the last rule has no label: `otherwise -> …`"
    if kind == "ARROW" and accepted == {"WHEN"}:
        return "a rule is `LABEL: when CONDITION -> ACTION`; the last is `otherwise -> ACTION`"
    if word == "else" and "BY" in accepted:
        return "the options stand behind the last target: `a else b by price`"
    if kind == "ARROW" and previous == "else":
        return "the last rule is `otherwise -> …`"
    if word == "when" and previous == "otherwise":
        return "a rule with a condition is `LABEL: when …`; `otherwise` has none"
    if kind == "LSQB" and previous in ("==", "!="):
        return "a list is asked with `in`" if previous == "==" else "a list is asked with `not in`"
    if kind == "SLASH" and previous in ("==", "!=", "contains", "in"):
        return "a regex is asked with `matches`"
    if kind == "LSQB" and stuck.before is not None and stuck.before.end == token.start:
        return f"a part of a fact stands after a dot: `{previous}.NAME`"
    if kind == "LSQB" and previous == "not":
        return "write `not in […]`"
    if accepted == {"DOTDOT"}:
        return f"ask `== {previous}`, or a range: `1..{previous}`"
    if accepted == {"REGEX"}:
        return "a regex stands between slashes: `/…/`"
    if kind == "NUMBER" and "HAS" in accepted:
        return "a comparison begins with its fact: `prompt.tokens > 24k`"
    if kind == "NAME" and accepted == {"STRING"}:
        found = _RUN.match(token.source.text, token.start)
        return f'write `"{found[0] if found else word}"`'
    return None
