"""What the checker makes of a sound policy: every name resolved, every value in the plan's unit."""

from __future__ import annotations

import pytest

from router_dsl.check.program import check
from router_dsl.load import load_text
from router_dsl.plan import (
    DEFAULT_OPTIONS,
    And,
    Atom,
    Call,
    Cond,
    Endpoints,
    Escalate,
    Hedge,
    Named,
    Not,
    Options,
    Or,
    Program,
    Range,
    Requested,
    Shadow,
    Split,
    Use,
)
from router_dsl.source import render

BASE = """
provider p { url "https://p.example/v1"  region eu  tags cheap }
provider q { url "https://q.example/v1" }
model m { context 128k  serve p "m"  serve q "m2" region us  serve q as fast "m3" context 8Ki }
model n { serve q "n" price $0.90 in $1.5 out $0.0000001 cached }
pool both = n, m @ p
limit spend: $5 per day by tenant soft
let eu = [de, fr]
"""
POLICY = "policy main { otherwise -> m else n else both }"


def program(text: str) -> Program:
    files, found = load_text(text, "dir/chat.route")
    found_program, more = check(files, found)
    assert found_program is not None, "\n".join(render(finding) for finding in [*found, *more])
    return found_program


def condition(text: str, before: str = "") -> Cond:
    made = program(f"{BASE}{before}\npolicy main {{ a: when {text} -> m  otherwise -> m else n }}")
    when = made.policies[0].rules[0].when
    assert when is not None
    return when


def atom(text: str, before: str = "") -> Atom:
    found = condition(text, before)
    assert isinstance(found, Atom)
    return found


def options(text: str, before: str = "") -> Options:
    action = program(f"{BASE}{before}\npolicy main {{ otherwise -> m {text} }}").policies[0].rules[0].action
    assert isinstance(action, Use)
    return action.options


# --- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fact", "op", "value"),
    [
        ("prompt.tokens > 24k", "prompt.tokens", "gt", 24_000),
        ("prompt.tokens >= 128Ki", "prompt.tokens", "ge", 131_072),
        ("request.tokens < 1.5M", "request.tokens", "lt", 1_500_000),
        ("temperature <= 0.7", "temperature", "le", 0.7),
        ("turns == 3", "turns", "eq", 3),
        ("task == code", "task", "eq", "code"),
        ('task != "code"', "task", "ne", "code"),
        ("stream == true", "stream", "eq", True),
        ("stream != false", "stream", "ne", False),
        ("header.X-Country == DE", "header.x-country", "eq", "DE"),
        ('header."X.Y" == a', "header.x.y", "eq", "a"),
        ("metadata.Plan contains o", "metadata.Plan", "contains", "o"),
        ("key.plan starts with pr", "key.plan", "starts", "pr"),
        ("key == a", "key.id", "eq", "a"),
        ("model ends with mini", "model", "ends", "mini"),
        ("model matches /gpt-[45]/", "model", "matches", "gpt-[45]"),
        ("model matches /gpt/i", "model", "matches", "(?i)gpt"),
        ('client.ip == "10.0.0.1"', "client.ip", "eq", "00000000000000000000ffff0a000001"),
        ('client.ip != "::ffff:10.0.0.1"', "client.ip", "ne", "00000000000000000000ffff0a000001"),
        ('client.ip == "2001:db8::1"', "client.ip", "eq", "20010db8000000000000000000000001"),
        ('time.hour@"Europe/Berlin" >= 9', "time.hour@Europe/Berlin", "ge", 9),
        ("time.weekday == sat", "time.weekday", "eq", "sat"),
        ('time.date < "2026-12-24"', "time.date", "lt", "2026-12-24"),
        ('time.date starts with "2026-12"', "time.date", "starts", "2026-12"),
        ("healthy(both) < 50%", "healthy(both)", "lt", 0.5),
        ("load(m) > 0.8", "load(m)", "gt", 0.8),
        ("has tools", "tools", "has", None),
        ("missing user", "user", "missing", None),
        ("over spend", "over spend", "is", None),
        ("stream", "stream", "is", None),
    ],
)
def test_questions_are_asked_in_the_units_of_the_plan(text: str, fact: str, op: str, value: object) -> None:
    found = atom(text)
    assert (found.fact, found.op, found.value, found.items, found.text) == (fact, op, value, (), text)
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("turns in [1, 2, 5..9]", (1, 2, Range(5, 9))),
        ("turns not in 3..4", (Range(3, 4),)),
        ("prompt.tokens in 8k..24k", (Range(8000, 24000),)),
        ('header.x-country in [us, "u k"]', ("us", "u k")),
        ("header.x-country in eu", ("de", "fr")),
        ("task in [code, math]", ("code", "math")),
        (
            'client.ip in ["10.1.2.3/8", "::1"]',
            (
                Range("00000000000000000000ffff0a000000", "00000000000000000000ffff0affffff"),
                "00000000000000000000000000000001",
            ),
        ),
        ('client.ip in "fd00::/8"', (Range("fd" + "0" * 30, "fd" + "f" * 30),)),
        ('time.date in "2026-12-01".."2026-12-24"', (Range("2026-12-01", "2026-12-24"),)),
        ("healthy(m) in 10%..50%", (Range(0.1, 0.5),)),
    ],
)
def test_lists_and_ranges_are_written_out(text: str, items: object) -> None:
    found = atom(text)
    assert (found.items, found.value) == (items, None)
    assert found.op == ("not in" if " not in " in text else "in")


