"""`--set FACT=VALUE` and `--down X`: what the command line says about a request and about the world."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from ipaddress import IPv6Address, ip_address
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from router_dsl.fields import FAMILIES, OF_POOL, REQUEST, ZONED, Type, request_field
from router_dsl.plan import Program, Scalar
from router_dsl.suggest import suggest

_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)?")
_SCALES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class SaidError(ValueError):
    """Something said that means nothing to this policy.

    Attributes:
        help: What was probably meant, or None.
    """

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    type: Type
    values: tuple[str, ...] = ()


def fact(program: Program, text: str) -> tuple[str, Scalar | None]:
    """Return the canonical name and the value of `FACT=VALUE`; the value `missing` removes the fact.

    Raises:
        SaidError: The fact is unknown or the value is not of its type.
    """
    written, equals, value = text.partition("=")
    written, value = written.strip(), value.strip()
    if not equals or not written:
        raise SaidError(f"`{text}` sets nothing", "write `--set FACT=VALUE`")
    kind = _kind(program, written)
    return kind.name, None if value == "missing" else _value(kind, written, value)


def endpoints(program: Program, text: str) -> tuple[int, ...]:
    """Return the endpoints of a provider, a model, a pool or one `MODEL@PROVIDER[/LABEL]`, as indices.

    Raises:
        SaidError: There is nothing of that name.
    """
    name = re.sub(r"\s*@\s*", "@", text.strip())
    pools = dict(program.pools)
    if name in pools:
        return pools[name]
    found = tuple(
        index
        for index, endpoint in enumerate(program.endpoints)
        if name in (endpoint.id, endpoint.model, program.providers[endpoint.provider].name)
    )
    if not found:
        names = (
            [p.name for p in program.providers] + [m.name for m in program.models] + [e.id for e in program.endpoints]
        )
        raise SaidError(f"there is no provider, model or endpoint `{name}`", _meant(name, names))
    return found


def _kind(program: Program, written: str) -> _Kind:
    """Return which fact a name means, as the language resolves it."""
    family, dot, _ = written.partition(".")
    if family in FAMILIES and dot:
        return _Kind(written.lower() if family == "header" else written, "text")
    if written == "key":
        return _Kind("key.id", "text")
    for declared in program.facts:
        if declared.name == written:
            return _Kind(written, declared.type, declared.values)
    if written.startswith("over "):
        return _limit(program, written.removeprefix("over ").strip())
    base, zone = written.partition("@")[0], written.partition("@")[2].strip('"')
    if zone:
        return _zoned(written, base, zone)
    if written.partition("(")[0] in OF_POOL:
        return _of_pool(program, written)
    field = request_field(written) if written in REQUEST and not written.endswith(".*") else None
    if field is None:
        known = [name for name in REQUEST if not name.endswith(".*")] + [declared.name for declared in program.facts]
        raise SaidError(f"unknown fact `{written}`", _meant(written, known))
    return _Kind(written, field.type, field.values)


def _limit(program: Program, name: str) -> _Kind:
    limits = [limit.name for limit in program.limits]
    if name not in limits:
        raise SaidError(f"there is no limit `{name}`", _meant(name, limits))
    return _Kind(f"over {name}", "bool")


def _zoned(written: str, base: str, zone: str) -> _Kind:
    if base not in ZONED:
        raise SaidError(f"unknown fact `{written}`", f"only {', '.join(ZONED)} have a time zone")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SaidError(f"unknown time zone `{zone}`") from error
    return _Kind(f"{base}@{zone}", REQUEST[base].type, REQUEST[base].values)


def _of_pool(program: Program, written: str) -> _Kind:
    base, _, rest = written.partition("(")
    if not rest.endswith(")"):
        raise SaidError(f"`{base}` asks about a pool", f"write `{base}(POOL)`")
    pool = rest.removesuffix(")").strip()
    names = [name for name, _ in program.pools] + [m.name for m in program.models] + [p.name for p in program.providers]
    if pool not in names:
        raise SaidError(f"there is no pool `{pool}`", _meant(pool, names))
    return _Kind(f"{base}({pool})", REQUEST[base].type)


def _value(kind: _Kind, written: str, text: str) -> Scalar:
    match kind.type:
        case "number" | "tokens":
            return _number(written, text, whole=kind.type == "tokens")
        case "bool":
            if text.lower() not in _BOOLS:
                raise SaidError(f"`{written}` is true or false, not `{text}`")
            return _BOOLS[text.lower()]
        case "share":
            return _share(written, text)
        case "ip":
            return _address(written, text)
        case "date":
            try:
                return date.fromisoformat(text).isoformat()
            except ValueError as error:
                raise SaidError(f"`{written}` is a date such as 2026-12-24, not `{text}`") from error
        case _:
            text = _unquoted(text)
            if kind.values and text not in kind.values:
                hint = _meant(text, kind.values) or f"it is one of {', '.join(kind.values)}"
                raise SaidError(f"`{written}` is never `{text}`", hint)
            return text


def _number(written: str, text: str, *, whole: bool) -> int | float:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise SaidError(f"`{written}` is a number such as 8 or 24k, not `{text}`")
    exact = Decimal(match[1]) * _SCALES[match[2] or ""]
    if exact == exact.to_integral_value():
        return int(exact)
    if whole:
        raise SaidError(f"`{written}` is a whole number, not `{text}`")
    return float(exact)


def _share(written: str, text: str) -> float:
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    share = float(percent[1]) / 100 if percent else -1.0
    if not 0 <= share <= 1:
        raise SaidError(f"`{written}` is a share from 0% to 100%, not `{text}`")
    return share


def _address(written: str, text: str) -> str:
    try:
        address = ip_address(_unquoted(text))
    except ValueError as error:
        raise SaidError(f"`{written}` is an IPv4 or IPv6 address, not `{text}`") from error
    mapped = address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")
    return f"{int(mapped):032x}"


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _meant(word: str, candidates: Iterable[str]) -> str | None:
    near = suggest(word, candidates)
    return f"did you mean `{near}`?" if near else None
