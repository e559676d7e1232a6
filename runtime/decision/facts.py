"""Request to facts: each computed when it is first asked for, and never an exception, whatever the client sent."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec
from msgspec import Raw

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS, EFFORTS, JSON_MODES, TASKS, WEEKDAYS
from router_dsl.plan import FactDecl, Program, Scalar
from runtime.decision import language, naming, task, tokens
from runtime.decision.state import State
from runtime.wire import prompt as wire_prompt
from runtime.wire.prompt import Prompt
from runtime.wire.request import Body, Chat, Completions, Messages, Responses, Typed

Value = Scalar | None


class Call(msgspec.Struct, frozen=True):
    """One request as data.

    Attributes:
        api: One of `fields.APIS`.
        path: As called.
        headers: Names in lower case.
        body: The decoded fields; `raw`: the body as received.
        key: Attributes of the caller's API key.
        client_ip: Peer, or the trusted forwarding header's address; None when unknown.
        now_s: Unix time of its arrival, in seconds.
        region: Where this instance runs.
    """

    api: str
    path: str
    headers: Mapping[str, str]
    body: Body
    raw: bytes
    key: Mapping[str, str]
    client_ip: str | None
    now_s: float
    region: str | None


class Facts(dict[str, Value]):
    """The facts of one request under their canonical names (`plan.Atom.fact`); None is missing.

    Reading one that was not asked before computes and keeps it, so what the dict holds is what the decision looked at.
    Facts that derive from others ask for them here, so overrides carry through.
    """

    __slots__ = ("_given", "_prompt", "call", "program", "state")

    def __init__(self, call: Call, program: Program, state: State, given: Mapping[str, Value] | None = None) -> None:
        """Start with what is given.

        Args:
            call: The request.
            program: Whose facts, pools and limits may be asked.
            state: For `healthy`, `load` and `over`.
            given: Facts set from outside; None makes one missing.
        """
        self.call = call
        self.program = program
        self.state = state
        self._prompt: Prompt | None = None
        self._given: Mapping[str, Value] | None = given
        if given:
            self.update(given)

    def __missing__(self, name: str) -> Value:
        compute = _PLAIN.get(name)
        value = compute(self) if compute is not None else self._compound(name)
        self[name] = value
        return value

    def get(self, name: str, default: Value = None) -> Value:  # type: ignore[override]
        """Return the fact, computed if need be; `default` when it is missing."""
        value = self[name]
        return default if value is None else value

    @property
    def prompt(self) -> Prompt:
        """What the body asks with."""
        found = self._prompt
        if found is None:
            found = self._prompt = wire_prompt.read(self.call.body)
        return found

    def naming(self, model: str) -> Facts:
        """Return the facts as they are when the request names only that model."""
        other = Facts(self.call, self.program, self.state, self._given)
        other.update(self)
        other._prompt = self._prompt
        other["model"] = model
        return other

    def is_given(self, *names: str) -> bool:
        """Whether any of the names was set from outside."""
        given = self._given
        return given is not None and any(name in given for name in names)

    def look(self, name: str) -> Value:
        """Return a cheap fact that another derives from, without counting it as asked."""
        if name in self:
            return self[name]
        compute = _PLAIN.get(name)
        return compute(self) if compute is not None else self._compound(name)

    def request_tokens_at_most(self) -> float:
        """Return a bound of `request.tokens` that costs no look at the prompt.

        No estimate exceeds one token for each byte of the body, and every attachment is a part with a `type`.
        """
        if self._given:
            return math.inf
        raw = self.call.raw
        output = self.look("output.tokens")
        answer = output if isinstance(output, int | float) else DEFAULT_OUTPUT_TOKENS
        return len(raw) + tokens.PER_ATTACHMENT * raw.count(b'"type"') + answer

    def prefix(self) -> str:
        """Return the text that a provider's prompt cache would recognise: system text and first message."""
        return f"{self['prompt.system'] or ''}\n{self.prompt.first}"

    def _compound(self, name: str) -> Value:
        """A fact whose name has parts, or one of the author's own."""
        family, dot, rest = name.partition(".")
        if dot:
            if family == "header":
                return self.call.headers.get(rest)
            if family == "metadata":
                return _scalar_text(self.call.body.metadata, rest)
            if family == "key":
                return self.call.key.get(rest)
            if family == "time":
                return _time(self, rest)
        if name.startswith("over "):
            return self.state.is_over(name[5:])
        if name.startswith("healthy("):
            return _healthy(self, name[8:-1])
        if name.startswith("load("):
            return _load(self, name[5:-1])
        for declared in self.program.facts:
            if declared.name == name:
                return _declared(self, declared)
        return None


