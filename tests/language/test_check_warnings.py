"""Warnings are right: what is doubtful is said, what is sensible is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from handlers.checked import check
from router_dsl.load import load, load_text
from router_dsl.plan import And, Atom, Cond, Named, Not, Or, Range, Scalar

MODELS = """
provider p { url "https://p.example/v1" }
model big   { context 256k  serve p "big"   price $2 in $6 out }
model mid   { context 128k  serve p "mid"   price $1 in $3 out }
model small { context 8k    serve p "small" price $0.1 in $0.3 out }
"""


def codes(policy: str, before: str = "") -> list[str]:
    files, reported = load_text(MODELS + before + policy, "x.route")
    program, found = check(files, reported)
    assert program is not None
    return [finding.code for finding in found if finding.code != "W501"]


def rules(*conditions: str) -> str:
    listed = "\n".join(f"r{i}: when {cond} -> reject 400" for i, cond in enumerate(conditions))
    return f"policy main {{ {listed}\notherwise -> requested else big }}"


@pytest.mark.parametrize(
    "conditions",
    [
        ["task == code and has tools", "task == code"],
        ["task == code", "task == math"],
        ["task == code or has tools", "task == code and stream or turns > 3"],
        ["prompt.tokens > 8k and prompt.tokens < 9k"],
        ["prompt.tokens >= 8k and prompt.tokens <= 8k"],
        ["turns in 3..9 and turns in 9..12"],
        ["task in [code, math] and task != code"],
        ["user == a and user != b"],
        ["missing user and user != a"],
        ["missing user or user == a"],
        ["not has user and missing user"],
        ["header.x == a and header.y == b"],
        ["user == a or user == b", "user == c"],
        ["user in [a, b]", "user in [b, c]"],
        ['model starts with "a" and model ends with "b"'],
        ['time.date >= "2026-01-01" and time.date starts with "2026"'],
        ['client.ip in ["10.0.0.0/8"] and client.ip not in ["10.1.0.0/16"]'],
        ["healthy(big) > 60%", "healthy(big) > 50%"],
        ["prompt.tokens > 24k", "prompt.tokens > 8k", "prompt.tokens in 4k..24k"],
        ["turns <= 3", "turns > 3"],
        ["task in [code, math]", "task in [math, chat]"],
        ["user != a and turns > 3", "user == b"],
        ["stream and has tools", "stream or has tools"],
        ["stream and not has tools", "not stream and not has tools"],
    ],
)
def test_sensible_rules_are_not_complained_about(conditions: list[str]) -> None:
    assert codes(rules(*conditions)) == []


@pytest.mark.parametrize(
    "conditions",
    [
        ["task == code", "task == code and has tools"],
        ["has tools and task == code", "task == code and has tools"],
        ["task == code or has tools", "has tools"],
        ["task == code", "has tools", "task == code and turns > 3 or has tools"],
        ["user in [a, b]", "user in [b, a] and stream"],
        ["not task == code", "task != code and stream"],
        ["stream or not stream", "has tools"],
        ["task not in []", "has tools"],
        ["not (stream and has tools)", "not (has tools and stream)"],
        ["prompt.tokens > 8k", "prompt.tokens > 24k"],
        ["prompt.tokens > 8k", "prompt.tokens in 9k..24k and stream"],
        ["prompt.tokens >= 8k", "turns == 3 and prompt.tokens == 8k"],
        ["task in [code, math]", "task == code"],
        ["task in [code, math] and stream", "stream and task == math and turns > 3"],
        ["task != chat", "task in [code, math]"],
        ["task not in [chat]", "task not in [chat, math]"],
        ['time.date >= "2026-01-01"', 'time.date > "2026-06-01"'],
        ['client.ip in ["10.0.0.0/8"]', 'client.ip in ["10.1.0.0/16", "10.2.3.4"]'],
        ["healthy(big) > 50%", "healthy(big) > 60%"],
        ["stream", "not stream"],
        ["has user", "stream", "not has user"],
    ],
)
def test_rules_that_never_decide_are_named(conditions: list[str]) -> None:
    assert "W504" in codes(rules(*conditions))


def test_an_otherwise_that_no_request_can_reach_is_named_with_the_rules_before_it() -> None:
    files, reported = load_text(MODELS + rules("stream", "turns > 3", "not stream"), "x.route")
    _, found = check(files, reported)
    (finding,) = [finding for finding in found if finding.code == "W504"]
    assert finding.span.text == "otherwise"
    assert finding.message == "rule `otherwise` never decides: rule `r0` or `r2` holds always"


@pytest.mark.parametrize(
    "condition",
    [
        "task == code and task == math",
        "task == code and task in [math, chat]",
        "task in [code, math] and task in [chat]",
        "task == code and task != code",
        "task == code and not task == code",
        "has user and not has user",
        "missing user and user == a",
        "missing user and has user",
        "stream and not stream",
        "stream == true and stream == false",
        "turns > 5 and turns < 5",
        "turns > 5 and turns <= 5",
        "turns in 1..3 and turns > 3",
        "turns == 4 and turns in 1..3",
        "region in []",
        "(task == code and task == math) or (stream and not stream)",
        "prompt.tokens > 8k and (task == code and prompt.tokens < 4k)",
    ],
)
def test_conditions_that_cannot_hold_are_reported(condition: str) -> None:
    assert codes(rules(condition)) == ["W505"]


def test_lets_are_looked_through() -> None:
    lets = "let code = task == code\nlet busy = turns > 3 and code\n"
    assert codes(rules("code", "busy"), lets) == ["W504"]
    assert codes(rules("busy and task == math"), lets) == ["W505"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("otherwise -> big else mid", []),
        ("otherwise -> big else small", ["W506"]),
        ("otherwise -> small else big", []),
        ("otherwise -> requested else small", []),
        ("a: when prompt.tokens <= 4k -> big else small  otherwise -> big", []),
        ("a: when prompt.tokens < 9k -> big else small  otherwise -> big", ["W506"]),
        ("a: when prompt.tokens <= 200k -> big else mid  otherwise -> big", ["W506"]),
        ("a: when prompt.tokens in 1k..4k -> big else small  otherwise -> big", []),
        ("a: when prompt.tokens > 24k -> big else small  otherwise -> big", ["W506"]),
        ("a: when prompt.tokens > 8k -> small  otherwise -> big", ["W506"]),
        ("a: when prompt.tokens >= 8k -> small  otherwise -> big", []),
        ("a: when not prompt.tokens > 4k -> small  otherwise -> big", []),
        ("otherwise -> split 50% big, 50% small by user else mid", []),
    ],
)
def test_small_fallbacks(policy: str, expected: list[str]) -> None:
    assert codes(f"policy main {{ {policy} }}") == expected


def test_repeated_targets() -> None:
    assert codes("policy main { otherwise -> big else mid else big }") == ["W507"]
    assert codes("policy main { otherwise -> big else big @ p }") == ["W507"]
    assert codes("policy main { otherwise -> requested else requested }") == ["W507"]
    assert codes("policy main { otherwise -> any else big }", "pool any = big, mid\n") == []


def test_missing_prices() -> None:
    free = 'model free { serve p "free" }\n'
    assert codes("policy main { otherwise -> free by price }", free) == ["W508"]
    assert codes("policy main { otherwise -> big else free by price 50%, latency 50% }", free) == ["W508"]
    assert codes("policy main { otherwise -> free by latency }", free) == []
    assert codes("policy main { otherwise -> free }", free) == []
    assert codes("policy main { otherwise -> free }", free + "defaults { by price }\n") == ["W508"]
    assert codes("policy main { otherwise -> free }\nassert cost <= $1", free) == ["W508"]
    assert codes("policy main { otherwise -> big }\nassert cost <= $2", free) == []


def unused(text: str) -> list[str]:
    files, reported = load_text(text, "x.route")
    _, found = check(files, reported)
    return [finding.message for finding in found if finding.code == "W501"]


def test_a_model_is_not_unused_while_clients_may_ask_for_it() -> None:
    assert unused(MODELS + "policy main { otherwise -> requested else big }") == []
    assert len(unused(MODELS + "policy main { otherwise -> big }")) == 2


def test_uses_by_options_guards_and_limits_count() -> None:
    text = MODELS + (
        "let cheap = price.out < $4\nlet few = [a, b]\nfact plan: text from key.plan\nfact team: text from key.team\n"
        "pool spare = small\nlimit spend: $5 per day by team soft\n"
        "guard g: when over spend require cheap\n"
        "policy main { a: when healthy(spare) < 50% and user in few -> mid sticky by plan  otherwise -> big }"
    )
    assert unused(text) == []


def test_uses_by_tests_alone_do_not_count() -> None:
    text = (
        MODELS
        + 'policy main { otherwise -> big else mid }\ntest "t" { given stream true  expect not small  expect big }'
    )
    assert unused(text) == ["model `small` is unused: no rule and no pool names it"]


def test_what_an_imported_file_offers_need_not_be_taken(tmp_path: Path) -> None:
    (tmp_path / "catalog.route").write_text(MODELS, encoding="utf-8")
    (tmp_path / "root.route").write_text('import "catalog.route"\npolicy main { otherwise -> big }', encoding="utf-8")
    files, reported = load(tmp_path / "root.route")
    program, found = check(files, reported)
    assert program is not None
    assert [*reported, *found] == []


def test_an_error_keeps_the_doubtful_quiet() -> None:
    files, reported = load_text(MODELS + "policy main { a: when taks == code -> big  otherwise -> big }", "x.route")
    _, found = check(files, reported)
    assert [finding.code for finding in found] == ["E204"]


def test_the_languages_own_example_is_clean() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
    example = reference.partition("```route\n")[2].partition("```")[0]
    files, reported = load_text(example, "chat.route")
    program, found = check(files, reported)
    assert program is not None
    assert [*reported, *found] == []
    assert [len(policy.rules) for policy in program.policies] == [6]


# --- laws ---------------------------------------------------------------------------------------------

FACTS: dict[str, list[Scalar | None]] = {
    "user": [None, "a", "b", "c"],
    "turns": [None, 0, 1, 2, 3, 2.5],
    "stream": [True, False],
}


def atoms() -> st.SearchStrategy[Cond]:
    words = st.sampled_from(["a", "b"])
    numbers = st.sampled_from([1, 2, 3])
    ranges = st.builds(lambda a, b: Range(min(a, b), max(a, b)), numbers, numbers)
    return st.one_of(
        st.builds(lambda op, v: Atom("user", op, v, (), ""), st.sampled_from(["eq", "ne"]), words),
        st.builds(
            lambda op, v: Atom("user", op, None, tuple(v), ""),
            st.sampled_from(["in", "not in"]),
            st.lists(words, max_size=3),
        ),
        st.builds(
            lambda op, v: Atom("turns", op, v, (), ""), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), numbers
        ),
        st.builds(lambda op, v: Atom("turns", op, None, (v,), ""), st.sampled_from(["in", "not in"]), ranges),
        st.builds(
            lambda f, op: Atom(f, op, None, (), ""),
            st.sampled_from(["user", "turns"]),
            st.sampled_from(["has", "missing"]),
        ),
        st.just(Atom("stream", "is", None, (), "")),
    )


def conditions(leaves: int = 8) -> st.SearchStrategy[Cond]:
    return st.recursive(
        atoms(),
        lambda inner: st.one_of(
            st.builds(lambda items: And(tuple(items)), st.lists(inner, min_size=2, max_size=4)),
            st.builds(lambda items: Or(tuple(items)), st.lists(inner, min_size=2, max_size=3)),
            st.builds(Not, inner),
            st.builds(lambda item: Named("l", item), inner),
        ),
        max_leaves=leaves,
    )


REQUESTS = [
    {"user": user, "turns": turns, "stream": stream}
    for user in FACTS["user"]
    for turns in FACTS["turns"]
    for stream in FACTS["stream"]
]
