"""Facts as a request that has them: what a client would send, and what is stated besides of the world around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from router_dsl.fields import TASKS, WEEKDAYS
from router_dsl.interpret import Value
from router_dsl.plan import Program
from runtime.decision import tokens
from runtime.decision.facts import address
from runtime.decision.rehearsal import BASELINE_NOW_S
from runtime.serve.paths import INFERENCE

Parts = dict[str, object]
"""A request as `explain --request` takes it."""

PATHS = {api: path for path, api in INFERENCE.items()}

_TEXTS = {
    "latin": "Hello", "cyrillic": "Привет", "greek": "Γειά", "arabic": "مرحبا", "hebrew": "שלום", "han": "你好世界",
    "kana": "こんにちは", "hangul": "안녕하세요", "devanagari": "नमस्ते", "thai": "สวัสดี",
}  # fmt: skip

_ATTACHMENTS: dict[str, dict[str, object]] = {
    "images": {"type": "image_url", "image_url": {"url": "https://example.com/picture.png"}},
    "audio": {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    "files": {"type": "file", "file": {"file_id": "file-1"}},
}

_MOST_FILLINGS = 6

_STATED = ("region", "over ", "healthy(", "load(")
"""What no request says: where the router runs, what is over, how endpoints are."""


class UnsayableError(ValueError):
    """Facts that no request has together."""


def requested(program: Program, policy: str, facts: Mapping[str, Value], measure: Callable[[Parts], int]) -> Parts:
    """Return a request with these facts.

    Args:
        program: Whose facts they are.
        policy: Which policy it asks.
        facts: Some facts by canonical name; None makes one missing. The rest is as usual.
        measure: Gives the estimated tokens of a request's prompt.

    Raises:
        UnsayableError: No request has them, or none that this can write.
    """
    sources = {fact.name: fact.source for fact in program.facts}
    own = {fact.name: fact for fact in program.facts}
    asking = _Asking(program, facts)
    for fact, value in facts.items():
        declared = own.get(fact)
        if declared is not None and declared.type == "ip" and isinstance(value, str):
            value = address(value)
        asking.say(sources.get(fact, fact), value)
    asking.name(policy, facts.get("model"), given="model" in facts)
    asking.talk(measure)
    return asking.parts()


class _Asking:
    """A request in the making."""

    def __init__(self, program: Program, facts: Mapping[str, Value]) -> None:
        self.program = program
        self.facts = facts
        self.api = str(facts.get("api") or "chat")
        self.headers: dict[str, object] = {}
        self.key: dict[str, object] = {}
        self.body: dict[str, object] = {}
        self.metadata: dict[str, object] = {}
        self.stated: dict[str, str] = {}
        self.rest: Parts = {}

    def say(self, source: str, value: Value) -> None:
        """Say one fact that is said in one place; the others are left to `talk`."""
        family, _, name = source.partition(".")
        if source.startswith(_STATED):
            self.stated[source] = _stated(source, value)
        elif family == "header" and value is not None:
            self.headers[name] = _text(value)
        elif family == "key" and value is not None:
            self.key[name] = _text(value)
        elif family == "metadata" and value is not None:
            self.metadata[name] = value
        elif family == "body":
            self._place(name, value)
        else:
            self._plain(source, value)

    def _place(self, path: str, value: Value) -> None:
        if value is None:
            return
        *folders, last = path.split(".")
        place = self.body
        for folder in folders:
            inner = place.setdefault(folder, {})
            if not isinstance(inner, dict) or folder.isdigit():
                raise UnsayableError(path)
            place = cast("dict[str, object]", inner)
        place[last] = value

    def _plain(self, fact: str, value: Value) -> None:
        match fact:
            case "stream" | "temperature" if value is not None:
                self.body[fact] = value
            case "user" if value is not None:
                self.body["user"] = value
            case "session" if value is not None:
                self.body["session_id"] = value
            case "tenant" if value is not None:
                self.headers["x-tenant-id"] = _text(value)
            case "task" if value in TASKS:
                self.metadata.setdefault("task", value)
            case "reasoning" if value is not None:
                self.body["reasoning_effort"] = value
            case "json":
                self._format(value)
            case "output.tokens" if value is not None:
                self.body["max_output_tokens" if self.api == "responses" else "max_tokens"] = value
            case "attempt" if isinstance(value, int | float) and value > 1:
                self.headers["x-stainless-retry-count"] = str(int(value) - 1)
            case "client.ip":
                self.rest["client_ip"] = address(value) if isinstance(value, str) else None
            case _ if fact.startswith("time."):
                self.rest["now"] = moment({name: v for name, v in self.facts.items() if name.startswith("time.")})
            case _:
                pass

    def _format(self, mode: Value) -> None:
        kind = {"object": "json_object", "schema": "json_schema"}.get(str(mode))
        if kind is None:
            return
        if self.api == "responses":
            self.body["text"] = {"format": {"type": kind}}
        elif self.api == "messages":
            self.body["output_format"] = {"type": kind}
        else:
            self.body["response_format"] = {"type": kind}

    # --- who is asked -------------------------------------------------------------------------------

    def name(self, policy: str, model: Value, *, given: bool) -> None:
        """Name a model, and the policy where it is not the default one."""
        default = policy == self.program.policies[0].name
        if given and model is not None:
            self.body["model"] = model
            if not default and model != f"@{policy}":
                self.body["preset"] = policy
        elif not default:
            self.body["model"] = f"@{policy}"
        elif not given:
            names = {name for one in self.program.models for name in (one.name, *one.aka)}
            self.body["model"] = next(name for name in ("auto", "any", "anything", "any-model") if name not in names)

    # --- what is said -------------------------------------------------------------------------------

    def talk(self, measure: Callable[[Parts], int]) -> None:
        """Write the messages, as long as they have to be."""
        facts = self.facts
        said = next((facts[name] for name in ("prompt.last", "prompt.text") if facts.get(name) is not None), None)
        language = facts.get("language")
        text = said if isinstance(said, str) else _TEXTS.get(str(language), "Hello") if language else "Hello"
        chars = facts.get("prompt.chars")
        if isinstance(chars, int | float) and said is None:
            text = (text * (int(chars) // len(text) + 1))[: int(chars)]
        tools = facts.get("tools")
        if isinstance(tools, int | float) and tools > 0:
            self.body["tools"] = [
                {"type": "function", "function": {"name": f"f{number}"}} for number in range(int(tools))
            ]
        self._write(text, "")
        wanted = facts.get("prompt.tokens")
        if isinstance(wanted, int | float):
            self._fill(text, int(wanted), measure, apart=said is not None or isinstance(chars, int | float))

    def _fill(self, text: str, wanted: int, measure: Callable[[Parts], int], *, apart: bool) -> None:
        """Make the prompt so many tokens long, by more text in the message or, `apart`, in the system's."""
        if measure(self.parts()) == wanted or (apart and "prompt.system" in self.facts):
            return

        def write(filler: str) -> int:
            self._write(*((text, filler) if apart else (filler, "")))
            return measure(self.parts())

        left = wanted - write("")
        if left < 0:
            raise UnsayableError("prompt.tokens")
        for _ in range(_MOST_FILLINGS):
            # A long text is estimated by samples, so the sum is not what its parts are: aim again.
            for filler in fillers(left):
                found = write(filler)
                if found == wanted:
                    return
            left += wanted - found
        # Not to the token; whether it will do is for the caller to see.

    def _write(self, text: str, filler: str) -> None:
        """Write the conversation: the turns before, the last message, the system's text."""
        facts = self.facts
        system = facts.get("prompt.system")
        if system is None and filler:
            system = filler
        if self.api in ("completions", "embeddings"):
            self.body["prompt" if self.api == "completions" else "input"] = text
            return
        parts = [part for name, part in _ATTACHMENTS.items() for _ in range(_count(facts.get(name)))]
        kind = "input_text" if self.api == "responses" else "text"
        content: object = [{"type": kind, "text": text}, *parts] if parts else text
        turns = facts.get("turns")
        before = max(0, _count(turns) - 1)
        roles = ["user" if (before - place) % 2 == 0 else "assistant" for place in range(before)]
        messages: list[dict[str, object]] = [{"role": role, "content": ""} for role in roles]
        if turns != 0:
            messages.append({"role": "user", "content": content})
        if self.api == "messages":
            if isinstance(system, str):
                self.body["system"] = system
        elif isinstance(system, str):
            messages.insert(0, {"role": "system", "content": system})
        self.body["input" if self.api == "responses" else "messages"] = messages

    def parts(self) -> Parts:
        """Return the request as it stands."""
        found: Parts = {}
        if self.api != "chat":
            found["path"] = PATHS[self.api]
        if self.headers:
            found["headers"] = dict(self.headers)
        body = dict(self.body)
        if self.metadata:
            body["metadata"] = dict(self.metadata)
        found["body"] = body
        if self.key:
            found["key"] = dict(self.key)
        found |= self.rest
        if self.stated:
            found["set"] = dict(self.stated)
        return found


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _count(value: Value) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _stated(fact: str, value: Value) -> str:
    if value is None:
        return "missing"
    if fact.startswith("healthy(") and isinstance(value, int | float):
        return f"{value * 100:.6f}".rstrip("0").rstrip(".") + "%"
    return _text(value)