# --- the body -------------------------------------------------------------------------------------


def _model(facts: Facts) -> Value:
    body = facts.call.body
    return body.model if naming.is_plain(body) else naming.first_model(body, facts.program.declares)


def _text(facts: Facts) -> Value:
    if facts.is_given("prompt.last", "prompt.system"):
        return "\n".join(str(part) for part in (facts["prompt.system"], facts["prompt.last"]) if part is not None)
    return "\n".join(facts.prompt.texts)


def _last(facts: Facts) -> Value:
    return facts["prompt.text"] if facts.is_given("prompt.text") else facts.prompt.last


def _system(facts: Facts) -> Value:
    return None if facts.is_given("prompt.text", "prompt.last") else facts.prompt.system


def _chars(facts: Facts) -> Value:
    text = facts["prompt.text"]
    return len(text) if isinstance(text, str) else 0


def _prompt_tokens(facts: Facts) -> Value:
    prompt = facts.prompt
    text = facts["prompt.text"]
    structured = prompt.structured_bytes
    if not facts.is_given("tools"):
        structured += sum(memoryview(tool).nbytes for tool in _tools(facts))
    pictures = sum(count for name in ("images", "audio", "files") if isinstance(count := facts.look(name), int))
    return (
        (tokens.estimate(text) if isinstance(text, str) else 0)
        + prompt.token_ids
        + tokens.of_messages(len(prompt.texts))
        + tokens.of_json(structured)
        + tokens.PER_ATTACHMENT * pictures
    )


def _output_tokens(facts: Facts) -> Value:
    body = facts.call.body
    for limit in (body.max_completion_tokens, body.max_tokens, body.max_output_tokens):
        # -1 and 0 mean "no limit" to several servers.
        if limit is not None and limit >= 1:
            return int(limit)
    return None


def _request_tokens(facts: Facts) -> Value:
    prompt, output = facts["prompt.tokens"], facts.look("output.tokens")
    if not isinstance(prompt, int | float):
        return None
    return prompt + (output if isinstance(output, int | float) else DEFAULT_OUTPUT_TOKENS)


def _tools(facts: Facts) -> list[Raw]:
    body = facts.call.body
    return (body.tools or []) + ((isinstance(body, Chat) and body.functions) or [])


def _json(facts: Facts) -> Value:
    body = facts.call.body
    match body:
        case Chat() | Completions():
            asked: Typed | None = body.response_format
        case Responses():
            asked = body.text.format if body.text else None
        case Messages():
            asked = body.output_format or (body.output_config.format if body.output_config else None)
        case _:
            asked = None
    kind = asked.type if asked and asked.type else "text"
    return {"text": "none", "json_object": "object"}.get(kind, JSON_MODES[2])


def _reasoning(facts: Facts) -> Value:
    body = facts.call.body
    effort = body.reasoning_effort
    asked = body.output_config if isinstance(body, Messages) else body.reasoning
    if effort is None and asked is not None:
        effort = asked.effort or {True: "medium", False: "none", None: None}[asked.enabled]
    if effort is None and isinstance(body, Messages) and body.thinking is not None:
        effort = "none" if body.thinking.type == "disabled" else "medium"
    if effort == "max":  # Anthropic's word for the most
        effort = EFFORTS[-1]
    return effort if effort in EFFORTS else None


def _temperature(facts: Facts) -> Value:
    return facts.call.body.temperature


def _task(facts: Facts) -> Value:
    said = facts.look("metadata.task")
    if said in TASKS:
        return said
    images, text, system = facts.look("images"), facts["prompt.last"], facts["prompt.system"]
    return task.classify(
        text if isinstance(text, str) else "",
        images=images if isinstance(images, int) else 0,
        system=system if isinstance(system, str) else "",
    )


