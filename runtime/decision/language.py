"""Which script a text is written in: the one that most of its words are in."""

from __future__ import annotations

import re
import string

from runtime.decision import scripts

# A message longer than this is judged by its first and last halves of it: instructions stand at either end.
SAMPLE_CHARS = 1024

# How many letters of an alphabet one character stands for, so that a Chinese sentence full of English names is Chinese:
# a word is five letters, one and a half to two Han characters, two to three syllables of Hangul or Kana.
LETTERS_EACH = {"han": 3, "kana": 2, "hangul": 2}

# Japanese is told from Chinese by its kana: half of a usual text, and a tenth even of a headline.
KANA_SHARE = 0.1

# Characters looked at one by one to tell two scripts of a block apart: some ten words.
MOST_TOLD_APART = 64

# Blocks of 256 that two scripts share: the second one and its range.
_SHARED = {
    "hebrew": ("armenian", "\u0530", "\u058f"),
    "devanagari": ("bengali", "\u0980", "\u09ff"),
    "gurmukhi": ("gujarati", "\u0a80", "\u0aff"),
    "tamil": ("oriya", "\u0b00", "\u0b7f"),
    "telugu": ("kannada", "\u0c80", "\u0cff"),
    "malayalam": ("sinhala", "\u0d80", "\u0dff"),
    "thai": ("lao", "\u0e80", "\u0eff"),
    "georgian": ("myanmar", "\u1000", "\u109f"),
}
# Punctuation in the block of kana that Chinese uses as well.
_CJK_PUNCTUATION = "、。〈〉《》「」『』【】〔〕〜々　"
_NOT_LETTERS = bytes(byte for byte in range(128) if chr(byte) not in string.ascii_letters)


def guess(text: str) -> str | None:
    """Return `latin`, `cyrillic`, `greek`, `arabic`, `hebrew`, `han`, `kana`, `hangul`, `devanagari`, `thai`, …

    None for a text without letters. Names are those of Unicode's scripts in lower case; `kana` is any Japanese.
    """
    if len(text) > SAMPLE_CHARS:
        half = SAMPLE_CHARS // 2
        text = text[:half] + text[-half:]
    plain = scripts.ascii_only(text)
    letters = len(plain.translate(None, _NOT_LETTERS))
    if len(plain) == len(text):
        return "latin" if letters else None
    found = scripts.count(text, len(plain))
    found.pop("symbol", None)
    found.pop("wide", None)
    if "kana" in found:
        found["kana"] -= sum(map(text.count, _CJK_PUNCTUATION))
    kana, han = found.get("kana", 0), found.get("han", 0)
    if kana and kana >= KANA_SHARE * (kana + han):
        found["kana"] = kana + found.pop("han", 0)
    found["latin"] += letters
    weighed = {script: units * LETTERS_EACH.get(script, 1) for script, units in found.items()}
    best = max(weighed, key=weighed.__getitem__)
    if weighed[best] <= 0:
        return None
    return _told_apart(best, text) if best in _SHARED else best


def _told_apart(script: str, text: str) -> str:
    """Which of two scripts that share a block has more of a text's characters."""
    other, low, high = _SHARED[script]
    block = re.findall(f"[{chr(ord(low) & ~0xFF)}-{chr(ord(high) | 0xFF)}]", text)[:MOST_TOLD_APART]
    return other if 2 * sum([low <= char <= high for char in block]) > len(block) else script