def fillers(wanted: int) -> Iterator[str]:
    """Give texts of about so many tokens: exactly that many if there are such, else as few more as there are."""
    if wanted <= 0:
        yield ""
        return
    # A digit is a token and a bit; a letter is a sixth of one, to get there exactly.
    digits, letters = (_least(char, wanted) for char in "0a")
    if tokens.estimate("0" * digits) != wanted and tokens.estimate("a" * letters) == wanted:
        yield "a" * letters
    yield "0" * digits


def _least(char: str, wanted: int) -> int:
    """Return how many of a character are at least so many tokens."""
    low, high = 0, 8 * wanted + 8
    while low < high:
        middle = (low + high) // 2
        if tokens.estimate(char * middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


# --- the clock --------------------------------------------------------------------------------------


def moment(facts: Mapping[str, Value]) -> float:
    """Return a time, in Unix seconds, of which these `time` facts are true.

    Raises:
        UnsayableError: There is none.
    """
    days = {value for name, value in facts.items() if name.startswith("time.date") and isinstance(value, str)}
    starts = [date.fromisoformat(day) + timedelta(days=offset) for day in sorted(days) for offset in (0, -1, 1)]
    starts = starts or [datetime.fromtimestamp(BASELINE_NOW_S, UTC).date() + timedelta(days=n) for n in range(7)]
    for day in starts:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
        for quarter in sorted(range(-48, 48), key=abs):
            found = noon + quarter * 900
            if all(_at(found, name) == value for name, value in facts.items()):
                return found
    raise UnsayableError("time")


def _at(unix_s: float, name: str) -> Value:
    what, _, zone = name.removeprefix("time.").partition("@")
    at = datetime.fromtimestamp(unix_s, ZoneInfo(zone) if zone else UTC)
    if what == "hour":
        return at.hour
    return WEEKDAYS[at.weekday()] if what == "weekday" else at.date().isoformat()
