"""`pointsman diff OLD NEW`: which requests a change of a policy re-routes, or the proof that it re-routes none."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from handlers.cli.output import FOUND, OK, USAGE, complain, paint, wants_color
from handlers.comparing import Difference, Shown, Told
from handlers.meaning import meaning_of
from handlers.traffic import Replay, Share, TrafficError, read
from router_dsl.analyse.claims import dollars
from router_dsl.plan import Program

FAILS = ("change", "reject", "cost")


def main(argv: Sequence[str]) -> int:
    """Print the changes; 0, 1 when `--fail-on` applies or a policy has errors, 2 for wrong use."""
    options = _parser().parse_args(argv)
    programs: list[Program] = []
    for file in (options.old, options.new):
        program, code = meaning_of(file, options.root)
        if program is None:
            return code
        programs.append(program)
    difference = Difference(*programs)
    changes = list(difference.changes())
    replay = None
    if options.traffic is not None:
        try:
            replay = _replayed(difference, changes, options.traffic)
        except (OSError, UnicodeDecodeError, TrafficError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            complain(f"`{options.traffic}`: {reason.lower()}")
            return USAGE
    if options.json:
        print(json.dumps(_json(difference, changes, replay), indent=2, ensure_ascii=False))
    else:
        _print(difference, changes, replay, color=wants_color(sys.stdout))
    return FOUND if _fails(options.fail_on, difference, changes, replay) else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pointsman diff", description="Say which requests a change of a policy re-routes, each with an example."
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="a .route or .plan file")
    parser.add_argument("new", metavar="NEW", type=Path, help="what it becomes")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: each file's)")
    parser.add_argument("--traffic", metavar="LOG.jsonl", help="requests that were: lines of the router's log, or "
                        "records of facts; - is standard input. Adds the share of requests and the money")  # fmt: skip
    parser.add_argument("--fail-on", choices=FAILS, action="append", default=[], help="exit with 1 when a request is "
                        "decided otherwise, is refused now, or costs more; may be repeated")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")
    return parser


def _replayed(difference: Difference, changes: Sequence[Shown], traffic: str) -> Replay:
    replay = Replay(difference.before.book, difference.after.book)
    known = {(shown.change.before.steps, shown.change.after.steps): shown for shown in changes
             if shown.change.endpoint is None}  # fmt: skip
    text = sys.stdin.read() if traffic == "-" else Path(traffic).read_text("utf-8")
    for logged in read(text.splitlines()):
        replay.take(logged, known)
    return replay


def _share(replay: Replay, shown: Shown) -> Share:
    return replay.changed.get((shown.change.before.steps, shown.change.after.steps), Share())


def _fails(wanted: Sequence[str], difference: Difference, changes: Sequence[Shown], replay: Replay | None) -> bool:
    """Whether the changes are such as must not be; what is unknown counts as a change."""
    added = bool(difference.comparison.added or difference.comparison.removed)
    if "change" in wanted and (changes or difference.unknown or added):
        return True
    if "reject" in wanted and any(shown.refused for shown in changes):
        return True
    if "cost" not in wanted:
        return False
    if replay is not None:
        return replay.all.after_nusd > replay.all.before_nusd
    return any(shown.dearer for shown in changes)


def _json(difference: Difference, changes: Sequence[Shown], replay: Replay | None) -> dict[str, object]:
    told: list[dict[str, object]] = []
    for shown in changes:
        one = shown.to_json()
        if replay is not None:
            one["traffic"] = _share(replay, shown).to_json(replay.all.requests)
        told.append(one)
    comparison = difference.comparison
    found: dict[str, object] = {
        "changes": told,
        "unknown": difference.unknown,
        "policies_added": list(comparison.added),
        "policies_removed": list(comparison.removed),
    }
    if replay is not None:
        found["traffic"] = {
            **replay.all.to_json(replay.all.requests),
            "changed": _changed(replay).to_json(replay.all.requests),
            "unpriced": replay.unpriced,
        }
    return found


def _changed(replay: Replay) -> Share:
    whole = Share()
    for share in replay.changed.values():
        whole.requests += share.requests
        whole.before_nusd += share.before_nusd
        whole.after_nusd += share.after_nusd
    return whole


# --- for a person -----------------------------------------------------------------------------------


def _print(difference: Difference, changes: Sequence[Shown], replay: Replay | None, *, color: bool) -> None:
    for number, shown in enumerate(changes, 1):
        print(paint(f"{number}. {shown.region}", "bold", on=color))
        print(f"   {paint('before', 'red', on=color)}  {_decision(shown.before)}")
        print(f"   {paint('after', 'green', on=color)}   {_decision(shown.after)}")
        for reason in shown.since:
            print(f"   since   {reason}")
        print(paint(f"   such as {_short(shown)}", "dim", on=color))
        if replay is not None:
            print(f"   {_money(_share(replay, shown), replay.all.requests)}")
        print()
    comparison = difference.comparison
    for name in comparison.added:
        print(f"policy `{name}` is new")
    for name in comparison.removed:
        print(f"policy `{name}` is gone: clients that ask for it get an error")
    for reason in difference.unknown:
        print(f"unknown: {reason}")
    if not changes and not difference.unknown:
        print("no change: every request is decided as before")
    elif changes:
        print(f"{len(changes)} region{'s' if len(changes) > 1 else ''} change{'' if len(changes) > 1 else 's'}")
    if replay is not None:
        print(f"traffic: {_money(_changed(replay), replay.all.requests)}")
        print(f"in all: {dollars(replay.all.before_nusd)} before, {dollars(replay.all.after_nusd)} after")


def _decision(told: Told) -> str:
    label = told["rule"]
    called = cast("list[dict[str, object]]", told.get("called", []))
    rule = " → ".join(f"{one}" for one in (label, *(step["rule"] for step in called)))
    if told["action"] == "reject":
        return f"{rule}: reject {told['status']} ({told['message']})"
    return f"{rule}: " + ", ".join(cast("list[str]", told["candidates"]))


_LONGEST = 160


def _short(shown: Shown) -> str:
    text = json.dumps(shown.witness, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _money(share: Share, whole: int) -> str:
    percent = share.requests / whole * 100 if whole else 0.0
    return (
        f"{share.requests:,} of {whole:,} requests ({percent:.2f}%), "
        f"{dollars(share.before_nusd)} before, {dollars(share.after_nusd)} after"
    )
