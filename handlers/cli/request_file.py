"""REQ.json: a request written down for `explain`, every part of it optional."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

from router_dsl.suggest import suggest
from runtime.decision.facts import Call
from runtime.decision.rehearsal import BASELINE_CLIENT_IP, BASELINE_NOW_S
from runtime.serve.paths import INFERENCE
from runtime.wire.errors import Problem
from runtime.wire.request import decode

PARTS = ("path", "headers", "body", "key", "client_ip", "now", "random", "set")

NO_MODEL = "none"
"""Stands in a body that names no model, which the router would refuse; the fact `model` is missing then."""

_HELLO = {"role": "user", "content": "Hello"}
_FILLERS: dict[str, dict[str, object]] = {
    "chat": {"messages": [_HELLO]},
    "completions": {"prompt": "Hello"},
    "responses": {"input": "Hello"},
    "messages": {"messages": [_HELLO], "max_tokens": 1024},
    "embeddings": {"input": "Hello"},
}


class RequestFileError(ValueError):
    """A request that cannot be read; the message says which part and why."""


class Written:
    """A request as written down, completed by the baseline.

    Attributes:
        call: The request.
        names_model: Whether its body names a model.
        draw: Its random number, in [0, 1).
        said: Facts that are stated besides, as `--set` does: what is over, healthy, loaded.
    """

    def __init__(self, text: str, region: str | None = None) -> None:
        """Read it.

        Args:
            text: A JSON object; empty text is the baseline.
            region: Where the router is said to run.

        Raises:
            RequestFileError: It is no such request.
        """
        parts = _parts(text)
        path = _path(parts.get("path", "/v1/chat/completions"))
        api = INFERENCE[path.removeprefix("/api")]
        body = _object(parts.get("body", {}), "body")
        self.names_model = body.get("model") is not None or bool(body.get("models"))
        if not self.names_model:
            body = {**body, "model": NO_MODEL}
        raw = json.dumps({**_FILLERS[api], **body}, ensure_ascii=False).encode("utf-8", "surrogatepass")
        decoded = decode(api, raw)
        if isinstance(decoded, Problem):
            raise RequestFileError(f"`body`: {decoded.message}")
        self.draw = _draw(parts.get("random", 0.0))
        self.said = _texts(parts.get("set", {}), "set")
        self.call = Call(
            api=api,
            path=path,
            headers={name.lower(): value for name, value in _texts(parts.get("headers", {}), "headers").items()},
            body=decoded,
            raw=raw,
            key=_texts(parts.get("key", {}), "key"),
            client_ip=_client_ip(parts.get("client_ip", BASELINE_CLIENT_IP)),
            now_s=_now(parts.get("now", BASELINE_NOW_S)),
            region=region,
        )


def _parts(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    try:
        found: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestFileError(f"not valid JSON: {error.msg.lower()} in line {error.lineno}") from error
    except RecursionError as error:
        raise RequestFileError("nested too deeply") from error
    parts = _object(found, "the request")
    for name in parts:
        if name not in PARTS:
            near = suggest(name, PARTS)
            hint = f"did you mean `{near}`?" if near else f"it may have {', '.join(PARTS)}"
            raise RequestFileError(f"unknown part `{name}`; {hint}")
    # A null is a part left out; of `client_ip` it says that the address is unknown, which only it can.
    return {name: part for name, part in parts.items() if part is not None or name == "client_ip"}


def _object(found: object, name: str) -> dict[str, object]:
    if not isinstance(found, dict):
        raise RequestFileError(f"{_quoted(name)} must be an object")
    return cast("dict[str, object]", found)


def _texts(found: object, name: str) -> dict[str, str]:
    """Return an object of scalars as texts, numbers and truth values as JSON writes them; nulls are left out."""
    texts: dict[str, str] = {}
    for key, value in _object(found, name).items():
        if isinstance(value, dict | list):
            raise RequestFileError(f"`{name}.{key}` must be text")
        if value is not None:
            texts[key] = value if isinstance(value, str) else json.dumps(value)
    return texts


def _path(found: object) -> str:
    path = found.rstrip("/") if isinstance(found, str) else ""
    if path.removeprefix("/api") not in INFERENCE:
        raise RequestFileError(f"`path` must be one of {', '.join(INFERENCE)}")
    return path


def _client_ip(found: object) -> str | None:
    if found is not None and not isinstance(found, str):
        raise RequestFileError("`client_ip` must be text")
    return found


def _draw(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1:
        raise RequestFileError("`random` must be a number from 0 up to, not including, 1")
    return float(found)


def _now(found: object) -> float:
    """Return Unix seconds, of a number or of a date and time in ISO 8601, UTC unless it says otherwise."""
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    try:
        moment = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise RequestFileError("`now` must be Unix seconds, or a date and time such as `2026-12-24T18:00:00Z`")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _quoted(name: str) -> str:
    return name if " " in name else f"`{name}`"