def test_a_let_list_is_read_as_the_type_of_its_fact() -> None:
    assert atom("turns in few", "let few = [1, 2k]").items == (1, 2000)
    nets = atom("client.ip in office", 'let office = ["10.0.0.0/8"]').items
    assert nets == (Range("00000000000000000000ffff0a000000", "00000000000000000000ffff0affffff"),)


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("fact x: number from header.x-n", "x > 2.5", 2.5),
        ("fact x: tokens from body.a.b", "x > 2k", 2000),
        ("fact x: bool from metadata.b", "x", None),
        ("fact x: ip from header.x-ip", 'x == "1.2.3.4"', "00000000000000000000ffff01020304"),
        ("fact x: one of a, b from key.x", "x == b", "b"),
        ("fact x: text from header.X-A", 'x == "2"', "2"),
    ],
)
def test_own_facts_have_their_type(declared: str, text: str, value: object) -> None:
    assert atom(text, declared).value == value


def test_sources_of_own_facts_are_canonical() -> None:
    made = program(f"{BASE}fact x: one of a, b from header.X-Plan\npolicy main {{ a: when has x -> m otherwise -> n }}")
    assert [(f.name, f.type, f.values, f.source) for f in made.facts] == [("x", "one of", ("a", "b"), "header.x-plan")]


# --- structure ----------------------------------------------------------------------------------------


def test_conditions_keep_their_shape_and_lets_their_name() -> None:
    found = condition("long and not (stream or has tools)", "let long = prompt.tokens > 1k")
    assert isinstance(found, And)
    named, negated = found.items
    assert isinstance(named, Named)
    assert (named.name, named.item) == ("long", Atom("prompt.tokens", "gt", 1000, (), "prompt.tokens > 1k"))
    assert isinstance(negated, Not)
    assert isinstance(negated.item, Or)


def test_a_let_may_use_a_later_let_and_ask_about_endpoints() -> None:
    assert isinstance(condition("a", "let a = not b\nlet b = stream"), Named)
    where = options("where cheap", "let cheap = price.out <= $1.5").where
    assert where == Named("cheap", Atom("price.out", "le", 1_500_000_000, (), "price.out <= $1.5"))


def test_rules_keep_the_authors_words_on_one_line() -> None:
    text = "policy main {\n a: when (stream   # often\n   or has tools) and\n (turns > 3) -> m\n otherwise -> n\n}"
    rule, last = program(BASE + text).policies[0].rules
    assert (rule.text, rule.label, rule.file) == ("(stream or has tools) and (turns > 3)", "a", "dir/chat.route")
    assert rule.line == BASE.count("\n") + 2
    assert (last.label, last.when, last.text) == ("otherwise", None, "otherwise")


def test_a_comment_mark_in_a_string_is_text() -> None:
    assert atom('model ==\n "a # b" ').text == 'model == "a # b"'


# --- what there is ------------------------------------------------------------------------------------


def test_endpoints_inherit_and_gather() -> None:
    made = program(BASE + "policy main { a: when over spend and region in eu -> n  otherwise -> m else both }")
    m, m2, fast, n = made.endpoints
    assert [e.id for e in made.endpoints] == ["m@p", "m@q", "m@q/fast", "n@q"]
    assert [e.region for e in made.endpoints] == ["eu", "us", None, None]
    assert [e.context for e in made.endpoints] == [128_000, 128_000, 8192, None]
    assert (m.tags, m.upstream, m2.upstream, fast.label) == (("cheap",), "m", "m2", "fast")
    assert (n.price_in, n.price_out, n.price_cached) == (900_000_000, 1_500_000_000, 100)
    assert (m.price_in, m.weight, m.zdr, m.supports) == (None, 1.0, False, None)
    assert made.models[0].endpoints == (0, 1, 2)
    assert made.pools == (("both", (3, 0)),)
    assert made.name == "chat"


