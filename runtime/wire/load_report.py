"""What an inference server says about how busy it is: in a header of its answers, or on its page of metrics.

The header is `endpoint-load-metrics`, of the Open Request Cost Aggregation standard, as text (`TEXT k=v, k=v`) or JSON
(`JSON {…}`); vLLM sends it to who asks with `endpoint-load-metrics-format`. The page is Prometheus' text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

HEADER = b"endpoint-load-metrics"

# What servers call requests that wait and requests that are worked on: vLLM, SGLang, TGI.
WAITING = ("num_requests_waiting", "num_queue_reqs", "queue_size", "waiting_queue_size")
RUNNING = ("num_requests_running", "num_running_reqs", "batch_current_size", "running_queue_size")

MOST = 10**9
"""A count beyond this is none."""


class Load(msgspec.Struct, frozen=True):
    """Requests at a server; None for what it does not tell."""

    waiting: float | None
    running: float | None


def of_header(value: bytes) -> Load | None:
    """Return what a header reports, or None when that is nothing we know."""
    text = value.decode("latin-1").strip()
    form, _, rest = text.partition(" ")
    match form.upper():
        case "JSON":
            return _told(_json(rest))
        case "TEXT":
            return _told(_pairs(rest))
    return _told(_json(text) if text.startswith("{") else _pairs(text))


def _pairs(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in text.split(","):
        name, separator, value = pair.partition("=")
        if separator:
            found[name.strip()] = value.strip()
    return found


def _json(text: str) -> dict[str, object]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    named = found.get("named_metrics")
    return {**found, **named} if isinstance(named, dict) else found


def _told(found: Mapping[str, object]) -> Load | None:
    short = {_short(name): value for name, value in found.items()}
    waiting, running = _first(short, WAITING), _first(short, RUNNING)
    return None if waiting is None and running is None else Load(waiting, running)


def _short(name: str) -> str:
    """Return a metric's name without the prefixes that say whose it is: `named_metrics.`, `vllm:`, `tgi_`."""
    name = name.rpartition(".")[2].rpartition(":")[2]
    return name.removeprefix("tgi_")


def _first(found: Mapping[str, object], names: tuple[str, ...]) -> float | None:
    for name in names:
        count = _count(found.get(name))
        if count is not None:
            return count
    return None


def _count(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < MOST else None


_SAMPLE = re.compile(rb"^([A-Za-z_:][\w:]*)(?:\{[^\n]*\})? +([^ \n]+)", re.MULTILINE)
_KNOWN = frozenset((*WAITING, *RUNNING))


def of_page(page: bytes) -> Load | None:
    """Return what a page of metrics reports, the parts of a server (engines, models) added up; None when nothing."""
    sums: dict[str, float] = {}
    for match in _SAMPLE.finditer(page):
        name = _short(match[1].decode("ascii", "replace"))
        if name in _KNOWN and (count := _count(match[2].decode("latin-1"))) is not None:
            sums[name] = sums.get(name, 0.0) + count
    return _told(dict(sums))