def _language(facts: Facts) -> Value:
    text = facts["prompt.last"]
    if text is None:
        text = facts["prompt.text"]
    return language.guess(text) if isinstance(text, str) else None


# --- who asks -------------------------------------------------------------------------------------

SESSION_HEADERS = (
    "header.x-session-id", "header.x-claude-code-session-id", "header.x-session-affinity", "header.session_id",
    "header.session-id", "header.x-grok-conv-id",
)  # fmt: skip
"""Headers that name a session, first wins: OpenRouter's, Claude Code's, Fireworks', Codex's two, Grok's."""


def _first(facts: Facts, *names: str) -> Value:
    for name in names:
        if value := facts.look(name):
            return value
    return None


def _user(facts: Facts) -> Value:
    return facts.call.body.user or _first(facts, "metadata.user_id", "header.x-user-id", "key.user")


def _session(facts: Facts) -> Value:
    body = facts.call.body
    # Anthropic's clients have no other field; theirs ends in the session.
    metadata = ("metadata.session_id", "metadata.user_id") if isinstance(body, Messages) else ("metadata.session_id",)
    return body.session_id or _first(facts, *SESSION_HEADERS, *metadata) or body.prompt_cache_key or None


def _tenant(facts: Facts) -> Value:
    return _first(facts, "key.tenant", "header.x-tenant-id", "metadata.tenant")


def _client_ip(facts: Facts) -> Value:
    return _ip_digits(facts.call.client_ip) if facts.call.client_ip else None


def _attempt(facts: Facts) -> Value:
    count = facts.call.headers.get("x-stainless-retry-count", "")
    return 1 + int(count) if count.isascii() and count.isdigit() and len(count) < 5 else 1


# --- the clock ------------------------------------------------------------------------------------


def _time(facts: Facts, rest: str) -> Value:
    """`hour`, `weekday` or `date`, of UTC or of the zone after `@`; missing for a zone that is not known here."""
    what, _, zone = rest.partition("@")
    try:
        moment = datetime.fromtimestamp(facts.call.now_s, _zone(zone))
    except (ValueError, OverflowError, OSError):
        return None
    if what == "hour":
        return moment.hour
    if what == "weekday":
        return WEEKDAYS[moment.weekday()]
    return moment.date().isoformat() if what == "date" else None


def _zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name, UTC for none.

    Raises:
        ValueError: There is no such zone.
    """
    if not name:
        return UTC
    # Imported where it is asked for: few policies are, and it costs a cold start 3 ms.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(name) from error


# --- health ---------------------------------------------------------------------------------------


def _pool(program: Program, name: str) -> tuple[int, ...]:
    """Endpoints of a pool, a model or a provider of that name, or the one endpoint; empty when there is none."""
    for pool, endpoints in program.pools:
        if pool == name:
            return endpoints
    for model in program.models:
        if model.name == name:
            return model.endpoints
    return tuple(
        index
        for index, endpoint in enumerate(program.endpoints)
        if name in (program.providers[endpoint.provider].name, endpoint.id)
    )


def _healthy(facts: Facts, name: str) -> Value:
    endpoints = _pool(facts.program, name)
    return sum(facts.state.in_service(index) for index in endpoints) / len(endpoints) if endpoints else None


def _load(facts: Facts, name: str) -> Value:
    endpoints = _pool(facts.program, name)
    return sum(facts.state.load(index) for index in endpoints) / len(endpoints) if endpoints else None


# --- facts of the author's own --------------------------------------------------------------------

_OBJECT: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_SCALAR: msgspec.json.Decoder[str | int | float | bool | None] = msgspec.json.Decoder(str | int | float | bool | None)


def _declared(facts: Facts, fact: FactDecl) -> Value:
    family, _, rest = fact.source.partition(".")
    value = _at_path(facts.call.raw, rest) if family == "body" else facts.look(fact.source)
    return None if value is None else _parse(value, fact)


def _at_path(raw: bytes, path: str) -> Value:
    """The scalar at a dotted path into a JSON body; a number steps into a list."""
    at: bytes | Raw = raw
    try:
        for step in path.split("."):
            if bytes(at[:1] if isinstance(at, bytes) else memoryview(at)[:1]) == b"[":
                at = _LIST.decode(at)[int(step)] if step.isdigit() else Raw(b"null")
            else:
                at = _OBJECT.decode(at)[step]
        return _SCALAR.decode(at)
    except (ValueError, LookupError, RecursionError):
        return None


def _scalar_text(values: Mapping[str, Raw] | None, name: str) -> str | None:
    """A scalar of `metadata` as text, other than text as JSON writes it; missing when null or not a scalar."""
    raw = values.get(name) if values else None
    if raw is None:
        return None
    try:
        value = _SCALAR.decode(raw)
    except (ValueError, RecursionError):
        return None
    if value is None or isinstance(value, str):
        return value
    return bytes(raw).decode("ascii")


_DIGITS = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _parse(value: Scalar, fact: FactDecl) -> Value:
    """A value of the fact's type, or None."""
    match fact.type:
        case "text":
            return _as_text(value)
        case "one of":
            text = _as_text(value).strip()
            return text if text in fact.values else None
        case "number":
            return _number(value)
        case "tokens":
            number = _number(value)
            return number if number is not None and number >= 0 else None
        case "bool":
            return _BOOLS.get(_as_text(value).strip().lower())
        case "ip":
            return _ip_digits(value.strip()) if isinstance(value, str) else None