def test_tags_are_gathered_and_supports_overridden() -> None:
    made = program(
        'provider p { url "https://p.example/"  tags a, b }\n'
        'model m { tags b, c  supports tools  serve p "m" tags d supports json, vision zdr weight 0.5 '
        'serve p as x "y" }\npolicy main { otherwise -> m }'
    )
    first, second = made.endpoints
    assert (first.tags, second.tags) == (("a", "b", "c", "d"), ("a", "b", "c"))
    assert (first.supports, second.supports) == (("json", "vision"), ("tools",))
    assert (first.zdr, first.weight) == (True, 0.5)
    assert made.providers[0].url == "https://p.example"


def test_providers_have_defaults() -> None:
    made = program(
        'provider a { url "https://a.example" }\n'
        'provider b { url "https://b.example"  protocol anthropic  key env.B_KEY  limit 8 concurrent  cold park\n'
        '  wake "https://b.example/wake"  header "X-Title" "chat"  header "x-b" "1" }\n'
        'provider c { url "sim://?ttft=200ms&speed=80&fail=2%&seed=1" }\n'
        'provider d { url "http://d:8000/v1/"  auth header "X-Key"  key secret "team/d" }\n'
        'model m { serve a "1" serve b "2" serve c "3" serve d "4" }\npolicy main { otherwise -> m }'
    )
    a, b, c, d = made.providers
    assert (a.protocol, a.auth, a.key_env, a.key_secret, a.limit, a.cold, a.headers) == (
        "openai", "bearer", None, None, None, None, (),
    )  # fmt: skip
    assert (b.protocol, b.auth, b.key_env, b.limit, b.cold, b.wake) == (
        "anthropic", "x-api-key", "B_KEY", 8, "park", "https://b.example/wake",
    )  # fmt: skip
    assert b.headers == (("x-title", "chat"), ("x-b", "1"))
    assert (c.protocol, d.auth, d.key_secret, d.url) == ("sim", "x-key", "team/d", "http://d:8000/v1")


# --- actions ------------------------------------------------------------------------------------------


def test_targets_become_endpoints() -> None:
    made = program(
        BASE + "policy main {\n"
        " a: when stream -> m @ q else m @ q/fast else both else requested\n"
        " b: when has tools -> split 75% m @ p, 25% requested by session\n"
        ' c: when turns > 3 -> reject 413 "too long"\n'
        " otherwise -> n else policy other\n}\npolicy other { otherwise -> n }"
    )
    a, b, c, last = (rule.action for rule in made.policies[0].rules)
    assert isinstance(a, Use)
    assert a.targets == (
        Endpoints("m @ q", (1,)),
        Endpoints("m @ q/fast", (2,)),
        Endpoints("both", (3, 0)),
        Requested(),
    )
    assert isinstance(b, Use)
    assert b.targets == (Split(((0.75, Endpoints("m @ p", (0,))), (0.25, Requested())), "session"),)
    assert (c.status, c.message) == (413, "too long")  # type: ignore[union-attr]
    assert isinstance(last, Use)
    assert last.targets[-1] == Call("other")


def test_without_options_the_languages_own_hold() -> None:
    assert options("") == DEFAULT_OPTIONS


def test_options_are_in_seconds_and_shares() -> None:
    found = options(
        "by price 70%, latency 30% where quantization != int4 sticky by key.team within 2m first token 800ms stall 5s "
        "retry 2 on 429, 5xx, timeout hedge after p95 at most 5% escalate to n when truncated, invalid json "
        "shadow 10% n cap max_tokens 4k set temperature 0.2 set store false drop logprobs cache 1h tag slow"
    )
    assert found.by == (("price", 0.7), ("latency", 0.3))
    assert found.where == Atom("quantization", "ne", "int4", (), "quantization != int4")
    assert (found.where_text, found.sticky) == ("quantization != int4", "key.team")
    assert (found.within_s, found.first_token_s, found.stall_s, found.cache_s) == (120.0, 0.8, 5.0, 3600.0)
    assert (found.retry, found.retry_on) == (2, ("429", "5xx", "timeout"))
    assert found.hedge == Hedge(None, 0.95, 0.05)
    assert found.escalate == Escalate(Endpoints("n", (3,)), ("truncated", "invalid json"))
    assert found.shadow == Shadow(0.1, Endpoints("n", (3,)))
    assert (found.cap, found.set, found.drop, found.tag) == (
        (("max_tokens", 4000),), (("temperature", 0.2), ("store", False)), ("logprobs",), "slow",
    )  # fmt: skip


