"""What clients may wish of a plan in OpenRouter's words: it narrows and re-orders, and never widens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from desk import make_book
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.cli.request_file import Written
from runtime.decision.explain import record
from runtime.decision.facts import Call, Facts
from runtime.decision.naming import WishError
from runtime.decision.rehearsal import Scripted
from runtime.decision.route import Route, UnknownPolicyError, route
from runtime.decision.state import Calm, State

MORE = """
provider fw { url "http://127.0.0.1:4/v1" region us  tags no-training }
model wide {
  output 4k
  aka "vendor/wide", "vendor/wide:free"
  serve us          "w"  price $3 in $6 out  quantization fp8
  serve eu          "w"  price $2 in $5 out  zdr  supports tools, reasoning
  serve fw          "w"  price $1 in $9 out  quantization int4
  serve fw as flex  "w"  price $0.50 in $1 out
  serve asia        "w"  price $0 in $0 out  tags distillable
  serve asia as dim "w"
}
"""


class Client:
    """Sends bodies to a policy."""

    def __init__(self, policy: str) -> None:
        self.book = make_book(MORE + policy)

    def call(self, **fields: object) -> Call:
        headers = fields.pop("headers", {})
        return Written(json.dumps({"headers": headers, "body": {"model": "wide", **fields}})).call

    def route(self, state: State | None = None, draw: float = 0.0, **fields: object) -> Route:
        world = state or Calm()
        return route(self.book, None, Facts(self.call(**fields), self.book.program, world), world, draw)

    def order(self, state: State | None = None, **fields: object) -> list[str]:
        return [self.book.endpoints[c.endpoint].id for c in self.route(state, **fields).candidates]

    def attempts(self, **fields: object) -> list[str]:
        return [self.book.endpoints[e].id for e in self.route(**fields).attempts]

    def excluded(self, **fields: object) -> dict[str, str]:
        return {self.book.endpoints[e.endpoint].id: e.by for e in self.route(**fields).excluded}

    def told(self, **fields: object) -> Any:
        world = Calm()
        facts = Facts(self.call(**fields), self.book.program, world)
        return record(self.book, route(self.book, None, facts, world, 0.0), facts)


ASKED = Client("policy p { otherwise -> requested by order retry 5 }")
ALL = ["wide@us", "wide@eu", "wide@fw", "wide@fw/flex", "wide@asia", "wide@asia/dim"]


def wish(**provider: object) -> dict[str, object]:
    return {"provider": provider}


def test_without_wishes_the_policy_decides() -> None:
    assert ASKED.order() == ALL
    assert ASKED.route().wishes is None


@pytest.mark.parametrize(
    ("provider", "order"),
    [
        ({"order": ["fw", "us"]}, ["wide@fw", "wide@us", "wide@eu", "wide@fw/flex", "wide@asia", "wide@asia/dim"]),
        ({"order": ["fw/flex"]}, ["wide@fw/flex", "wide@us", "wide@eu", "wide@fw", "wide@asia", "wide@asia/dim"]),
        ({"order": ["nobody"]}, ALL),
        ({"only": ["fw", "eu"]}, ["wide@eu", "wide@fw"]),
        ({"only": ["FW/Flex", "us/us"]}, ["wide@us", "wide@fw/flex"]),
        ({"only": ["fw/int4", "us/fp8"]}, ["wide@us", "wide@fw"]),
        ({"only": []}, ALL),
        ({"ignore": ["fw", "asia"]}, ["wide@us", "wide@eu", "wide@fw/flex"]),
        ({"ignore": ["asia/dim"]}, ALL[:-1]),
        ({"allow_fallbacks": False}, ["wide@us"]),
        ({"allow_fallbacks": False, "order": ["eu", "us"]}, ["wide@eu", "wide@us"]),
        ({"allow_fallbacks": True}, ALL),
        ({"zdr": True}, ["wide@eu"]),
        ({"zdr": False}, ALL),
        ({"data_collection": "deny"}, ["wide@eu", "wide@fw", "wide@fw/flex"]),
        ({"data_collection": "allow"}, ALL),
        ({"enforce_distillable_text": True}, ["wide@asia"]),
        ({"quantizations": ["fp8", "int4"]}, ["wide@us", "wide@fw"]),
        ({"quantizations": ["unknown"]}, ["wide@eu", "wide@fw/flex", "wide@asia", "wide@asia/dim"]),
        ({"max_price": {"prompt": 1}}, ["wide@fw", "wide@fw/flex", "wide@asia"]),
        ({"max_price": {"prompt": "1.99", "completion": "5"}}, ["wide@fw/flex", "wide@asia"]),
        ({"max_price": {"request": 0, "image": "0.01", "audio": 1}}, ALL),
        ({"sort": "price"}, ["wide@asia", "wide@fw/flex", "wide@eu", "wide@asia/dim", "wide@us", "wide@fw"]),
        ({"sort": {"by": "price"}}, ["wide@asia", "wide@fw/flex", "wide@eu", "wide@asia/dim", "wide@us", "wide@fw"]),
        ({"sort": None, "order": None}, ALL),
    ],
)
def test_every_field_of_provider(provider: dict[str, object], order: list[str]) -> None:
    assert ASKED.order(provider=provider) == order


def test_a_wish_that_excludes_says_which_it_is() -> None:
    assert ASKED.excluded(**wish(only=["eu"]))["wide@us"] == "provider.only"
    assert ASKED.excluded(**wish(max_price={"prompt": 2}))["wide@asia/dim"] == "provider.max_price"
    assert ASKED.excluded(**wish(allow_fallbacks=False))["wide@eu"] == "provider.allow_fallbacks"
    assert ASKED.excluded(**wish(ignore=["us"], zdr=True)) == {
        "wide@us": "provider.ignore", "wide@fw": "provider.zdr", "wide@fw/flex": "provider.zdr",
        "wide@asia": "provider.zdr", "wide@asia/dim": "provider.zdr",
    }  # fmt: skip


def test_require_parameters_drops_what_cannot_do_all_of_it() -> None:
    asks = {"reasoning_effort": "high", "max_tokens": 5000}
    assert ASKED.order(**asks) == ALL
    assert ASKED.order(**asks, **wish(require_parameters=True)) == []
    assert ASKED.order(reasoning={"effort": "high"}, **wish(require_parameters=True)) == ALL
    big = Client("policy p { otherwise -> requested by order retry 5 }")
    found = big.excluded(model="big", reasoning_effort="low", **wish(require_parameters=True))
    assert found == {"big@eu": "provider.require_parameters (reasoning)"}


def test_slow_endpoints_go_last_and_the_unmeasured_are_not_slow() -> None:
    class Measured(Calm):
        def measured(self, endpoint: int, name: str) -> float | None:
            ident = ASKED.book.endpoints[endpoint].id
            if ident == "wide@us":
                return {"speed": 10.0, "ttft.p50": 0.4, "ttft.p90": 3.0}.get(name)
            return {"speed": 90.0, "ttft.p50": 2.0, "ttft.p90": 2.5}.get(name) if ident == "wide@eu" else None

    world = Measured()
    us, eu, *rest = ALL
    assert ASKED.order(world, **wish(preferred_min_throughput=50)) == [eu, *rest, us]
    assert ASKED.order(world, **wish(preferred_max_latency=1)) == [us, *rest, eu]
    assert ASKED.order(world, **wish(preferred_max_latency={"p50": 3, "p90": 2.8})) == [eu, *rest, us]
    assert ASKED.order(world, **wish(sort="throughput")) == [eu, *rest, us]
    assert ASKED.order(world, model="wide:nitro") == [eu, *rest, us]


def test_a_wish_for_an_order_is_neither_balanced_nor_sticky() -> None:
    policy = Client("policy p { sticky: when stream -> requested sticky by user  otherwise -> requested }")
    for draw in (0.0, 0.5, 0.99):
        found = policy.route(draw=draw, **wish(order=["fw"]), stream=True, user=f"u{draw}")
        assert policy.book.endpoints[found.candidates[0].endpoint].id == "wide@fw"
        found = policy.route(draw=draw, model="wide:floor")
        assert policy.book.endpoints[found.candidates[0].endpoint].id == "wide@asia"


def test_variants_of_the_model_name() -> None:
    assert ASKED.order(model="wide:floor")[0] == "wide@asia"
    assert ASKED.order(model="wide:free") == ["wide@asia"]
    assert ASKED.excluded(model="wide:free")["wide@us"] == "model:free"
    assert ASKED.order(model="vendor/wide:free") == ALL, "a declared name stands for itself"
    assert ASKED.route(model="llama3:8b").why == "model_not_found"
    named = Client("policy p { w: when model == wide -> wide by order  otherwise -> reject 400 }")
    assert named.route(model="wide:floor").rule.label == "w"


@pytest.mark.parametrize("word", ["exacto", "online", "thinking", "extended"])
def test_an_unsupported_variant_is_refused_and_named(word: str) -> None:
    with pytest.raises(WishError, match=f":{word}"):
        ASKED.route(model=f"wide:{word}")


def test_names_that_contradict_each_other_are_refused() -> None:
    for fields in (
        {"model": "wide:floor", "models": ["big:nitro"]},
        {"model": "wide:floor", "provider": {"sort": "latency"}},
        {"model": "@p", "preset": "q"},
        {"models": ["big@preset/q"]},
        {"model": "wide@preset/"},
        {"model": "@preset/"},
    ):
        with pytest.raises(WishError):
            ASKED.route(**fields)
    assert ASKED.order(model="wide:floor", provider={"sort": "price"})[0] == "wide@asia"


def test_policies_by_name() -> None:
    two = Client("policy p { otherwise -> small }  policy q { otherwise -> requested else big by order }")
    assert two.order(model="@q") == two.order(model="@preset/q") == ["big@us", "big@eu", "big@asia"]
    assert two.order(model="small@preset/q")[0] == "small@us"
    assert two.order(model="small", preset="q")[0] == "small@us"
    assert two.order(model="wide:floor@preset/q")[0] == "wide@asia"
    assert two.order(model="@q", models=["small"])[0] == "small@us"
    assert two.order(model="@p", preset="p") == ["small@us"]
    for fields in ({"model": "@x"}, {"model": "@preset/x"}, {"preset": "x"}, {"model": "small@preset/x"}):
        with pytest.raises(UnknownPolicyError, match="x"):
            two.route(**fields)


def test_models_are_the_requested_ones_in_order_and_share_its_attempts() -> None:
    three = Client("policy p { otherwise -> requested by order retry 2 }")
    assert three.attempts(models=["small", "big"]) == ["wide@us", "small@us", "big@us"]
    assert three.attempts(models=["small"]) == ["wide@us", "wide@eu", "small@us"]
    assert three.attempts(models=["wide", "wide"]) == ["wide@us", "wide@eu", "wide@fw"]
    assert three.attempts(model="nobody", models=["small"]) == ["small@us"] * 3
    assert three.attempts(models=["small", "big", "tiny"]) == ["wide@us", "small@us", "big@us"]
    assert "tiny@us" in three.order(models=["small", "big", "tiny"])
    assert "none of the models" in three.route(model="a", models=["b"]).message


def test_models_alone_name_the_model() -> None:
    call = Written(json.dumps({"body": {"model": "small"}})).call
    assert call.body.model == "small"
    assert ASKED.call(model="small", models=["big"]).body.models == ["big"]


def test_a_rule_that_names_its_targets_is_not_bent_by_models() -> None:
    fixed = Client("policy p { otherwise -> big by order }")
    assert fixed.order(models=["small"]) == ["big@us", "big@eu", "big@asia"]


def test_partition_none_pools_the_models() -> None:
    pooled = {"sort": {"by": "price", "partition": "none"}}
    order = ASKED.order(model="big", models=["wide", "small"], provider=pooled)
    assert order[:3] == ["wide@asia", "small@us", "wide@fw/flex"]
    assert ASKED.order(model="big", models=["wide", "small"], provider={"sort": "price"})[0] == "big@eu"
    assert ASKED.order(model="big", models=["small"], route="sort", provider={"sort": "price"})[0] == "small@us"
    assert ASKED.order(model="big", models=["small"], route="fallback")[0] == "big@us"


def test_a_list_does_not_open_what_the_policy_keeps_closed() -> None:
    policy = Client(
        "guard home: when model == big  require region == eu\n"
        'policy p { no: when model == small -> reject 403 "no"  otherwise -> requested by order retry 3 }'
    )
    assert policy.order(models=["small", "big"]) == [*ALL, "big@eu"]
    found = policy.excluded(models=["small", "big"])
    assert found == {"small@us": "models: rule no decides for small", "big@us": "guard home", "big@asia": "guard home"}


def test_no_fallbacks_means_the_first_target_and_in_it_the_first_endpoint_of_each_model() -> None:
    policy = Client("policy p { otherwise -> requested else tiny by order retry 3 }")
    assert policy.order(models=["big"], **wish(allow_fallbacks=False)) == ["wide@us", "big@us"]
    down = Scripted(down=frozenset({next(i for i, e in enumerate(policy.book.endpoints) if e.id == "wide@us")}))
    assert policy.order(down, **wish(allow_fallbacks=False)) == ["wide@eu"]
    assert policy.excluded(**wish(allow_fallbacks=False))["tiny@us"] == "provider.allow_fallbacks"
    same = Client("policy p { otherwise -> requested else wide by order }")
    assert "wide@us" not in same.excluded(**wish(allow_fallbacks=False))


def test_what_is_applied_is_told() -> None:
    told = ASKED.told(
        model="wide:floor", models=["big"], provider={"only": ["eu", "mars"], "max_price": {"prompt": "3"}}
    )
    assert told["wishes"] == {
        "models": ["wide", "big"],
        "variant": "floor",
        "provider": {"only": ["eu", "mars"], "max_price": {"prompt": "3"}},
        "unmatched": ["mars"],
    }
    assert "wishes" not in ASKED.told()


# --- laws -----------------------------------------------------------------------------------------

SLUGS = st.lists(st.sampled_from(["us", "eu", "asia", "fw", "fw/flex", "eu/fast", "mars", "us/fp8"]), max_size=3)
PROVIDER = st.fixed_dictionaries(
    {},
    optional={
        "order": SLUGS,
        "allow_fallbacks": st.booleans(),
        "only": SLUGS,
        "ignore": SLUGS,
        "require_parameters": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "zdr": st.booleans(),
        "enforce_distillable_text": st.booleans(),
        "quantizations": st.lists(st.sampled_from(["int4", "fp8", "unknown"]), max_size=2),
        "sort": st.sampled_from(["price", "throughput", "latency", {"by": "price", "partition": "none"}]),
        "preferred_min_throughput": st.one_of(st.floats(0, 100), st.just({"p90": 5})),
        "preferred_max_latency": st.one_of(st.floats(0, 100), st.just({"p50": 1, "p99": 5})),
        "max_price": st.fixed_dictionaries(
            {}, optional={"prompt": st.sampled_from([0, "1", 2.5]), "completion": st.just(5)}
        ),
    },
)
MODELS = st.sampled_from(["wide", "big", "small", "tiny", "nobody", "gpt-4o"])
HIDDEN = Client("""
guard home: when user == anna                                  require region == eu
guard away: when model in [big, gpt-4o] and missing header.x-a require region != asia
policy p {
  no:    when model == tiny and not stream -> reject 403
  split: when user == otto                 -> split 50% requested, 50% small by session else big by order
  both:  when tools > 0                    -> requested else policy q where price.in <= $3
  aside: when stream                       -> requested else big by price retry 2
                                              escalate to wide when empty shadow 50% to wide
  otherwise                                -> requested else wide by latency retry 3
}
policy q { otherwise -> wide else requested by order }
""")
REQUESTS = st.fixed_dictionaries(
    {"model": MODELS, "stream": st.booleans(), "user": st.sampled_from(["anna", "otto", "eve"])},
    optional={
        "tools": st.just([{}]),
        "session_id": st.sampled_from(["a", "b"]),
        "max_tokens": st.sampled_from([5, 9000]),
    },
)


def endpoints(found: Route) -> set[int]:
    return {*(c.endpoint for c in found.candidates), *found.attempts, *found.escalation, *found.shadow}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(REQUESTS, PROVIDER, st.sampled_from(["", ":floor", ":nitro", ":free"]), st.integers(0, 2**14))
def test_a_wish_never_widens_a_plan(
    request: dict[str, object], provider: dict[str, object], variant: str, up: int
) -> None:
    if variant in (":floor", ":nitro"):
        provider = {name: value for name, value in provider.items() if name != "sort"}
    world = Scripted(down=frozenset(i for i in range(14) if not up >> i & 1))
    plain = HIDDEN.route(world, **request)
    wished = HIDDEN.route(world, **{**request, "model": f"{request['model']}{variant}", "provider": provider})
    assert [step.rule.label for step in wished.steps] == [step.rule.label for step in plain.steps]
    assert endpoints(wished) <= endpoints(plain)
    assert len(wished.attempts) <= len(plain.attempts)
    assert len(wished.escalation) <= len(plain.escalation)
    left = {c.endpoint for c in wished.candidates} | {e.endpoint for e in wished.excluded}
    assert {c.endpoint for c in plain.candidates} <= left, "what a wish takes away, it says"


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(REQUESTS, st.lists(MODELS, max_size=4), PROVIDER)
def test_a_list_of_models_gives_no_more_than_asking_for_each_alone(
    request: dict[str, object], models: list[str], provider: dict[str, object]
) -> None:
    listed = HIDDEN.route(**{**request, "models": models, "provider": provider})
    alone = [HIDDEN.route(**{**request, "model": model}) for model in (request["model"], *models)]
    assert endpoints(listed) <= set().union(*(endpoints(found) for found in alone))
    bound = {"no": 0, "split": 4, "both": 6, "aside": 6, "otherwise": 8}[listed.rule.label]
    assert len(listed.attempts) <= bound


def test_require_parameters_drops_who_would_not_be_told_everything() -> None:
    policy = Client(
        'provider ant { url "http://127.0.0.1:9/v1"  protocol anthropic }\n'
        'model both { serve ant "a"  serve us "b" }\n'
        "policy p { otherwise -> both by order }"
    )
    assert policy.order(seed=1) == ["both@ant", "both@us"]
    assert policy.order(**wish(require_parameters=True)) == ["both@ant", "both@us"]
    found = policy.excluded(seed=1, logit_bias={"1": 2}, **wish(require_parameters=True))
    assert found == {"both@ant": "provider.require_parameters (seed, logit_bias)"} or found == {
        "both@ant": "provider.require_parameters (logit_bias, seed)"
    }
