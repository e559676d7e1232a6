"""Policies as text, loaded the way serving loads them."""

from __future__ import annotations

from router_dsl.check.program import check
from router_dsl.compile.build import build
from router_dsl.load import load_text
from router_dsl.plan import Scalar, decode, encode
from router_dsl.source import render
from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.decision.rehearsal import Scripted, baseline_call
from runtime.decision.route import Route, route
from runtime.decision.state import State

PROVIDERS = """
provider us  { url "http://127.0.0.1:1/v1" region us }
provider eu  { url "http://127.0.0.1:2/v1" region eu }
provider asia { url "http://127.0.0.1:3/v1" region asia  tags spot }
model big {
  context 32k
  aka "gpt-4o"
  serve us   "big-us"    price $2 in $4 out
  serve eu   "big-eu"    price $1 in $2 out  supports tools
  serve asia "big-asia"  price $4 in $8 out  context 8k
}
model small { serve us "small-us" price $0.10 in $0.20 out }
model tiny  { serve us "tiny-us" serve eu "tiny-eu" serve eu as fast "tiny-eu-fast" weight 3 }
"""


def make_book(text: str, unconfigured: tuple[int, ...] = ()) -> Book:
    """Compile a policy (after the providers and models above), ship it, load it."""
    files, found = load_text(PROVIDERS + text, "test.route")
    program, more = check(files)
    errors = [render(d) for d in [*found, *more] if d.severity == "error"]
    assert program is not None, "\n".join(errors)
    return Book(decode(encode(build(program, "0" * 64))), unconfigured)


class Desk:
    """A policy under test: decide a request, read the plan by endpoint ids."""

    def __init__(self, text: str, unconfigured: tuple[int, ...] = ()) -> None:
        self.book = make_book(text, unconfigured)

    def index(self, endpoint: str) -> int:
        return next(i for i, e in enumerate(self.book.endpoints) if e.id == endpoint)

    def facts(self, state: State, **given: Scalar | None) -> Facts:
        named = {name.replace("__", "."): value for name, value in given.items()}
        return Facts(baseline_call(), self.book.program, state, {"model": None, **named})

    def route(
        self, *, down: tuple[str, ...] = (), draw: float = 0.0, policy: str | None = None, state: State | None = None,
        **given: Scalar | None,
    ) -> Route:  # fmt: skip
        state = state or Scripted(down=frozenset(self.index(e) for e in down))
        return route(self.book, policy, self.facts(state, **given), state, draw)

    def candidates(self, **how: object) -> list[str]:
        return [self.book.endpoints[c.endpoint].id for c in self.route(**how).candidates]  # type: ignore[arg-type]

    def attempts(self, **how: object) -> list[str]:
        return [self.book.endpoints[e].id for e in self.route(**how).attempts]  # type: ignore[arg-type]

    def excluded(self, **how: object) -> dict[str, str]:
        return {self.book.endpoints[e.endpoint].id: e.by for e in self.route(**how).excluded}  # type: ignore[arg-type]
