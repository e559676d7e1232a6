"""What the operator sets: the environment, read once, checked, frozen."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from router_dsl.seal import Key, KeyTextError, read_keys
from runtime.serve.keys import KeyFormatError, Keys
from runtime.wire import keep_alive
from runtime.wire.keep_alive import KeepAlive

# 16 MiB: a dozen images as base64 in one request. Serverless fronts stop at 6 MB (Lambda) to 32 MiB (Cloud Run).
DEFAULT_BODY_LIMIT_BYTES = 16 * 1024 * 1024

# Longer than the 60 s after which most load balancers give up an idle connection: the side that sends requests should
# be the one that closes. Google's hold on for 600 s, and want 620.
DEFAULT_KEEP_ALIVE_S = 75.0

# What Cloud Run grants between SIGTERM and SIGKILL; Kubernetes 30 s unless told otherwise.
DEFAULT_GRACE_S = 10.0

# A file is looked at when a request is over and a second has passed: 0.1 ms. An object store charges for each look.
FILE_REFRESH_S = 1.0
REMOTE_REFRESH_S = 60.0

# Far beyond what a store in the same zone takes (0.5 to 5 ms), and less than anyone notices before a first token.
DEFAULT_STORE_TIMEOUT_S = 0.25

_SUFFIXES = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class SettingError(ValueError):
    """An environment variable that says nothing usable; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one router instance serves.

    Attributes:
        policy: File to serve, from `POINTSMAN_POLICY`, or None.
        root: Folder that imports of a `.route` may not leave, from `POINTSMAN_ROOT`; None is the file's own.
        keys: Clients' keys, from `POINTSMAN_API_KEYS`.
        keys_file: A file with more of them, from `POINTSMAN_KEYS_FILE`, or None.
        anonymous: Without keys, answer anyone and not only this machine: `POINTSMAN_ANONYMOUS`.
        body_limit_bytes: Largest request body read, from `POINTSMAN_BODY_LIMIT`.
        region: Where this instance runs (the fact `region`), from `POINTSMAN_REGION`, or what the platform says.
        client_ip_header: Header, lower case, in which a trusted proxy says who asks: `POINTSMAN_CLIENT_IP_HEADER`.
        keep_alive_s: How long a client's connection may lie idle, from `POINTSMAN_KEEP_ALIVE`.
        grace_s: How long the end may take once it is asked for, from `POINTSMAN_GRACE`.
        policy_fallback: File to serve while `policy` cannot be: `POINTSMAN_POLICY_FALLBACK`, or None.
        policy_refresh_s: How often a changed policy is looked for, from `POINTSMAN_POLICY_REFRESH`; 0 is never, None is
            what suits the kind of source.
        plan_keys: A plan must be signed by one of them, where there are any: `POINTSMAN_PLAN_KEY`.
        stream_keep_alive: Signs of life in silent streams, from `POINTSMAN_STREAM_KEEP_ALIVE`; None sends none.
        traces: Whether OpenTelemetry's own variables ask for traces.
        log_facts: Whether log lines tell the facts that the policy asks: `POINTSMAN_LOG_FACTS`.
        store: Address of what counts the limits of all instances together, from `POINTSMAN_STORE`, or None.
        store_timeout_s: How long a request waits for it, at most, from `POINTSMAN_STORE_TIMEOUT`.
        store_closed: Refuse what a limit covers while it does not answer: `POINTSMAN_STORE_DOWN`.
    """

    policy: str | None = None
    root: str | None = None
    keys: Keys = field(default_factory=Keys)
    keys_file: str | None = None
    anonymous: bool = False
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES
    region: str | None = None
    client_ip_header: str | None = None
    keep_alive_s: float = DEFAULT_KEEP_ALIVE_S
    plan_keys: tuple[Key, ...] = ()
    stream_keep_alive: KeepAlive | None = None
    grace_s: float = DEFAULT_GRACE_S
    policy_fallback: str | None = None
    policy_refresh_s: float | None = None
    traces: bool = False
    log_facts: bool = False
    store: str | None = None
    store_timeout_s: float = DEFAULT_STORE_TIMEOUT_S
    store_closed: bool = False

    @property
    def needs_key(self) -> bool:
        """Whether clients must send a key; a file makes it so whatever is in it."""
        return bool(self.keys) or self.keys_file is not None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in an environment.

        Raises:
            SettingError: A variable is set to something unusable.
        """
        try:
            keys = Keys.parse(environ.get("POINTSMAN_API_KEYS", ""))
        except KeyFormatError as error:
            raise SettingError(f"POINTSMAN_API_KEYS: {error}") from error
        try:
            plan_keys = read_keys(environ.get("POINTSMAN_PLAN_KEY", ""))
        except KeyTextError as error:
            raise SettingError(f"POINTSMAN_PLAN_KEY: {error}") from error
        return cls(
            policy=environ.get("POINTSMAN_POLICY") or None,
            plan_keys=plan_keys,
            grace_s=_seconds("POINTSMAN_GRACE", environ, DEFAULT_GRACE_S),
            policy_fallback=environ.get("POINTSMAN_POLICY_FALLBACK") or None,
            policy_refresh_s=_refresh("POINTSMAN_POLICY_REFRESH", environ),
            root=environ.get("POINTSMAN_ROOT") or None,
            keys=keys,
            keys_file=environ.get("POINTSMAN_KEYS_FILE") or None,
            anonymous=_flag("POINTSMAN_ANONYMOUS", environ),
            body_limit_bytes=_size("POINTSMAN_BODY_LIMIT", environ, DEFAULT_BODY_LIMIT_BYTES),
            region=environ.get("POINTSMAN_REGION") or environ.get("AWS_REGION") or None,
            client_ip_header=environ.get("POINTSMAN_CLIENT_IP_HEADER", "").strip().lower() or None,
            keep_alive_s=_seconds("POINTSMAN_KEEP_ALIVE", environ, DEFAULT_KEEP_ALIVE_S),
            stream_keep_alive=_keep_alive("POINTSMAN_STREAM_KEEP_ALIVE", environ),
            traces=_traces(environ),
            log_facts=_flag("POINTSMAN_LOG_FACTS", environ),
            store=environ.get("POINTSMAN_STORE") or None,
            store_timeout_s=_milliseconds("POINTSMAN_STORE_TIMEOUT", environ, DEFAULT_STORE_TIMEOUT_S),
            store_closed=_is_closed("POINTSMAN_STORE_DOWN", environ),
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _traces(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables name somewhere to send traces, and nothing against it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter not in ("", "otlp", "console", "none"):
        raise SettingError(f"OTEL_TRACES_EXPORTER: `{exporter}` is none of otlp, console, none")
    places = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter != "none" and bool(exporter or any(environ.get(name) for name in places))


def _flag(name: str, environ: Mapping[str, str]) -> bool:
    text = environ.get(name, "").strip().lower()
    if text in ("", "0", "no", "false", "off"):
        return False
    if text in ("1", "yes", "true", "on"):
        return True
    raise SettingError(f"{name}: `{environ[name]}` is neither 1 nor 0")


def _size(name: str, environ: Mapping[str, str], default: int) -> int:
    text = environ.get(name, "").strip().lower().removesuffix("b")
    if not text:
        return default
    digits = text.rstrip("kmgi")
    try:
        size = int(float(digits) * (_SUFFIXES[text[len(digits) :]] if text != digits else 1))
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise SettingError(f"{name}: `{environ[name]}` is not a size such as 16Mi or 500k")
    return size


def _refresh(name: str, environ: Mapping[str, str]) -> float | None:
    text = environ.get(name, "").strip().lower()
    if not text:
        return None
    if text == "off":
        return 0.0
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds <= 1e6:
        raise SettingError(f"{name}: `{environ[name]}` is not a number of seconds such as 60, nor `off`")
    return seconds


def _seconds(name: str, environ: Mapping[str, str], default: float) -> float:
    text = environ.get(name, "").strip().lower().removesuffix("s")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text)):
        raise SettingError(f"{name}: `{environ[name]}` is not a number of seconds such as 75")
    return float(text)


def _keep_alive(name: str, environ: Mapping[str, str]) -> KeepAlive | None:
    try:
        return keep_alive.parse(environ.get(name, "").strip() or "off")
    except ValueError as error:
        raise SettingError(f"{name}: `{environ[name]}`: {error}") from error


def _milliseconds(name: str, environ: Mapping[str, str], default: float) -> float:
    text = environ.get(name, "").strip().lower()
    if not text:
        return default
    digits = text.removesuffix("ms")
    if digits == text or not (digits.isascii() and digits.isdigit() and 0 < len(digits) <= 6 and int(digits)):
        raise SettingError(f"{name}: `{environ[name]}` is not a time such as 250ms")
    return int(digits) / 1000


def _is_closed(name: str, environ: Mapping[str, str]) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in ("", "open", "closed"):
        raise SettingError(f"{name}: `{environ[name]}` is neither open nor closed")
    return text == "closed"