def _as_text(value: Scalar) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("ascii")


def _number(value: Scalar) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if _DIGITS.fullmatch(text) is None:
            return None
        value = float(text) if any(mark in text for mark in ".eE") else int(text)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value


@lru_cache(4096)
def _ip_digits(text: str) -> str | None:
    """An address as 32 hex digits, IPv4 mapped into `::ffff:0:0/96`, so that text order is address order."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return f"{0xFFFF00000000 | int(address):032x}"
    return f"{int(address):032x}"


def address(digits: str) -> str:
    """Return 32 hex digits as people write the address."""
    found = IPv6Address(int(digits, 16))
    return str(found.ipv4_mapped or found)


# --- the table ------------------------------------------------------------------------------------

_PLAIN: dict[str, Callable[[Facts], Value]] = {
    "api": lambda facts: facts.call.api,
    "model": _model,
    "stream": lambda facts: facts.call.body.stream is True,
    "prompt.text": _text,
    "prompt.system": _system,
    "prompt.last": _last,
    "prompt.tokens": _prompt_tokens,
    "prompt.chars": _chars,
    "output.tokens": _output_tokens,
    "request.tokens": _request_tokens,
    "turns": lambda facts: facts.prompt.turns,
    "tools": lambda facts: len(_tools(facts)),
    "images": lambda facts: facts.prompt.images,
    "audio": lambda facts: facts.prompt.audio,
    "files": lambda facts: facts.prompt.files,
    "json": _json,
    "reasoning": _reasoning,
    "temperature": _temperature,
    "task": _task,
    "language": _language,
    "user": _user,
    "session": _session,
    "tenant": _tenant,
    "client.ip": _client_ip,
    "region": lambda facts: facts.call.region,
    "attempt": _attempt,
}


# --- for people and logs --------------------------------------------------------------------------

_PROMPT = ("prompt.text", "prompt.system", "prompt.last")
_PROMPT_PATHS = ("body.messages", "body.prompt", "body.input", "body.system", "body.instructions", "body.tools")
_SECRET_HEADERS = (
    "header.authorization",
    "header.x-api-key",
    "header.api-key",
    "header.cookie",
    "header.proxy-authorization",
)


def report(facts: Facts, names: Iterable[str] = ()) -> dict[str, object]:
    """Return the facts asked so far, and these, fit for logs: addresses readable, no prompt text, no credentials."""
    for name in names:
        facts[name]  # finds it out
    declared = {fact.name: fact for fact in facts.program.facts}
    shown: dict[str, object] = {}
    for name, value in facts.items():
        fact = declared.get(name)
        source = fact.source if fact else name
        if name in _PROMPT or source in _SECRET_HEADERS or source.startswith(_PROMPT_PATHS):
            continue
        is_ip = name == "client.ip" or (fact is not None and fact.type == "ip")
        shown[name] = address(value) if is_ip and isinstance(value, str) else value
    return shown
