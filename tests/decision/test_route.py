"""The plan of one request: targets, exclusions, order, attempts."""

from __future__ import annotations

import pytest
from desk import Desk
from hypothesis import given
from hypothesis import strategies as st

from runtime.decision.rehearsal import Scripted
from runtime.decision.route import UnknownPolicyError


def only(action: str) -> str:
    return f"policy p {{ otherwise -> {action} }}"


def test_the_first_rule_that_holds_decides() -> None:
    policy = Desk("policy p { a: when tools > 0 -> big by order  b: when stream -> small  otherwise -> tiny by order }")
    assert policy.route(tools=1, stream=True).rule.label == "a"
    assert policy.route(stream=True).rule.label == "b"
    assert policy.route().rule.label == "otherwise"


def test_targets_come_in_the_order_written_and_endpoints_by_their_metric() -> None:
    assert Desk(only("big else small by price")).candidates() == ["big@eu", "big@us", "big@asia", "small@us"]
    assert Desk(only("small else big by order")).candidates() == ["small@us", "big@us", "big@eu", "big@asia"]


def test_each_target_has_one_attempt_and_its_retries_on_different_endpoints() -> None:
    assert Desk(only("big else small by price")).attempts() == ["big@eu", "big@us", "small@us", "small@us"]
    assert Desk(only("big by price retry 0")).attempts() == ["big@eu"]
    assert Desk(only("big by price retry 3")).attempts() == ["big@eu", "big@us", "big@asia", "big@eu"]


def test_out_of_service_comes_after_everything_in_service() -> None:
    policy = Desk(only("big else small by price"))
    assert policy.candidates(down=("big@eu",)) == ["big@us", "big@asia", "small@us", "big@eu"]
    assert policy.attempts(down=("big@eu",)) == ["big@us", "big@asia", "small@us", "small@us"]
    assert policy.attempts(down=("big@eu", "big@us")) == ["big@asia", "small@us", "small@us", "big@eu"]
    assert policy.attempts(down=("big@eu", "big@us", "big@asia", "small@us")) == [
        "big@eu", "big@us", "small@us", "small@us",
    ]  # fmt: skip


def test_a_target_met_twice_does_not_repeat_what_was_tried() -> None:
    policy = Desk(only("requested else big by price"))
    assert policy.candidates(model="gpt-4o") == ["big@eu", "big@us", "big@asia"]
    assert policy.attempts(model="big") == ["big@eu", "big@us", "big@asia", "big@asia"]


def test_requested_is_skipped_when_unknown() -> None:
    assert Desk(only("requested else small")).candidates(model="nobody") == ["small@us"]
    alone = Desk(only("requested")).route(model="nobody")
    assert (alone.why, alone.status) == ("model_not_found", 404)
    assert "`nobody`" in alone.message


def test_context_excludes_what_cannot_hold_the_request() -> None:
    policy = Desk(only("big by order"))
    assert policy.excluded(prompt__tokens=9000) == {"big@asia": "context 8000 < 10024 tokens"}
    assert policy.candidates(prompt__tokens=9000, output__tokens=30_000) == []
    found = policy.route(prompt__tokens=40_000)
    assert (found.why, found.status) == ("context_length", 400)


def test_an_endpoint_that_says_what_it_supports_is_held_to_it() -> None:
    policy = Desk(only("big by order"))
    assert policy.excluded(tools=2) == {}
    assert policy.excluded(tools=2, images=1) == {"big@eu": "supports no vision"}
    assert policy.excluded(json="schema") == {"big@eu": "supports no json"}


def test_where_names_itself_and_never_excludes_for_lack_of_data() -> None:
    assert Desk(only("big where price.out <= $4")).excluded() == {"big@asia": "where price.out <= $4"}
    measured = Desk(only("big where ttft.p50 < 1s by order"))
    assert measured.candidates() == ["big@us", "big@eu", "big@asia"]
    slow = Scripted(slow=((measured.index("big@eu"), 3.0),))
    assert measured.candidates(state=slow) == ["big@us", "big@asia"]
    negated = Desk(only("big where not ttft.p50 < 1s by order"))
    assert negated.candidates() == ["big@us", "big@eu", "big@asia"]


def test_guards_hold_for_every_rule_and_fallback() -> None:
    policy = Desk(
        "guard home: when header.x-country in [de, fr] require region == eu\n"
        "policy p { a: when tools > 0 -> small else big by order  otherwise -> policy q }\n"
        "policy q { otherwise -> tiny by order }"
    )
    inside = {"header__x-country": "de"}
    assert policy.candidates(**inside) == ["tiny@eu", "tiny@eu/fast"]
    assert policy.candidates(tools=1, **inside) == ["big@eu"]
    assert policy.excluded(tools=1, **inside)["small@us"] == "guard home"


