"""How many tokens a text is, estimated by counting kinds of characters; docs/estimators.md states the error."""

from __future__ import annotations

import string

from runtime.decision import scripts

# All weights: tokens for each one counted, fitted by least squares of the relative error to the mean of six current
# tokenizers (GPT-4o, Llama 3, Qwen 3, DeepSeek V3, Gemma 3, Mistral's Tekken) on text in 33 languages and eight kinds
# of code (benchmarks/estimators.py, docs/estimators.md, 2026-11).
PER_WORD = 0.26
PER_LOWER = 0.175
PER_UPPER = 0.23
PER_HUMP = 0.76  # an upper-case letter behind a lower-case one: camelCase, base64
PER_DIGIT = 1.08
PER_PUNCTUATION_RUN = 0.90
PER_LINE = 0.97
PER_UNIT = {
    "latin": 1.09, "greek": 0.53, "cyrillic": 0.35, "hebrew": 0.70, "arabic": 0.40, "devanagari": 0.70,
    "gurmukhi": 0.70, "tamil": 0.70, "telugu": 0.70, "malayalam": 0.70, "thai": 0.45, "tibetan": 0.88,
    "georgian": 0.88, "ethiopic": 0.88, "khmer": 0.88, "mongolian": 0.88, "kana": 0.59, "han": 0.81, "hangul": 0.73,
    "wide": 0.8, "symbol": 1.2,
}  # fmt: skip

# What OpenAI's chat format adds: 3 tokens and the role for each message, 3 to open the answer.
PER_MESSAGE = 4
PER_REQUEST = 3

# A picture of 1024×1024 is 765 tokens to OpenAI's vision models and about 1,400 to Anthropic's.
PER_ATTACHMENT = 1000

# Tool schemas and calls as clients send them: 4.4 and 3.2 bytes a token, measured on compact JSON.
JSON_BYTES_PER_TOKEN = 4

# A text of more than 1,024 characters is judged by slices spread over it, one for each 256 characters but at least 16
# and at most 64, so that 200 KB cost what 4 KB do.
SLICE_CHARS = 64
CHARS_PER_SLICE = 256
LEAST_SLICES, MOST_SLICES = 16, 64

_LETTERS = string.ascii_letters.encode()
_SPACE = b" \t\n\r\v\f\0"


def _kind(byte: int) -> bytes:
    char = bytes([byte])
    if char in _LETTERS:
        return b"a" if char.islower() else b"A"
    if char.isdigit():
        return b"0"
    return b"\n" if char == b"\n" else b" " if char in _SPACE else b"."


_KINDS = b"".join(_kind(byte) for byte in range(256))
_WORDS = bytes(ord("a") if byte in _LETTERS else ord(" ") for byte in range(256))
_PUNCTUATION = bytes(ord(".") if kind == ord(".") else ord(" ") for kind in _KINDS)


def estimate(text: str) -> int:
    """Return about how many tokens a current tokenizer makes of a text; at least 1 unless it is empty."""
    size = len(text)
    if size <= LEAST_SLICES * SLICE_CHARS:
        return max(1, round(_weigh(text))) if size else 0
    slices = min(max(size // CHARS_PER_SLICE, LEAST_SLICES), MOST_SLICES)
    step = (size - SLICE_CHARS) / (slices - 1)
    starts = [int(index * step) for index in range(slices)]
    sample = "".join([text[start : start + SLICE_CHARS] for start in starts])
    return max(1, round(_weigh(sample) * size / len(sample)))


def _weigh(text: str) -> float:
    plain = scripts.ascii_only(text)
    kinds = plain.translate(_KINDS)
    words = plain.translate(_WORDS)
    punctuation = plain.translate(_PUNCTUATION)
    weight = (
        PER_WORD * (words.count(b" a") + words.startswith(b"a"))
        + PER_LOWER * kinds.count(b"a")
        + PER_UPPER * kinds.count(b"A")
        + PER_HUMP * kinds.count(b"aA")
        + PER_DIGIT * kinds.count(b"0")
        + PER_PUNCTUATION_RUN * (punctuation.count(b" .") + punctuation.startswith(b"."))
        + PER_LINE * kinds.count(b"\n")
    )
    if len(plain) < len(text):
        weight += sum(PER_UNIT[script] * units for script, units in scripts.count(text, len(plain)).items())
    return weight


def of_messages(count: int) -> int:
    """Return the tokens that wrapping that many messages costs."""
    return PER_REQUEST + PER_MESSAGE * count


def of_json(size_bytes: int) -> int:
    """Return about how many tokens JSON of that size is."""
    return -(-size_bytes // JSON_BYTES_PER_TOKEN)
