"""The nearest word to a mistyped one, for every did-you-mean of the language."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was most likely meant to be, or None when none is near.

    Near is at most one edit for words up to five characters and one more for every three beyond (three at
    most). An edit is an inserted, lost, changed or swapped character (Damerau's, optimal string alignment);
    case does not count. Ties go to the candidate that comes first.
    """
    folded = word.casefold()
    allowed = min(3, max(1, (len(folded) + 1) // 3))
    best: str | None = None
    for candidate in candidates:
        other = candidate.casefold()
        if abs(len(other) - len(folded)) > allowed:
            continue
        edits = distance(folded, other)
        # A short word is all edits: `ab` is not meant to be `or`.
        if edits <= allowed and edits < max(len(folded), len(other)):
            best, allowed = candidate, edits - 1
            if edits == 0:
                break
    return best


def distance(a: str, b: str) -> int:
    """Return how many characters to insert, lose, change or swap with the next to make `b` of `a`."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above_above, before = before, row
        row = [i]
        for j, y in enumerate(b, 1):
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                edits = min(edits, above_above[j - 2] + 1)
            row.append(edits)
    return row[-1]
