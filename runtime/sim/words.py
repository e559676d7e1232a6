"""What a simulated model says: the same words for the same question, never a model's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from zlib import crc32

# Close to how tokenizers cut prose: a word with the space before it, or one mark.
_TOKEN = re.compile(r"\s*(?:\w{1,12}|[^\w\s])")

SENTENCES = (
    "No network and no key were needed for this answer.",
    "The words are made up on the spot, always the same ones for the same question.",
    "Put a real provider into the policy and it will answer here instead.",
    "The headers of this response tell which rule chose me, and how many attempts it took.",
    "Ask again with streaming to watch the words come one by one.",
    "If I seem fast, that is because nothing is being thought.",
)

# Enough of the question to recognise it by.
QUOTED_CHARS = 80

# A schema that refers to itself has to end somewhere; hand-written ones nest three or four levels.
DEEPEST = 8


def tokens(text: str) -> list[str]:
    """Return the text cut into pieces like a tokenizer's; joined they are the text, less white space at its end."""
    return _TOKEN.findall(text)


def say(provider: str, model: str, question: str, choice: int) -> str:
    """Return the answer to a question; `choice` counts the alternatives from 0."""
    quoted = " ".join(question.split())
    if len(quoted) > QUOTED_CHARS:
        quoted = quoted[: QUOTED_CHARS - 1] + "…"
    mix = crc32(f"{model}:{question}:{choice}".encode("utf-8", "surrogatepass"))
    said = [f"This is {model} at the simulated provider {provider}."]
    said.append(f"You said: “{quoted}”." if quoted else "You said nothing that I can read.")
    said += [SENTENCES[(mix + 5 * i) % len(SENTENCES)] for i in range(2 + mix // 64 % 3)]
    return " ".join(said)


def fill(schema: Mapping[str, object], text: str) -> object:
    """Return a value that a JSON schema admits, with `text` where it wants any string.

    Knows types, `properties`, `items`, `enum`, `const`, `minimum`, unions and local `$ref`, and no patterns or formats.
    """
    return _fill(schema, schema, text, DEEPEST)


def _fill(schema: object, root: Mapping[str, object], text: str, depth: int) -> object:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    match schema:
        case {"$ref": str(path)}:
            return _fill(_resolve(path, root), root, text, depth - 1)
        case {"const": value}:
            return value
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [*options]} | {"oneOf": [*options]} | {"allOf": [*options]} if options:
            told = [option for option in options if option != {"type": "null"}]
            return _fill(told[0] if told else None, root, text, depth - 1)
        case _:
            return _of_type(schema, root, text, depth)


def _of_type(schema: Mapping[object, object], root: Mapping[str, object], text: str, depth: int) -> object:
    kind, properties = schema.get("type"), schema.get("properties")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        kind = next((name for name in kind if name != "null"), None)
    if kind is None:
        kind = "object" if isinstance(properties, Mapping) else "string"
    match kind:
        case "object":
            known = properties if isinstance(properties, Mapping) else {}
            return {str(name): _fill(inner, root, text, depth - 1) for name, inner in known.items()}
        case "array":
            return [_fill(schema["items"], root, text, depth - 1)] if "items" in schema and depth > 1 else []
        case "string":
            return text
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return None


def _resolve(path: str, root: Mapping[str, object]) -> object:
    found: object = root
    for name in path.removeprefix("#").strip("/").split("/"):
        if name and isinstance(found, Mapping):
            found = found.get(name)
    return found
