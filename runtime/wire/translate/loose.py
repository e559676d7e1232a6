"""Reads of JSON that may be anything, and what is said when something in it has no equivalent elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

Json = dict[str, object]


class InexpressibleError(Exception):
    """A request says something that the endpoint's interface cannot.

    Attributes:
        field: Where in the client's body, such as `messages[2].content[0]`.
        message: What cannot be said, for people.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Dropped:
    """What a translation left out, by the client's names, each once; a hint that changes no meaning may be."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Note one."""
        self._names[name] = None

    def add_rest(self, left: Json) -> None:
        """Note every field that was sent and not understood."""
        for name, value in left.items():
            if value is not None:
                self.add(name)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order met."""
        return tuple(self._names)


def object_of(value: object) -> Json:
    """Return an object as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[Json]:
    """Return the objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """Return text as it is, and anything else as none."""
    return value if isinstance(value, str) else ""


def count_of(value: object) -> int:
    """Return a number of tokens, 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < 10**15 else 0


def parsed(text: bytes | str) -> object:
    """Return a JSON value; half an emoji is no reason to lose it.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested beyond reason.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def encoded(value: object) -> bytes:
    """Return a JSON value as bytes, compactly; half an emoji as its escape."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def said(body: Json) -> Json:
    """Return the fields of a body that are not null: null says what saying nothing says."""
    return {name: value for name, value in body.items() if value is not None}


def sayable(body: Json, refused: Sequence[str], interface: str) -> Json:
    """Return what is said of a chat request that an interface with one answer in text is to be asked.

    Args:
        body: The chat request.
        refused: Fields that it has no equivalent of.
        interface: What it is called, for people.

    Raises:
        InexpressibleError: One of them is asked for, or several answers, or spoken ones.
    """
    left = said(body)
    for name in refused:
        if left.pop(name, None):
            raise InexpressibleError(name, f"{interface} has no equivalent")
    if left.pop("n", 1) != 1:
        raise InexpressibleError("n", f"{interface} gives one answer")
    if "audio" in (modalities if isinstance(modalities := left.pop("modalities", None), list) else []):
        raise InexpressibleError("modalities", f"{interface} has no audio")
    return left


# --- tool arguments -------------------------------------------------------------------------------

INVALID = "INVALID_JSON"
"""What Anthropic's documentation has text that should have been an object wrapped in."""


def input_of(arguments: object) -> object:
    """Return a tool call's arguments, text to chat, as the object that Anthropic has; its bytes are kept."""
    text = text_of(arguments)
    if not text.strip():
        return {}
    try:
        found = parsed(text)
    except (ValueError, RecursionError):
        return {INVALID: text}
    if not isinstance(found, dict):
        return {INVALID: text}
    try:
        return msgspec.Raw(text.encode())
    except UnicodeEncodeError:
        return found


def arguments_of(given: object) -> str:
    """Return the arguments of a tool use as text."""
    found = object_of(given)
    if len(found) == 1 and isinstance(found.get(INVALID), str):
        return text_of(found[INVALID])
    return encoded(found).decode()