def test_nothing_left_is_a_404_that_names_the_guards() -> None:
    policy = Desk("guard nowhere: require region == mars\n" + only("big"))
    found = policy.route()
    assert (found.why, found.status) == ("no_endpoints", 404)
    assert "guard nowhere" in found.message


def test_guards_add_up() -> None:
    policy = Desk("guard a: require region != us  guard b: require tags contains spot\n" + only("big by order"))
    assert policy.candidates() == ["big@asia"]


def test_a_rejection_carries_its_status_and_message() -> None:
    found = Desk('policy p { no: when tools > 0 -> reject 413 "no tools" otherwise -> reject 429 }').route(tools=1)
    assert (found.why, found.status, found.message, found.attempts) == ("rejected", 413, "no tools", ())


def test_a_called_policy_decides_with_its_own_rules_inside_the_callers_where() -> None:
    policy = Desk(
        "policy p { eu: when user == anna -> policy q where region == eu\n"
        "  both: when user == otto -> small else policy q  otherwise -> policy r }\n"
        "policy q { otherwise -> big by price retry 2 }\n"
        'policy r { otherwise -> reject 451 "not here" }'
    )
    assert policy.candidates(user="anna") == ["big@eu"]
    assert policy.attempts(user="otto") == ["small@us", "small@us", "big@eu", "big@us", "big@asia"]
    assert [step.policy.name for step in policy.route(user="anna").steps] == ["p", "q"]
    assert policy.route().status == 451


def test_clients_select_a_policy_by_name() -> None:
    policy = Desk(only("big") + " policy q { otherwise -> small }")
    assert policy.route(model="@q").policy == "q"
    with pytest.raises(UnknownPolicyError):
        policy.route(model="@nobody")


def test_split_is_deterministic_by_its_fact_and_drawn_without_it() -> None:
    policy = Desk(only("split 90% small, 10% tiny @ us by user"))
    assert len({policy.candidates(user="anna", draw=d / 10)[0] for d in range(10)}) == 1
    users = [policy.candidates(user=f"user-{i}")[0] for i in range(600)]
    assert 30 < users.count("tiny@us") < 95
    drawn = [policy.candidates(draw=i / 100)[0] for i in range(100)]
    assert drawn.count("tiny@us") == 10


def test_sticky_keeps_a_key_on_its_endpoint() -> None:
    policy = Desk(only("tiny sticky by user"))
    assert len({policy.candidates(user="anna", draw=d / 10)[0] for d in range(10)}) == 1
    assert len({policy.candidates(user=f"user-{i}")[0] for i in range(50)}) == 3
    first = policy.candidates(user="anna")
    assert policy.candidates(user="anna", down=(first[0],)) == [*first[1:], first[0]]


def test_prefer_cache_goes_by_session_or_by_how_the_prompt_begins() -> None:
    policy = Desk(only("tiny prefer cache"))
    assert len({policy.candidates(session="s1", draw=d / 10)[0] for d in range(10)}) == 1
    starts = {policy.candidates(prompt__system=f"You are {i}")[0] for i in range(40)}
    assert len(starts) == 3


def test_an_unconfigured_endpoint_says_which_key_is_missing() -> None:
    text = 'provider k { url "http://127.0.0.1:9/v1" key env.K_KEY } model m { serve k "m" } ' + only("m else small")
    policy = Desk(text, (7,))
    assert policy.book.endpoints[7].id == "m@k"
    assert policy.excluded() == {"m@k": "no key: K_KEY is not set"}


@given(
    down=st.sets(st.sampled_from(["big@us", "big@eu", "big@asia", "small@us", "tiny@us", "tiny@eu", "tiny@eu/fast"])),
    draw=st.floats(0, 1, exclude_max=True),
    retry=st.integers(0, 4),
    tokens=st.integers(0, 50_000),
    by=st.sampled_from(["price", "balance", "random", "weight", "order", "latency", "price 60%, speed 40%"]),
)
def test_laws_of_every_plan(down: set[str], draw: float, retry: int, tokens: int, by: str) -> None:
    policy = BY.setdefault((by, retry), Desk(only(f"big else tiny else small by {by} retry {retry}")))
    found = policy.route(down=tuple(sorted(down)), draw=draw, prompt__tokens=tokens)
    names = [policy.book.endpoints[c.endpoint].id for c in found.candidates]
    assert len(set(names)) == len(names)
    assert {policy.book.endpoints[e].id for e in found.attempts} <= set(names)
    assert not {e.endpoint for e in found.excluded} & {c.endpoint for c in found.candidates}
    assert len(found.attempts) <= 3 * (1 + retry)
    serving = [name not in down for name in names]
    assert serving == sorted(serving, reverse=True)
    tried = [policy.book.endpoints[e].id not in down for e in found.attempts]
    assert tried == sorted(tried, reverse=True)


BY: dict[tuple[str, int], Desk] = {}
