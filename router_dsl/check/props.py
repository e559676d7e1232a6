"""The keyworded options of providers, models and endpoints, read one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.check.quantity import Kind, number
from router_dsl.check.report import Report
from router_dsl.check.scope import text_of


@dataclass(frozen=True, slots=True)
class Props:
    """The options of one declaration by keyword.

    Attributes:
        owner: The declaration, as messages call it.
        many: Every option in the order written, repeats included.
    """

    owner: str
    many: Sequence[ast.Prop]
    once: dict[str, ast.Prop]
    report: Report

    def node(self, keyword: str) -> ast.Prop | None:
        """Return the option as written, or None."""
        return self.once.get(keyword)

    def text(self, keyword: str) -> str | None:
        """Return the one text of an option, None when it is unsaid or reported."""
        prop = self.once.get(keyword)
        if prop is None:
            return None
        texts = [text_of(value) for value in prop.values]
        if texts == [""]:
            self.report.add("E406", f"`{keyword}` of {self.owner} is empty", prop.values[0].span)
            return None
        if len(texts) != 1 or not texts[0]:
            self._malformed(prop, "one name or text")
            return None
        return texts[0]

    def one_of(self, keyword: str, words: Collection[str]) -> str | None:
        """Return the word of an option that takes one of a few."""
        word, prop = self.text(keyword), self.once.get(keyword)
        if word is None or prop is None or word in words:
            return word
        near = self.report.near(word, words)
        help = f"did you mean `{near}`?" if near else "it takes " + ", ".join(f"`{one}`" for one in words)
        self.report.add("E213", f"`{keyword}` is never `{word}`", prop.values[0].span, help)
        return None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the texts of an option that lists them, each once, in the order written."""
        prop = self.once.get(keyword)
        if prop is None:
            return ()
        texts = [text_of(value) for value in prop.values]
        if not texts or any(not text for text in texts):
            self._malformed(prop, "names or texts, separated by commas")
        return tuple(dict.fromkeys(text for text in texts if text))

    def number(self, keyword: str, kind: Kind, low: float) -> int | float | None:
        """Return the one number of an option, in the plan's unit."""
        prop = self.once.get(keyword)
        if prop is None:
            return None
        # `limit 8 concurrent`: the word may be kept behind its number.
        numbers = [value for value in prop.values if isinstance(value, ast.Number)]
        if len(numbers) != 1:
            self._malformed(prop, "a number")
            return None
        return number(numbers[0], kind, f"`{keyword}`", self.report, low=low)

    def whole(self, keyword: str, kind: Kind = "count") -> int | None:
        """Return the one whole number of an option, at least 1."""
        found = self.number(keyword, kind, low=1)
        return None if found is None else int(found)

    def _malformed(self, prop: ast.Prop, wanted: str) -> None:
        self.report.add("E406", f"`{prop.keyword.text}` of {self.owner} takes {wanted}", prop.span)


def read(
    owner: str, props: Sequence[ast.Prop], known: Collection[str], report: Report, *, repeated: Collection[str] = ()
) -> Props:
    """Return the options by keyword; unknown ones and repeats of those not in `repeated` are reported."""
    once: dict[str, ast.Prop] = {}
    for prop in props:
        keyword = prop.keyword.text
        if keyword not in known:
            near = report.near(keyword, known)
            help = f"did you mean `{near}`?" if near else "it takes " + ", ".join(f"`{one}`" for one in known)
            report.add("E213", f"{owner} takes no `{keyword}`", prop.keyword.span, help)
        elif keyword in once and keyword not in repeated:
            report.add(
                "E404",
                f"`{keyword}` of {owner} is said twice",
                prop.span,
                f"the first is in line {once[keyword].span.line}",
            )
        else:
            once.setdefault(keyword, prop)
    return Props(owner, props, once, report)
