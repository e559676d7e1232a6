"""What a client wishes of a router, in OpenRouter's words: the `provider` object and its kin, decoded strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec

Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown",
]  # fmt: skip
SortBy = Literal["price", "throughput", "latency", "exacto"]
Partition = Literal["model", "none"]
DataCollection = Literal["allow", "deny"]
Route = Literal["fallback", "sort"]

_Positive = Annotated[float, msgspec.Meta(ge=0)]

# More than this in any list is a mistake, or worse; OpenRouter takes three models.
MOST_LISTED = 32
_Slugs = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=MOST_LISTED)
]

Models = _Slugs
"""`models`: names to try, in order."""


class Sort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`provider.sort` written out."""

    by: SortBy | None = None
    partition: Partition | None = None


class Cutoffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bound for each percentile; all must hold."""

    p50: _Positive | None = None
    p75: _Positive | None = None
    p90: _Positive | None = None
    p99: _Positive | None = None

    def said(self) -> Iterator[tuple[str, float]]:
        """Give those that are set."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None:
                yield name, value


_Price = float | str | None


class MaxPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars: per million tokens for prompt and completion, each for the others."""

    prompt: _Price = None
    completion: _Price = None
    request: _Price = None
    image: _Price = None
    audio: _Price = None


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`provider`: which endpoints a client wants, and in which order."""

    order: _Slugs | None = None
    allow_fallbacks: bool | None = None
    only: _Slugs | None = None
    ignore: _Slugs | None = None
    require_parameters: bool | None = None
    data_collection: DataCollection | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[Quantization] | None = None
    sort: SortBy | Sort | None = None
    preferred_min_throughput: _Positive | Cutoffs | None = None
    preferred_max_latency: _Positive | Cutoffs | None = None
    max_price: MaxPrice | None = None


_PRICE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,18})?")


def price_usd(said: float | str | None) -> float | None:
    """Return a price of `max_price` in dollars, None when it is not said.

    Raises:
        ValueError: It is text that is no number, or negative.
    """
    if said is None:
        return None
    if isinstance(said, str):
        if _PRICE.fullmatch(said.strip()) is None:
            raise ValueError(said)
        said = float(said)
    if said < 0:
        raise ValueError(said)
    return said


class Refusal(NamedTuple):
    """What cannot be done about a wish: the field at fault, what is wrong with it, and a word for that."""

    param: str
    message: str
    code: Literal["invalid_value", "unsupported_parameter"]


def refusal(wished: Preferences) -> Refusal | None:
    """Return what is wrong with preferences beyond their types, or None."""
    for name in MaxPrice.__struct_fields__ if wished.max_price is not None else ():
        try:
            price_usd(getattr(wished.max_price, name))
        except ValueError:
            param = f"provider.max_price.{name}"
            return Refusal(param, f"`{param}` must be a number of dollars, at least 0", "invalid_value")
    by = wished.sort.by if isinstance(wished.sort, Sort) else wished.sort
    if by == "exacto":
        told = (
            "`provider.sort` cannot be `exacto`: this router does not rate tool calls; use price, throughput or latency"
        )
        return Refusal("provider.sort", told, "unsupported_parameter")
    return None


_FIELDS: dict[str, tuple[str, ...]] = {
    "provider": Preferences.__struct_fields__,
    "provider.sort": Sort.__struct_fields__,
    "provider.preferred_min_throughput": Cutoffs.__struct_fields__,
    "provider.preferred_max_latency": Cutoffs.__struct_fields__,
    "provider.max_price": MaxPrice.__struct_fields__,
}
_VALUES: dict[str, tuple[str, ...]] = {
    "provider.sort": get_args(SortBy),
    "provider.sort.by": get_args(SortBy),
    "provider.sort.partition": get_args(Partition),
    "provider.data_collection": get_args(DataCollection),
    "provider.quantizations[]": get_args(Quantization),
    "route": get_args(Route),
}

# What people write for a field of `provider`, and which one they mean, where the spelling does not tell.
_MEANT = {
    "allow": "only",
    "allowed": "only",
    "include": "only",
    "providers": "only",
    "deny": "ignore",
    "block": "ignore",
    "exclude": "ignore",
    "fallback": "allow_fallbacks",
    "fallbacks": "allow_fallbacks",
    "data_policy": "data_collection",
    "max_latency": "preferred_max_latency",
    "min_throughput": "preferred_min_throughput",
}


def unknown_field(path: str, name: str) -> str:
    """Return what to say of a field that the object at `path` does not have."""
    known = _FIELDS.get(path, ())
    meant = _MEANT.get(name.lower()) if path == "provider" else None
    return f"`{path}` has no field `{name}`; {_hint(name, known, meant)}"


def no_value(path: str, value: str) -> str:
    """Return what to say of a value that is none of those that the field at `path` may have."""
    return f"`{path}` cannot be `{value}`; {_hint(value, _VALUES.get(re.sub('[0-9]+', '', path), ()), None)}"


def _hint(word: str, known: Iterable[str], meant: str | None) -> str:
    if meant is None:
        # Imported where it is asked for: a client's mistake, once.
        from difflib import get_close_matches

        meant = next(iter(get_close_matches(word.lower()[:60], known, n=1, cutoff=0.6)), None)
    return (f"did you mean `{meant}`? " if meant else "") + f"it may be one of {', '.join(known)}"
