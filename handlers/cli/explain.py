"""`pointsman explain`: where a request would go, and why, decided by the code that serves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from handlers.cli import facts_said
from handlers.cli.output import FOUND, OK, USAGE, complain, paint, wants_color
from handlers.cli.request_file import RequestFileError, Written
from handlers.loading import NoFileError, plan_of
from router_dsl.plan import Plan, Scalar
from router_dsl.suggest import suggest
from runtime.decision.book import Book
from runtime.decision.explain import record
from runtime.decision.facts import Facts
from runtime.decision.naming import WishError
from runtime.decision.rehearsal import Scripted
from runtime.decision.route import Route, UnknownPolicyError, route
from runtime.serve.app import RefusedError


def main(argv: Sequence[str]) -> int:
    """Print the decision for a request; 0 then, 1 when the policy has errors, 2 for wrong use."""
    options = _parser().parse_args(argv)
    try:
        plan = plan_of(options.file, options.root)
    except NoFileError:
        return USAGE
    except RefusedError:
        return FOUND
    try:
        told, found, book = _decide(plan, options)
    except RequestFileError as error:
        complain(f"`{options.request}`: {error}")
        return USAGE
    except OSError as error:
        complain(f"`{options.request}`: {(error.strerror or str(error)).lower()}")
        return USAGE
    except facts_said.SaidError as error:
        complain(str(error), error.help)
        return USAGE
    if options.svg is not None:
        return _draw(options.svg, told, found, book, options.file.name)
    if options.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print(_tell(told, found, options.file.name, color=wants_color(sys.stdout)))
    return OK


def _draw(file: Path, told: Mapping[str, object], found: Route, book: Book, policy: str) -> int:
    """Write the decision as a picture."""
    from handlers.pictures.decision import decision_svg

    try:
        file.write_text(decision_svg(book, found, told, _tell(told, found, policy, color=False)), encoding="utf-8")
    except OSError as error:
        complain(f"`{file}`: {(error.strerror or str(error)).lower()}")
        return USAGE
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pointsman explain", description="Say where a request would go, and why. Nothing is sent anywhere."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a .route or .plan file")
    parser.add_argument("--policy", metavar="NAME", help="the policy to ask (default: the first, or the one that the "
                        "request selects with `model: \"@NAME\"`)")  # fmt: skip
    parser.add_argument("--request", metavar="REQ.json", help="a request: an object with any of path, headers, body, "
                        "key, client_ip, now, random, set; - reads it from standard input")  # fmt: skip
    parser.add_argument("--set", metavar="FACT=VALUE", action="append", default=[], dest="facts",
                        help="a fact, whatever the request says; the value `missing` removes it")  # fmt: skip
    parser.add_argument("--down", metavar="X", action="append", default=[],
                        help="a provider, a model or an endpoint MODEL@PROVIDER that is out of service")  # fmt: skip
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print the decision record as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the decision into an SVG file")
    return parser


def _decide(plan: Plan, options: argparse.Namespace) -> tuple[dict[str, object], Route, Book]:
    """Return the decision record, the route it tells of, and the policy it was made by.

    Raises:
        OSError: The request cannot be read.
        RequestFileError, facts_said.SaidError: What was said makes no sense.
    """
    book = Book(plan)
    written = Written(_read(options.request))
    given: dict[str, Scalar | None] = {} if written.names_model else {"model": None}
    said = [f"{name}={value}" for name, value in written.said.items()]
    given.update(facts_said.fact(book.program, text) for text in (*said, *options.facts))
    down = frozenset(index for text in options.down for index in facts_said.endpoints(book.program, text))
    state = Scripted(down=down)
    facts = Facts(written.call, book.program, state, given)
    try:
        found = route(book, options.policy, facts, state, written.draw)
    except UnknownPolicyError as error:
        name = str(error.args[0])
        near = suggest(name, book.policies)
        hint = f"did you mean `{near}`?" if near else f"there are {', '.join(book.policies)}"
        raise facts_said.SaidError(f"there is no policy `{name}`", hint) from error
    except WishError as error:
        raise RequestFileError(f"`body`: {error}") from error
    return record(book, found, facts), found, book


def _read(request: str | None) -> str:
    if request is None:
        return ""
    try:
        text = sys.stdin.read() if request == "-" else Path(request).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RequestFileError("not UTF-8 text") from error
    # A byte order mark is an editor's habit.
    return text.removeprefix("\ufeff")


def _tell(told: Mapping[str, object], found: Route, file: str, *, color: bool) -> str:
    """Return the decision as a person would tell it."""

    def strong(text: object) -> str:
        return paint(str(text), "bold", on=color)

    def faint(text: str) -> str:
        return paint(text, "dim", on=color)

    rule = found.rule
    why = f"because {paint(rule.text, 'cyan', on=color)}" if rule.when is not None else "because no rule before it does"
    lines = [
        f"Policy {strong(told['policy'])}, rule {strong(rule.label)} decides, {why}."
        f"  {faint(f'{rule.file or file}:{rule.line}')}"
    ]
    for step in found.steps[1:]:
        lines.append(f"It calls policy {strong(step.policy.name)}, where rule {strong(step.rule.label)} decides.")
    if found.why is None:
        lines += [*_way(told, color=color), *_besides(found, told)]
    else:
        status = paint(str(told["status"]), "red", "bold", on=color)
        lines.append(f"The request is refused with {status}: {told['message']}")
    excluded = cast("list[Mapping[str, object]]", told["excluded"])
    if excluded:
        lines += ["", "Left out:", *_table([(str(e["endpoint"]), str(e["by"])) for e in excluded], color=color)]
    wishes = cast("Mapping[str, object]", told.get("wishes", {}))
    if wishes:
        lines += ["", "The client wishes:"]
        said = [(name, json.dumps(value, ensure_ascii=False)) for name, value in wishes.items()]
        lines += _table(said, color=color)
    skipped = cast("list[Mapping[str, object]]", told["skipped"])
    if skipped:
        lines += ["", "Rules passed over:"]
        lines += _table([(str(s["rule"]), str(s["because"])) for s in skipped], color=color)
    facts = cast("Mapping[str, object]", told["facts"])
    if facts:
        lines += ["", "Facts it looked at:", *_table([(name, _shown(v)) for name, v in facts.items()], color=color)]
    return "\n".join(lines)


def _way(told: Mapping[str, object], *, color: bool) -> list[str]:
    candidates = cast("list[str]", told["candidates"])
    attempts = cast("list[str]", told["attempts"])
    count = len(attempts)
    first = paint(candidates[0], "green", "bold", on=color)
    then = "".join(f", then {candidate}" for candidate in candidates[1:])
    lines = [f"It asks {first}{then}."]
    if attempts != candidates:
        lines.append(f"At most {count} attempt{'s' if count > 1 else ''}: {', '.join(attempts)}.")
    else:
        lines.append(f"At most {count} attempt{'s' if count > 1 else ''}, in that order.")
    return lines


def _besides(found: Route, told: Mapping[str, object]) -> list[str]:
    """Return what may happen besides the attempts, and what they have time for."""
    options, lines = found.options, []
    if options is None:
        return []
    if options.hedge is not None:
        after = options.hedge.after_s
        silence = f"its p{options.hedge.after_percentile or 0:.0%}".rstrip("%") if after is None else f"{after:g} s"
        lines.append(f"A second attempt starts when the first is silent for longer than {silence}.")
    if found.escalation and options.escalate is not None:
        ids = dict.fromkeys(cast("list[str]", told["escalation"]))
        lines.append(f"If the answer is {' or '.join(options.escalate.when)}, it asks {', then '.join(ids)} instead.")
    if found.shadow and options.shadow is not None:
        copied = cast("list[str]", told["shadow"])
        lines.append(f"A copy of {options.shadow.share * 100:g}% of such requests goes to {copied[0]}.")
    times = (
        ("the whole answer", options.within_s),
        ("its first token", options.first_token_s),
        ("a gap", options.stall_s),
    )
    allowed = [f"{what} {time_s:g} s" for what, time_s in times if time_s is not None]
    if allowed:
        lines.append(f"Allowed are: {', '.join(allowed)}.")
    return lines


def _table(rows: Sequence[tuple[str, str]], *, color: bool) -> list[str]:
    # Beyond 32 columns one long name would push every reason off the screen.
    width = min(32, max(len(name) for name, _ in rows))
    return [f"  {name:<{width}}  {paint(text, 'dim', on=color)}" for name, text in rows]


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 100 else text[:100] + "…"