def test_an_actions_option_replaces_the_default_of_its_kind() -> None:
    found = options(
        "retry 0 by latency set top_p 1",
        "defaults { retry 3 on 429 by price within 30s cap top_p 0.5 cap max_tokens 100 drop user }",
    )
    assert (found.retry, found.by, found.within_s) == (0, (("latency", 1.0),), 30.0)
    assert (found.cap, found.set, found.drop) == ((("max_tokens", 100),), (("top_p", 1),), ("user",))


def test_shares_that_do_not_sum_to_100_are_taken_in_proportion() -> None:
    files, _ = load_text(BASE + "policy main { otherwise -> split 30% m, 10% n by user }", "x.route")
    made, found = check(files)
    assert made is not None
    assert "W502" in {finding.code for finding in found}
    action = made.policies[0].rules[0].action
    assert isinstance(action, Use)
    assert isinstance(action.targets[0], Split)
    assert [share for share, _ in action.targets[0].shares] == pytest.approx([0.75, 0.25])


# --- guards, limits, tests, assertions ------------------------------------------------------------------


def test_guards_and_limits() -> None:
    made = program(
        f"{BASE}guard eu: when header.x in [de] require region == eu\nguard z: require zdr\n"
        "limit a: when stream 60 requests per minute by key, client.ip\nlimit b: 200k tokens per hour by user\n"
        + POLICY
    )
    eu, z = made.guards
    assert (eu.text, z.text, z.when) == ("when header.x in [de] require region == eu", "require zdr", None)
    assert z.require == Atom("zdr", "is", None, (), "zdr")
    spend, a, b = made.limits
    assert (spend.amount, spend.unit, spend.per_s, spend.by, spend.soft) == (
        5_000_000_000,
        "$",
        86400,
        ("tenant",),
        True,
    )
    assert (a.amount, a.unit, a.per_s, a.by, a.soft) == (60, "requests", 60, ("key.id", "client.ip"), False)
    assert (b.amount, b.unit, b.per_s) == (200_000, "tokens", 3600)


def test_test_blocks() -> None:
    made = program(
        BASE
        + POLICY
        + '\nfact n1: number from header.n\npolicy other { a: when n1 > 2 -> m  otherwise -> n }\ntest "t" {\n'
        ' given task code, stream true, header.X-A 24k, user missing, n1 2k, client.ip "1.2.3.4", healthy(m) 40%\n'
        " policy other  down q  slow m @ p 3s  full n  over spend\n"
        " expect rule a  expect m @ p  expect not both  expect reject 429  expect order n, m\n"
        " expect cost <= $0.01  expect attempts <= 3\n}"
    )
    (test,) = made.tests
    assert dict(test.given) == {
        "task": "code", "stream": True, "header.x-a": "24k", "user": None, "n1": 2000,
        "client.ip": "00000000000000000000ffff01020304", "healthy(m)": 0.4,
    }  # fmt: skip
    assert (test.policy, test.down, test.slow, test.full, test.over) == (
        "other", (1, 2, 3), ((0, 3.0),), (3,), ("spend",),
    )  # fmt: skip
    assert [(e.kind, e.value) for e in test.expect] == [
        ("rule", "a"), ("first", None), ("never", None), ("reject", 429), ("order", None),
        ("cost", 10_000_000), ("attempts", 3),
    ]  # fmt: skip
    assert test.expect[1].targets == (Endpoints("m @ p", (0,)),)
    assert test.expect[4].targets == (Endpoints("n", (3,)), Endpoints("m", (0, 1, 2)))
    assert test.expect[1].text == "expect m @ p"


def test_assertions() -> None:
    made = program(
        BASE
        + POLICY.replace("otherwise", "a: when stream -> n otherwise")
        + "\nassert never region != eu when user == x\n"
        "assert attempts <= 4\nassert cost <= $0.50 when stream\nassert wait <= 30s\nassert reachable a"
    )
    never, attempts, cost, wait, reachable = made.assertions
    assert never.never == Atom("region", "ne", "eu", (), "region != eu")
    assert never.when == Atom("user", "eq", "x", (), "user == x")
    assert [a.limit for a in (attempts, cost, wait)] == [4, 500_000_000, 30]
    assert (cost.when, reachable.label) == (Atom("stream", "is", None, (), "stream"), "a")
    assert never.text == "assert never region != eu when user == x"


def test_the_first_policy_of_the_root_file_is_the_first() -> None:
    made = program(BASE + "policy b { otherwise -> policy a }\npolicy a { otherwise -> m else n else both }")
    assert [policy.name for policy in made.policies] == ["b", "a"]
