"""Escalation and shadow in the plan of a request: ordered as a target is, and under the same conditions."""

from __future__ import annotations

from desk import Desk

from runtime.decision.explain import record
from runtime.decision.rehearsal import Scripted
from runtime.decision.route import Route

GUARD = "guard home: when user == de require region == eu\n"


def ids(policy: Desk, endpoints: tuple[int, ...]) -> list[str]:
    return [policy.book.endpoints[e].id for e in endpoints]


def escalation(policy: Desk, **how: object) -> list[str]:
    return ids(policy, policy.route(**how).escalation)  # type: ignore[arg-type]


def shadow(policy: Desk, **how: object) -> list[str]:
    return ids(policy, policy.route(**how).shadow)  # type: ignore[arg-type]


def test_without_the_options_nothing_runs_besides_the_plan() -> None:
    found: Route = Desk("policy p { otherwise -> small }").route()
    assert (found.escalation, found.shadow) == ((), ())


def test_an_escalation_has_the_attempts_of_a_target_in_the_order_of_by() -> None:
    policy = Desk("policy p { otherwise -> small by price retry 2 escalate to big when truncated }")
    assert escalation(policy) == ["big@eu", "big@us", "big@asia"]
    assert escalation(policy, down=("big@eu",)) == ["big@us", "big@asia", "big@eu"]
    assert escalation(policy, tools=2, images=1) == ["big@us", "big@asia", "big@us"]
    assert escalation(policy, prompt__tokens=9000) == ["big@eu", "big@us", "big@eu"]


def test_guards_and_where_hold_for_escalation_and_shadow() -> None:
    policy = Desk(GUARD + "policy p { otherwise -> tiny escalate to big when empty shadow 10% big }")
    assert escalation(policy, user="de") == ["big@eu", "big@eu"]
    assert shadow(policy, user="de") == ["big@eu"]
    assert policy.excluded(user="de") == dict.fromkeys(("tiny@us", "big@us", "big@asia"), "guard home")
    narrow = Desk("policy p { otherwise -> small where region == us escalate to big when empty shadow 1% tiny }")
    assert escalation(narrow) == ["big@us", "big@us"]
    assert shadow(narrow) == ["tiny@us"]
    assert narrow.excluded()["big@eu"] == "where region == us"


def test_the_where_of_a_calling_rule_holds_too_and_the_first_rule_with_a_target_speaks() -> None:
    policy = Desk(
        "policy p { otherwise -> policy q where region == us shadow 1% tiny }"
        "policy q { otherwise -> small escalate to big when empty }"
    )
    assert escalation(policy) == ["big@us", "big@us"]
    assert shadow(policy) == []


def test_a_target_with_nothing_left_is_not_asked() -> None:
    policy = Desk(GUARD + "policy p { otherwise -> big escalate to small when empty shadow 1% small }")
    assert escalation(policy, user="de") == []
    assert shadow(policy, user="de") == []


def test_explain_tells_of_both() -> None:
    policy = Desk("policy p { otherwise -> small escalate to tiny@us when refused shadow 5% big by price }")
    state = Scripted()
    told = record(policy.book, policy.route(state=state), policy.facts(state))
    assert told["escalation"] == ["tiny@us", "tiny@us"]
    assert told["shadow"] == ["big@eu", "big@us", "big@asia"]
    plain = Desk("policy p { otherwise -> small }")
    assert "shadow" not in record(plain.book, plain.route(state=state), plain.facts(state))
