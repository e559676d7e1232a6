"""What stands on the right of a comparison, read as the type of the fact on its left."""

from __future__ import annotations

import datetime
import ipaddress
import re

import re2

from router_dsl import ast
from router_dsl.check.asked import Asked
from router_dsl.check.quantity import Kind, number
from router_dsl.check.report import Report
from router_dsl.check.scope import Scope, text_of
from router_dsl.fields import Type
from router_dsl.plan import Range, Scalar

NUMERIC: dict[Type, Kind] = {
    "number": "number", "tokens": "tokens", "share": "share", "seconds": "duration", "price": "money",
}  # fmt: skip

NAMES: dict[Type, str] = {
    "text": "text", "one of": "one of a few words", "number": "a number", "tokens": "a number of tokens",
    "bool": "true or false",
    "ip": "an address", "date": "a date", "share": "a percentage", "seconds": "a duration", "price": "a price",
    "set": "a set of names",
}  # fmt: skip
"""How messages call a type."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_START = re.compile(r"[0-9]{1,4}|[0-9]{4}-([0-9]{0,2}|[0-9]{2}-[0-9]{0,2})")


def value(literal: ast.LiteralValue, asked: Asked, scope: Scope) -> Scalar | None:
    """Return a literal as a value of the fact's type, or None after reporting why it is none."""
    kind = NUMERIC.get(asked.type)
    if kind is not None:
        if isinstance(literal, ast.Number):
            return number(literal, kind, f"`{asked.written}`", scope.report)
        _mismatch(literal, asked, scope, _unquoted(literal))
        return None
    text = text_of(literal)
    if text is None:
        _mismatch(literal, asked, scope, _number_help(literal, asked))
        return None
    match asked.type:
        case "bool":
            if text not in ("true", "false"):
                _mismatch(literal, asked, scope, "write `true` or `false`")
                return None
            return text == "true"
        case "ip":
            return _address(text, literal, asked, scope)
        case "date":
            return _date(text, literal, asked, scope)
        case _:
            _within(text, literal, asked, scope)
            return text


def item(literal: ast.LiteralValue | ast.Range, asked: Asked, scope: Scope) -> Range | Scalar | None:
    """Return one item of a list: a value, a range, or the range that a CIDR string stands for."""
    if isinstance(literal, ast.Range):
        return between(literal, asked, scope)
    text = text_of(literal)
    if asked.type == "ip" and text is not None and "/" in text:
        return _network(text, literal, scope.report)
    return value(literal, asked, scope)


def between(span: ast.Range, asked: Asked, scope: Scope) -> Range | None:
    """Return a range of the fact's type, or None after reporting."""
    if asked.type in ("text", "one of", "bool", "set"):
        scope.report.add(
            "E301",
            f"`{asked.written}` is {NAMES[asked.type]}: it has no ranges",
            span.span,
            "list the values: `[a, b]`",
        )
        return None
    low, high = value(span.low, asked, scope), value(span.high, asked, scope)
    if low is None or high is None:
        return None
    # Both are of the fact's one type: texts (addresses, dates) or numbers.
    backwards = low > high if isinstance(low, str) and isinstance(high, str) else float(low) > float(high)
    if backwards:
        low_text, high_text = span.low.span.text, span.high.span.text
        wraps = asked.name.startswith("time.hour")
        scope.report.add(
            "E309",
            f"the range `{low_text}..{high_text}` is empty",
            span.span,
            f"write `[{low_text}..23, 0..{high_text}]`" if wraps else f"write `{high_text}..{low_text}`",
        )
        return None
    return Range(low, high)


def regex(pattern: ast.Regex, report: Report) -> str:
    """Return the pattern as RE2 takes it, `(?i)` in front for `/…/i`; a refused one is reported with RE2's reason."""
    full = f"(?i){pattern.pattern}" if pattern.ignore_case else pattern.pattern
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(full, options)
    except re2.error as refused:
        reason = refused.args[0]
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        report.add("E304", f"regex that RE2 refuses: {shown}", pattern.span, _regex_help(pattern.pattern))
    except UnicodeEncodeError:
        report.add("E304", "regex that RE2 refuses: it is not valid Unicode", pattern.span)
    return full


