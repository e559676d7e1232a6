"""One decision drawn: the facts, the rules passed over, the one that decided, and where the request goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from handlers.pictures.drawing import Drawing, width, wrapped
from router_dsl.plan import Endpoint
from runtime.decision.book import Book
from runtime.decision.route import Route, Step

WIDE = 960.0
_LEFT, _RIGHT = 24.0, WIDE - 24
_ROW = 26.0
# Enough to see a whole policy of usual size; of a longer one the beginning and what stands near the decision.
_MOST_PASSED = 60
_MOST_LATER = 6
_LABEL = 200.0


def decision_svg(book: Book, found: Route, told: Mapping[str, object], story: str) -> str:
    """Return an SVG of a decision.

    Args:
        told: The decision record.
        story: The same in words, for who cannot see the picture.
    """
    picture = _Picture(book, found, told)
    picture.draw()
    rule = found.rule
    return picture.drawing.svg(picture.y + 12, f"policy {told['policy']}: rule {rule.label} decides", story)


class _Picture:
    def __init__(self, book: Book, found: Route, told: Mapping[str, object]) -> None:
        self.book = book
        self.found = found
        self.told = told
        self.drawing = Drawing(WIDE)
        self.y = 0.0

    def draw(self) -> None:
        rule = self.found.rule
        self.y = 36
        title = f"policy {self.told['policy']}: rule {rule.label} decides"
        self.drawing.text(_LEFT, self.y, title, "title", room=_RIGHT - _LEFT, size=18)
        self._facts()
        self._rules(self.found.steps[0])
        for step in self.found.steps[1:]:
            self._call(step)
        if self.found.why is None:
            self._way()
        else:
            self._refusal()
        self._left_out()
        self._besides()

    def _head(self, text: str) -> None:
        self.y += 34
        self.drawing.text(_LEFT, self.y, text, "head")
        self.y += 10

    def _facts(self) -> None:
        facts = cast("Mapping[str, object]", self.told["facts"])
        if not facts:
            return
        self._head("facts it looked at")
        x, self.y = _LEFT, self.y + 6
        for name, value in facts.items():
            shown = f"{name} = {_shown(value)}"
            wide = min(width(shown) + 20, _RIGHT - _LEFT)
            if x > _LEFT and x + wide > _RIGHT:
                x, self.y = _LEFT, self.y + 32
            self.drawing.box(x, self.y, wide, 25, "box")
            self.drawing.text(x + 10, self.y + 17, shown, "soft" if value is None else "", room=wide - 18)
            x += wide + 8
        self.y += 25

    # --- rules

    def _rules(self, step: Step) -> None:
        self._head("rules, asked in order")
        skipped = cast("Sequence[Mapping[str, object]]", self.told["skipped"])
        rows = [(str(one["rule"]), str(one["because"])) for one in skipped]
        top = self.y + _ROW - 4
        hidden = len(rows) - _MOST_PASSED
        if hidden > 0:
            for label, because in rows[: _MOST_PASSED // 2]:
                self._passed(label, because)
            self._more(f"{hidden} more that do not hold")
            rows = rows[-_MOST_PASSED // 2 :]
        for label, because in rows:
            self._passed(label, because)
        bottom = self._deciding(step)
        if skipped:
            # The track from the first rule to the one that decides lies under their dots.
            self.drawing.parts.insert(0, f'<path d="M{_LEFT + 8:g} {top:g}L{_LEFT + 8:g} {bottom:g}" class="way"/>')
        later = step.policy.rules[step.index + 1 :]
        shown = later if len(later) <= _MOST_LATER else later[: _MOST_LATER - 1]
        for rule in shown:
            self.y += _ROW
            self.drawing.dot(_LEFT + 8, self.y - 4, "dot")
            self.drawing.text(_LEFT + 26, self.y, rule.label, "faint", room=_LABEL - 10)
            self.drawing.text(_LEFT + 26 + _LABEL, self.y, "not asked any more", "faint")
        if len(later) > len(shown):
            self._more(f"{len(later) - len(shown)} more, not asked")

    def _passed(self, label: str, because: str) -> None:
        self.y += _ROW
        self.drawing.dot(_LEFT + 8, self.y - 4, "dot")
        self.drawing.text(_LEFT + 26, self.y, label, "soft", room=_LABEL - 10)
        self.drawing.text(_LEFT + 26 + _LABEL, self.y, because, "soft", room=_RIGHT - _LEFT - 26 - _LABEL)

    def _more(self, text: str) -> None:
        self.y += _ROW
        self.drawing.text(_LEFT + 26, self.y, f"⋮  {text}", "faint")

    def _deciding(self, step: Step) -> float:
        rule = step.rule
        room = _RIGHT - _LEFT - 44 - _LABEL
        lines = wrapped(rule.text if rule.when is not None else "no rule before it holds", room)
        high = 20.0 * len(lines) + 14
        top = self.y + 12
        self.drawing.box(_LEFT + 18, top, _RIGHT - _LEFT - 18, high, "box-good")
        self.drawing.dot(_LEFT + 8, top + 17, "dot-good", 8)
        self.drawing.text(_LEFT + 30, top + 21, rule.label, "strong good", room=_LABEL - 16)
        for i, line in enumerate(lines):
            self.drawing.text(_LEFT + 26 + _LABEL, top + 21 + 20 * i, line, "strong")
        self.y = top + high - 2
        return top + 17

    def _call(self, step: Step) -> None:
        passed = f"{step.index} of {len(step.policy.rules)} rules are passed over"
        self._head(f"it calls policy {step.policy.name}, where {passed}")
        self._deciding(step)

    # --- where it goes

    def _way(self) -> None:
        attempts = self.found.attempts
        self._head(f"asked in this order, in at most {len(attempts)} attempt{'s' if len(attempts) > 1 else ''}")
        last = self.y
        for place, index in enumerate(attempts, 1):
            top = self.y + 8
            if place > 1:
                self.drawing.line(_LEFT + 28, last, _LEFT + 28, top + 6, "line")
                self.drawing.text(_LEFT + 42, top - 3, "if that fails", "faint")
                top += 6
            self._endpoint(top, index, str(place), "box-good" if place == 1 else "box")
            last = top + 34
            self.y = last + 8
        self.y = last
        reserve = [candidate.endpoint for candidate in self.found.candidates if candidate.endpoint not in attempts]
        if reserve:
            self._head("in reserve, in this order, for when one of these is out of service")
            for index in reserve[:_MOST_PASSED]:
                self._endpoint(self.y + 6, index, "", "box-out")
                self.y += 40
            if len(reserve) > _MOST_PASSED:
                self._more(f"{len(reserve) - _MOST_PASSED} more")

    def _endpoint(self, top: float, index: int, place: str, style: str) -> None:
        endpoint = self.book.endpoints[index]
        name = "strong good" if style == "box-good" else "strong" if place else "soft"
        self.drawing.box(_LEFT, top, _RIGHT - _LEFT, 34, style)
        self.drawing.text(_LEFT + 12, top + 22, place, "strong soft")
        self.drawing.text(_LEFT + 40, top + 22, endpoint.id, name, room=460)
        self.drawing.text(_LEFT + 520, top + 22, " · ".join(_said(endpoint)), "soft", room=_RIGHT - _LEFT - 530)

    def _refusal(self) -> None:
        self._head("the request is refused")
        lines = wrapped(f"{self.told['status']}  {self.told['message']}", _RIGHT - _LEFT - 30)
        self.drawing.box(_LEFT, self.y + 6, _RIGHT - _LEFT, 20 * len(lines) + 14, "box-bad")
        for i, line in enumerate(lines):
            self.drawing.text(_LEFT + 14, self.y + 27 + 20 * i, line, "strong bad")
        self.y += 20 * len(lines) + 20

    def _left_out(self) -> None:
        excluded = cast("Sequence[Mapping[str, object]]", self.told["excluded"])
        if not excluded:
            return
        self._head("left out")
        for one in excluded[:_MOST_PASSED]:
            self.y += 6
            self.drawing.box(_LEFT, self.y, _RIGHT - _LEFT, 28, "box-out")
            self.drawing.text(_LEFT + 12, self.y + 19, str(one["endpoint"]), "soft", room=320)
            self.drawing.text(_LEFT + 350, self.y + 19, str(one["by"]), "bad", room=_RIGHT - _LEFT - 360)
            self.y += 28
        if len(excluded) > _MOST_PASSED:
            self._more(f"{len(excluded) - _MOST_PASSED} more")

    def _besides(self) -> None:
        options = self.found.options
        if options is None or self.found.why is not None:
            return
        lines = []
        if options.hedge is not None:
            lines.append("a second attempt starts while the first is silent (hedge)")
        for what, aside in (("if the answer fails: ", self.found.escalation), ("a copy goes to ", self.found.shadow)):
            ids = list(dict.fromkeys(self.book.endpoints[endpoint].id for endpoint in aside))
            lines += [what + ", then ".join(ids)] if ids else []
        if lines:
            self._head("besides")
            for line in lines:
                self.y += 22
                self.drawing.text(_LEFT + 12, self.y, line, "note", room=_RIGHT - _LEFT - 12)


def _said(endpoint: Endpoint) -> list[str]:
    said = []
    if endpoint.price_in is not None and endpoint.price_out is not None:
        said.append(f"${endpoint.price_in / 1e9:g} in, ${endpoint.price_out / 1e9:g} out")
    if endpoint.region:
        said.append(endpoint.region)
    if endpoint.context:
        said.append(f"{endpoint.context:,} tokens")
    return said


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
