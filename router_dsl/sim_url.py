"""The address of a simulated provider, `sim://NAME?ttft=200ms&speed=80&fail=2%&seed=1`, and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEME = "sim://"
PARAMETERS = ("ttft", "speed", "jitter", "fail", "cut", "down", "seed")

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}

# An hour to the first token, or a thousand million tokens per second, is a slip of the pen.
_LONGEST_TTFT_S = 3600.0
_HIGHEST_SPEED = 1e9


@dataclass(frozen=True, slots=True)
class SimUrl:
    """How a simulated provider behaves.

    Attributes:
        name: What it calls itself in its answers; `sim` unless the address has a host.
        path: Path of the interface called, empty in a policy.
        ttft_s: Seconds to the first token.
        speed: Tokens per second from then on.
        jitter: How far `ttft_s` strays to either side, as a share of it.
        fail: Share of the requests that fail before any content.
        cut: Share of the answers that break off midway.
        down: Whether every connection is refused.
        seed: Of the sequence of failures.
    """

    name: str = "sim"
    path: str = ""
    ttft_s: float = 0.1
    speed: float = 100.0
    jitter: float = 0.0
    fail: float = 0.0
    cut: float = 0.0
    down: bool = False
    seed: int = 0


def parse(url: str) -> SimUrl:
    """Return what the address says.

    Raises:
        ValueError: It is no such address, or has a parameter that is unknown, repeated or out of range; the message
            is for the author of the policy.
    """
    if not url.startswith(SCHEME):
        raise ValueError(f"`{url}` is no address of a simulated provider")
    place, _, query = url.removeprefix(SCHEME).partition("?")
    name, slash, path = place.partition("/")
    if "#" in url or "@" in place:
        raise ValueError(f"`{url}` is no address of a simulated provider")
    found: dict[str, str] = {}
    # Not `parse_qsl`: in `fail=2%&seed=1` the sign is a percentage, not an escape.
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in PARAMETERS:
            raise ValueError(f"a simulated provider has no parameter `{key}`; it knows {', '.join(PARAMETERS)}")
        if key in found:
            raise ValueError(f"the parameter `{key}` is there twice")
        found[key] = value.replace("%25", "%")
    said = SimUrl()
    return SimUrl(
        name=name or said.name,
        path=slash + path,
        ttft_s=_duration("ttft", found["ttft"]) if "ttft" in found else said.ttft_s,
        speed=_speed(found["speed"]) if "speed" in found else said.speed,
        jitter=_share("jitter", found["jitter"]) if "jitter" in found else said.jitter,
        fail=_share("fail", found["fail"]) if "fail" in found else said.fail,
        cut=_share("cut", found["cut"]) if "cut" in found else said.cut,
        down=_switch("down", found["down"]) if "down" in found else said.down,
        seed=_seed(found["seed"]) if "seed" in found else said.seed,
    )


def _duration(key: str, text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"`{key}={text}` is no duration; write it as `{key}=200ms` or `{key}=1.5s`")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_TTFT_S:
        raise ValueError(f"`{key}={text}` is more than an hour")
    return seconds


def _share(key: str, text: str) -> float:
    number = text.removesuffix("%")
    value = float(number) / (100.0 if text.endswith("%") else 1.0) if _NUMBER.fullmatch(number) else -1.0
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"`{key}={text}` is no share; write it as `{key}=2%`, from 0% to 100%")
    return value


def _speed(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0.0 < value <= _HIGHEST_SPEED:
        raise ValueError(f"`speed={text}` is no speed; write tokens per second as `speed=80`")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(f"`seed={text}` is no seed; write a whole number as `seed=1`")
    return int(text)


def _switch(key: str, text: str) -> bool:
    if text not in ("", "true", "false"):
        raise ValueError(f"`{key}={text}` is neither `{key}=true` nor `{key}=false`")
    return text != "false"