def _regex_help(pattern: str) -> str | None:
    if re.search(r"\(\?<?[=!]", pattern):
        return "RE2 has no look-around: split it into two conditions with `and` or `and not`"
    if re.search(r"\\[1-9]", pattern):
        return "RE2 has no back-references"
    return None


def prefix_of_date(text: str, literal: ast.Node, report: Report) -> None:
    """Report a text that no date starts with."""
    if not _DATE_START.fullmatch(text):
        report.add("E306", f"no date starts with `{text}`", literal.span, 'dates look like `"2026-12-24"`')


def _within(text: str, literal: ast.Node, asked: Asked, scope: Scope) -> None:
    """Warn when the fact can never have this value."""
    if not asked.values or text in asked.values:
        return
    near = scope.report.near(text, asked.values)
    if near:
        help = f"did you mean `{near}`?"
    elif text in scope.lets and isinstance(scope.lets[text].value, ast.ListOf):
        scope.use("let", text)
        help = f"`{text}` is a list: write `in {text}`"
    else:
        help = f"it is one of {enumerated(asked.values)}"
    scope.report.add("W503", f"`{asked.written}` is never `{text}`", literal.span, help)


def enumerated(words: tuple[str, ...] | list[str], most: int = 12) -> str:
    """Return the words in backticks, separated by commas; of a long list the first few."""
    shown = ", ".join(f"`{word}`" for word in words[:most])
    return f"{shown}, …" if len(words) > most else shown


def _mismatch(literal: ast.LiteralValue, asked: Asked, scope: Scope, help: str | None) -> None:
    """Report a literal of another type than the fact's."""
    text = text_of(literal)
    if text in scope.lets and isinstance(scope.lets[text].value, ast.ListOf):
        help = f"`{text}` is a list: write `in {text}`"
    what = literal.span.text
    found = "a number" if isinstance(literal, ast.Number) else "text"
    wanted = NAMES[asked.type]
    message = f"`{asked.written}` is {wanted}, `{what}` is {found}" if wanted != found else f"`{what}` is not {wanted}"
    scope.report.add("E301", message, literal.span, help)


def _unquoted(literal: ast.LiteralValue) -> str | None:
    text = text_of(literal)
    is_number = text is not None and re.fullmatch(r"-?\d+(\.\d+)?(k|M|G|Ki|Mi|Gi|ms|s|m|h|d|%)?", text)
    return f"write it without quotes: `{text}`" if is_number else None


def _number_help(literal: ast.LiteralValue, asked: Asked) -> str | None:
    written = literal.span.text
    match asked.type:
        case "bool":
            return "write `true` or `false`"
        case "one of":
            return f"it is one of {enumerated(asked.values)}" if asked.values else f'quote it: `"{written}"`'
        case "date":
            return 'write it as text: `"2026-12-24"`'
        case "ip":
            return 'write it as text: `"10.0.0.1"`'
        case _:
            return f'quote it: `"{written}"`'


def address_digits(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as 32 hex digits, IPv4 mapped into `::ffff:0:0/96`, so that text order is address order."""
    number = int(address)
    return f"{number if address.version == 6 else 0xFFFF_0000_0000 | number:032x}"


def _address(text: str, literal: ast.Node, asked: Asked, scope: Scope) -> str | None:
    try:
        return address_digits(ipaddress.ip_address(text))
    except ValueError:
        pass
    let = scope.lets.get(text)
    if let is not None and isinstance(let.value, ast.ListOf):
        help = f"`{text}` is a list: write `in {text}`"
    elif "/" in text:
        help = f'a network is asked with `in`: `{asked.written} in ["{text}"]`'
    else:
        help = "write an IPv4 or IPv6 address in quotes"
    scope.report.add("E305", f"`{text}` is no address", literal.span, help)
    return None


def _network(text: str, literal: ast.Node, report: Report) -> Range | None:
    try:
        # Host bits set (`10.1.2.3/8`) mean the network around the address.
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        report.add("E305", f"`{text}` is no network", literal.span, 'write it as CIDR: `"10.0.0.0/8"`')
        return None
    return Range(address_digits(network.network_address), address_digits(network.broadcast_address))


def _date(text: str, literal: ast.Node, asked: Asked, scope: Scope) -> str | None:
    try:
        if _DATE.fullmatch(text):
            return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    scope.report.add("E306", f"`{text}` is no date", literal.span, 'write it as `"2026-12-24"`')
    return None
