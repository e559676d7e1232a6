"""Events as lines: JSON for machines, one coloured line for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from runtime.serve.lines import Lines
from runtime.serve.story import Event, fields_of


@dataclass(slots=True)
class JsonLog:
    """One JSON object a line."""

    lines: Lines

    def __call__(self, event: Event) -> None:
        """Take one event; how many were lost before it, if any, joins it as `log_dropped`."""
        if self.lines.dropped:
            event = {**fields_of(event), "log_dropped": self.lines.dropped}
        self.lines.write(msgspec.json.encode(event) + b"\n")

    def close(self) -> None:
        """Let the last lines out."""
        self.lines.close()


@dataclass(slots=True)
class ConsoleLog:
    """One line for a person; events other than requests are told in full."""

    lines: Lines
    color: bool = True

    def __call__(self, event: Event) -> None:
        """Take one event."""
        told = fields_of(event)
        text = _request(told, color=self.color) if told.get("event") == "request" else _other(told)
        self.lines.write(text.encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        """Let the last lines out."""
        self.lines.close()


_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_ENDS_WELL = ("complete", "explained")


def _request(event: Mapping[str, object], *, color: bool) -> str:
    """Return `12:00:01 200 code → qwen-coder@baseten 312 ms …` for a request that ended."""

    def paint(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if color else text

    end, status = str(event["end"]), cast("int", event["status"])
    good = end in _ENDS_WELL and status < 400
    tint = _GREEN if good else _RED if status >= 500 or end == "cut" else _YELLOW
    where = _where(event)
    parts = [
        paint(str(event["ts"])[11:19], _DIM),
        paint(str(status), f"{_BOLD};{tint}"),
        f"{paint(str(event['rule']), _BOLD)} → {paint(where, _CYAN)}" if event["rule"] is not None else where,
        f"{cast('float', event['duration_ms']):.0f} ms",
    ]
    if event["stream"] and event["ttft_ms"] is not None:
        parts.append(f"first token {cast('float', event['ttft_ms']):.0f} ms")
    if event["completion_tokens"] is not None:
        parts.append(f"{event['prompt_tokens']}+{event['completion_tokens']} tokens")
    if event["cost_usd"] is not None:
        parts.append(_dollars(cast("float", event["cost_usd"])))
    if end not in ("complete", "rejected", "error"):
        parts.append(paint(end, _YELLOW))
    if failed := _failed(event):
        parts.append(paint(f"after {failed}", _DIM if good else tint))
    return "  ".join(parts)


def _where(event: Mapping[str, object]) -> str:
    if event["endpoint"] is not None:
        return str(event["endpoint"])
    if event["rule"] is not None:
        return str(event["error"] or event["end"])
    # A path is the client's text: control characters must not reach a terminal.
    path = "".join(char if char.isprintable() else "?" for char in str(event["path"])[:80])
    return f"{event['method']} {path}" + (f" {event['error']}" if event["error"] else "")


def _failed(event: Mapping[str, object]) -> str:
    attempts = cast("list[Mapping[str, object]]", event["attempts"])
    return ", ".join(f"{a['endpoint']}: {a['outcome']}" for a in attempts if a["outcome"] != "ok")


def _dollars(usd: float) -> str:
    return f"${usd:.2f}" if usd >= 1 else f"${usd:.6f}".rstrip("0").rstrip(".")


def _other(event: Mapping[str, object]) -> str:
    rest = "  ".join(f"{name} {value}" for name, value in event.items() if name not in ("event", "trace"))
    trace = f"\n{event['trace']}" if "trace" in event else ""
    return f"{event.get('event')}  {rest}{trace}"
