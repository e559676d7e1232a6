"""A target that the guards leave nothing of is warned about; any other is not."""

from __future__ import annotations

import pytest

from router_dsl.check.program import check
from router_dsl.load import load_text

CATALOG = """\
provider us { url "https://us.example/v1"  region us }
provider eu { url "https://eu.example/v1"  region eu }
model both  { serve us "b"  price $1 in $1 out  serve eu "b"  price $2 in $2 out }
model here  { serve eu "h"  price $1 in $1 out }
model there { serve us "t"  price $1 in $1 out  zdr }
pool abroad = there, both @ us
"""


def warned(text: str) -> list[tuple[str, str]]:
    files, reported = load_text(CATALOG + text, "x.route")
    program, found = check(files, reported)
    assert program is not None, [finding.message for finding in found]
    return [(finding.span.text, finding.message) for finding in found if finding.code == "W513"]


REST = "  otherwise -> requested else here }"
IN_EU = "guard g: require region == eu\n"


@pytest.mark.parametrize(
    ("policy", "target"),
    [
        (IN_EU + "policy p { a: when stream -> both else there" + REST, "there"),
        (IN_EU + "policy p { a: when stream -> both @ us else here" + REST, "both @ us"),
        (IN_EU + "policy p { a: when stream -> abroad else here" + REST, "abroad"),
        (IN_EU + "policy p { a: when stream -> split 50% here, 50% there by user" + REST, "there"),
        ("guard g: when stream require region == eu\npolicy p { a: when stream -> there" + REST, "there"),
        (IN_EU + "policy p { a: when stream -> here escalate to there when empty" + REST, "there"),
        (IN_EU + "policy p { a: when stream -> here shadow 5% abroad" + REST, "abroad"),
        (
            "guard g: when user == a require region == eu\npolicy p { a: when stream and user == a -> there" + REST,
            "there",
        ),
        ("guard g: require not zdr and ttft.p95 < 1s\npolicy p { a: when stream -> there" + REST, "there"),
    ],
)
def test_a_target_of_which_a_guard_leaves_nothing(policy: str, target: str) -> None:
    assert warned(policy) == [(target, f"no request can reach `{target}`: guard `g` refuses it")]


def test_a_guard_that_refuses_every_endpoint_is_warned_about_itself_not_at_each_target() -> None:
    told = warned("let dear = price.in > $5\nguard g: require dear\npolicy p { a: when stream -> there" + REST)
    assert told == [("g", "guard `g` refuses every endpoint")]


def test_two_guards_that_together_leave_nothing_are_both_named() -> None:
    guards = "guard a: require region == eu\nguard b: require price.in <= $1\n"
    [told] = warned(guards + "policy p { a: when stream -> both else here" + REST)
    assert told == ("both", "no request can reach `both`: guard `a` and guard `b` refuse it")


@pytest.mark.parametrize(
    "policy",
    [
        IN_EU + "policy p { a: when stream -> both" + REST,
        "guard g: when stream require region == eu\npolicy p { a: when has tools -> there" + REST,
        "guard g: when user == a require region == eu\npolicy p { a: when user == a or stream -> there" + REST,
        "guard g: require ttft.p95 < 1s\npolicy p { a: when stream -> there" + REST,
        "guard g: require region == eu or speed > 50\npolicy p { a: when stream -> there" + REST,
        "policy p { a: when stream -> both where price.in <= $1" + REST,
        IN_EU + "policy p { otherwise -> requested }",
    ],
)
def test_a_target_that_some_request_may_reach(policy: str) -> None:
    assert warned(policy) == []
