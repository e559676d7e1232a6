"""Text → syntax tree: the whole language, and what is said about broken files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from router_dsl import ast
from router_dsl.source import Source, Span, render
from router_dsl.syntax import parse, tables

CASES = Path(__file__).parent / "cases"
TOUR = (CASES / "tour.txt").read_text()
EXAMPLE = (CASES / "example.route").read_text()


def parsed(text: str) -> ast.File:
    file, diagnostics = parse(Source("t.route", text))
    assert [render(d) for d in diagnostics] == []
    return file


def only(text: str) -> ast.Declaration:
    (item,) = parsed(text).items
    return item


def action(text: str) -> ast.Action:
    policy = only(f"policy p {{ a: when x -> {text} }}")
    assert isinstance(policy, ast.Policy)
    return policy.rules[0].action


def option(text: str) -> ast.Option:
    use = action(f"m {text}")
    assert isinstance(use, ast.Use)
    (only_one,) = use.options
    return only_one


def condition(text: str) -> ast.Condition:
    let = only(f"let c = {text}")
    assert isinstance(let, ast.Let)
    assert not isinstance(let.value, ast.ListOf)
    return let.value


def name(text: str) -> ast.Name:
    return ast.Name(text, span=NOWHERE)


def path(*parts: str) -> ast.Path:
    return ast.Path(tuple(map(name, parts)), span=NOWHERE)


def number(value: str, unit: str = "") -> ast.Number:
    return ast.Number(value, unit, span=NOWHERE)


def text_(value: str) -> ast.Text:
    return ast.Text(value, span=NOWHERE)


def ref(*parts: str) -> ast.Ref:
    return ast.Ref(*map(name, parts), span=NOWHERE)


NOWHERE = Span(Source("", ""), 0, 0)

# --- the language ---------------------------------------------------------------------------------


def test_the_contracts_own_example_parses_whole() -> None:
    file = parsed(EXAMPLE)
    assert [type(item).__name__ for item in file.items] == [
        *["Provider"] * 3, *["Model"] * 3, "Fact", "Let", "Let", "Guard", "Guard", "Limit", "Limit", "Policy",
        "Test", "Test", "AssertNever", "AssertBound",
    ]  # fmt: skip
    policy = file.items[13]
    assert isinstance(policy, ast.Policy)
    assert [rule.label.text for rule in policy.rules] == ["too-long", "broke", "code", "long", "canary", "otherwise"]


def test_every_sentence_of_the_language_parses() -> None:
    assert len(parsed(TOUR).items) > 25


@pytest.mark.parametrize("text", ["", " ", "# only a comment", "\ufeff", "\r\n\t\r\n"])
def test_an_empty_file_is_a_file(text: str) -> None:
    assert parsed(text).items == ()


def test_line_ends_tabs_a_mark_and_a_missing_last_newline_mean_nothing() -> None:
    assert parsed("\ufeff" + EXAMPLE.replace("\n", "\r\n").rstrip()) == parsed(EXAMPLE)
    assert parsed(EXAMPLE.replace("  ", "\t")) == parsed(EXAMPLE)
    squeezed = " ".join(line.split("#")[0].strip() for line in EXAMPLE.splitlines())
    assert parsed(squeezed) == parsed(EXAMPLE)


KEYWORDS = sorted(tables().keywords)


@pytest.mark.parametrize("word", KEYWORDS)
def test_any_keyword_labels_a_rule(word: str) -> None:
    policy = only(f"policy p {{ {word}: when x -> m  other: when y -> m otherwise -> m }}")
    assert isinstance(policy, ast.Policy)
    assert [rule.label.text for rule in policy.rules] == [word, "other", "otherwise"]


@pytest.mark.parametrize("word", KEYWORDS)
def test_a_keyword_is_a_name_wherever_a_name_alone_can_stand(word: str) -> None:
    parsed(f"provider {word} {{ region {word} tags {word}, a key env.{word} }}")
    parsed(f'model {word} {{ serve {word} "x" quantization {word} supports {word} }}')
    parsed(f"pool {word} = {word}, m @ {word}/{word}")
    parsed(f"let {word} = header.{word} == {word} and price.{word} in [{word}, {word}] and has {word}")
    parsed(f"guard {word}: require region != {word}")
    parsed(f"limit {word}: 5 requests per {word} by {word}")
    parsed(f"policy {word} {{ a: when a == {word} -> policy {word} else m @ {word} tag {word} cap {word} 3 }}")
    parsed(f'test "t" {{ given model {word}, {word} 3 down {word} over {word} policy {word} expect rule {word} }}')
    parsed(f"assert reachable {word}")


def test_names_may_be_strings_and_mean_the_same() -> None:
    assert parsed('pool "a" = "m" @ "p"/"l"') == parsed("pool a = m @ p/l")
    assert only('let x = header."X-A.B" == 1') == only('let x = "header"."X-A.B" == 1')


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("24k", "24", "k"),
        ("1.5M", "1.5", "M"), ("128Ki", "128", "Ki"), ("800ms", "800", "ms"), ("$0.90", "0.90", "$"),
        ("95%", "95", "%"), ("-1", "-1", ""), ("+2", "2", ""), ("5xx", "5", "xx"), ("$2k", "2", "$k"), ("0", "0", ""),
    ],
)  # fmt: skip
def test_a_number_keeps_its_digits_and_its_unit(text: str, value: str, unit: str) -> None:
    assert condition(f"x > {text}") == ast.Compare(path("x"), ">", number(value, unit), span=NOWHERE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a b"', "a b"), (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'), (r'"\u00e9"', "é"), (r'"\ud83d\ude00"', "😀"),
        ('"a\tb"', "a\tb"), ('""', ""), ('"# no comment"', "# no comment"), ('"😀é"', "😀é"),
    ],
)  # fmt: skip
def test_a_string_says_what_its_escapes_say(text: str, value: str) -> None:
    assert condition(f"x == {text}") == ast.Compare(path("x"), "==", text_(value), span=NOWHERE)


@pytest.mark.parametrize(
    ("text", "pattern", "ignore_case"),
    [
        ("/a/", "a", False), ("/a/i", "a", True), (r"/a\/b/", r"a\/b", False), ("/[/]/", "[/]", False),
        ("/a b # c/", "a b # c", False), ("/[]/", "[]", False), (r"/[^\]/]+/i", r"[^\]/]+", True),
    ],
)  # fmt: skip
def test_a_regex_stands_between_slashes(text: str, pattern: str, ignore_case: bool) -> None:
    regex = ast.Regex(pattern, ignore_case, span=NOWHERE)
    assert condition(f"x matches {text}") == ast.Compare(path("x"), "matches", regex, span=NOWHERE)
    assert condition(f"x matches {text} and x matches {text}") == ast.And(
        (ast.Compare(path("x"), "matches", regex, span=NOWHERE),) * 2, span=NOWHERE
    )


def test_a_slash_behind_a_provider_called_matches_is_no_regex() -> None:
    assert only("pool p = m @ matches/fast, n @ matches/slow") == ast.Pool(
        name("p"), (ref("m", "matches", "fast"), ref("n", "matches", "slow")), span=NOWHERE
    )


def test_not_binds_tighter_than_and_than_or() -> None:
    a, b, c = (ast.Alone(path(x), span=NOWHERE) for x in "abc")
    not_a = ast.Not(a, span=NOWHERE)
    assert condition("not a and b or c") == ast.Or((ast.And((not_a, b), span=NOWHERE), c), span=NOWHERE)
    assert condition("not (a and b)") == ast.Not(ast.And((a, b), span=NOWHERE), span=NOWHERE)
    assert condition("not not a") == ast.Not(not_a, span=NOWHERE)
    assert condition("a and (b or c)") == ast.And((a, ast.Or((b, c), span=NOWHERE)), span=NOWHERE)


def test_and_and_or_are_flat() -> None:
    assert condition("a and (b and (c))") == condition("a and b and c")
    assert condition("(a or b) or c") == condition("a or b or c")


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with"])
def test_every_comparison(op: ast.CompareOp) -> None:
    assert condition(f'a.b {op} "x"') == ast.Compare(path("a", "b"), op, text_("x"), span=NOWHERE)


def test_membership_in_lists_ranges_names_and_one_address() -> None:
    among = ast.ListOf((name("a"), text_("b c"), ast.Range(number("1"), number("3"), span=NOWHERE)), span=NOWHERE)
    assert condition('x in [a, "b c", 1..3]') == ast.In(path("x"), among, False, span=NOWHERE)
    assert condition('x not in [a, "b c", 1..3,]') == ast.In(path("x"), among, True, span=NOWHERE)
    days = ast.Range(name("mon"), name("fri"), span=NOWHERE)
    assert condition("x in mon..fri") == ast.In(path("x"), days, False, span=NOWHERE)
    assert condition("x in eu") == ast.In(path("x"), name("eu"), False, span=NOWHERE)
    cidr = ast.ListOf((text_("10.0.0.0/8"),), span=NOWHERE)
    assert condition('x in "10.0.0.0/8"') == ast.In(path("x"), cidr, False, span=NOWHERE)


def test_facts_with_a_pool_a_zone_and_numbered_parts() -> None:
    share = ast.Compare(ast.Path((name("healthy"),), name("fast"), span=NOWHERE), "<", number("40", "%"), span=NOWHERE)
    assert condition("healthy(fast) < 40%") == share
    hour = ast.Path((name("time"), name("hour")), None, text_("Europe/Berlin"), span=NOWHERE)
    assert condition('has time.hour@"Europe/Berlin"') == ast.Has(hour, span=NOWHERE)
    fact = only("fact f: text from body.messages.0.role")
    assert isinstance(fact, ast.Fact)
    assert fact.source == path("body", "messages", "0", "role")


def test_a_provider_with_everything() -> None:
    provider = only(
        'provider p { url "u" key secret "k" region eu protocol sim auth header "X" limit 8 concurrent cold park '
        'wake "w" tags a, b header "x" "y" }'
    )
    assert isinstance(provider, ast.Provider)
    assert [(prop.keyword.text, prop.values) for prop in provider.props] == [
        ("url", (text_("u"),)),
        ("key", (name("secret"), text_("k"))),
        ("region", (name("eu"),)),
        ("protocol", (name("sim"),)),
        ("auth", (name("header"), text_("X"))),
        ("limit", (number("8"),)),
        ("cold", (name("park"),)),
        ("wake", (text_("w"),)),
        ("tags", (name("a"), name("b"))),
        ("header", (text_("x"), text_("y"))),
    ]


def test_a_key_from_the_environment_and_a_bearer() -> None:
    provider = only("provider p { key env.MY_KEY auth bearer }")
    assert isinstance(provider, ast.Provider)
    assert [prop.values for prop in provider.props] == [(name("env"), name("MY_KEY")), (name("bearer"),)]


def test_options_behind_serve_are_the_endpoints() -> None:
    model = only(
        'model m { context 8k tags x serve p as fast "u" price $1 in $2 out $3 cached context 4k tags y zdr weight 2 '
        'serve q "v" output 1k }'
    )
    assert isinstance(model, ast.Model)
    assert [prop.keyword.text for prop in model.props] == ["context", "tags", "output"]
    first, second = model.serves
    assert (first.label, first.upstream) == (name("fast"), text_("u"))
    assert [(prop.keyword.text, prop.values) for prop in first.props] == [
        ("price", (number("1", "$"), number("2", "$"), number("3", "$"))),
        ("context", (number("4", "k"),)),
        ("tags", (name("y"),)),
        ("zdr", ()),
        ("weight", (number("2"),)),
    ]
    assert (second.label, second.props) == (None, ())


def test_limits_of_requests_tokens_and_money() -> None:
    limit = only("limit l: when x 60 requests per minute by key, user soft")
    assert limit == ast.Limit(
        name=name("l"), when=ast.Alone(path("x"), span=NOWHERE), amount=number("60"), unit=name("requests"),
        per=name("minute"), by=(path("key"), path("user")), soft=True, span=NOWHERE,
    )  # fmt: skip
    money = only("limit l: $200 per day by tenant")
    assert isinstance(money, ast.Limit)
    assert (money.unit, money.amount, money.soft) == (name("$"), number("200", "$"), False)


def test_every_target() -> None:
    use = action("m else m @ p else m @ p/l else requested else split 95% m, 5% requested by user else policy q")
    shares = (
        ast.Share(number("95", "%"), ref("m"), span=NOWHERE),
        ast.Share(number("5", "%"), ast.Requested(span=NOWHERE), span=NOWHERE),
    )
    assert use == ast.Use(
        (
            ref("m"), ref("m", "p"), ref("m", "p", "l"), ast.Requested(span=NOWHERE),
            ast.Split(shares, path("user"), span=NOWHERE), ast.Call(name("q"), span=NOWHERE),
        ),
        (),
        span=NOWHERE,
    )  # fmt: skip


def test_a_rejection_and_a_quoted_label_behind_it() -> None:
    assert action("reject 404") == ast.Reject(number("404"), None, span=NOWHERE)
    assert action('reject 404 "no"') == ast.Reject(number("404"), text_("no"), span=NOWHERE)
    policy = only('policy p { a: when x -> reject 404  "b": when y -> reject 404 "no" # no label: it has no colon\n}')
    assert isinstance(policy, ast.Policy)
    assert [rule.label.text for rule in policy.rules] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("by price", ast.By(((name("price"), None),), span=NOWHERE)),
        (
            "by price 70%, latency 30%",
            ast.By(((name("price"), number("70", "%")), (name("latency"), number("30", "%"))), span=NOWHERE),
        ),
        ("where zdr", ast.Where(ast.Alone(path("zdr"), span=NOWHERE), span=NOWHERE)),
        ("sticky by user", ast.Sticky(path("user"), span=NOWHERE)),
        ("prefer cache", ast.PreferCache(span=NOWHERE)),
        ("within 3s", ast.Deadline("within", number("3", "s"), span=NOWHERE)),
        ("first token 3s", ast.Deadline("first token", number("3", "s"), span=NOWHERE)),
        ("stall 3s", ast.Deadline("stall", number("3", "s"), span=NOWHERE)),
        ("retry 2", ast.Retry(number("2"), None, span=NOWHERE)),
        (
            "retry 2 on 429, 5xx, timeout",
            ast.Retry(number("2"), (number("429"), number("5", "xx"), name("timeout")), span=NOWHERE),
        ),
        ("hedge after p95", ast.Hedge(name("p95"), None, span=NOWHERE)),
        ("hedge after 1s at most 5%", ast.Hedge(number("1", "s"), number("5", "%"), span=NOWHERE)),
        (
            "escalate to n @ p when truncated | invalid json",
            ast.Escalate(ref("n", "p"), (name("truncated"), name("invalid json")), span=NOWHERE),
        ),
        ("escalate to n when refused or empty", ast.Escalate(ref("n"), (name("refused"), name("empty")), span=NOWHERE)),
        ("shadow 5% n @ p", ast.Shadow(number("5", "%"), ref("n", "p"), span=NOWHERE)),
        ("cap max_tokens 5", ast.Cap(name("max_tokens"), number("5"), span=NOWHERE)),
        ("set temperature 0.5", ast.Set(name("temperature"), number("0.5"), span=NOWHERE)),
        ("set user alice", ast.Set(name("user"), name("alice"), span=NOWHERE)),
        ('set user "x y"', ast.Set(name("user"), text_("x y"), span=NOWHERE)),
        ("drop user", ast.Drop(name("user"), span=NOWHERE)),
        ("cache 5m", ast.Cache(number("5", "m"), span=NOWHERE)),
        ("tag x", ast.Tag(name("x"), span=NOWHERE)),
    ],
)
def test_every_option(text: str, node: ast.Option) -> None:
    assert option(text) == node


def test_options_come_in_any_order_and_may_repeat_for_the_checker_to_see() -> None:
    use = action("m within 3s by price where zdr within 4s")
    assert isinstance(use, ast.Use)
    assert [type(o).__name__ for o in use.options] == ["Deadline", "By", "Where", "Deadline"]
    defaults = only("defaults { retry 2 by balance within 30s }")
    assert isinstance(defaults, ast.Defaults)
    assert len(defaults.options) == 3


def test_every_step_of_a_test() -> None:
    test = only(
        'test "t" { given a.b x, healthy(q) 40%, c missing  down p  slow m @ p 3s  full m  over l  policy q '
        "expect rule otherwise expect m @ p/l expect not m expect reject 413 expect order a, b @ c "
        "expect cost <= $1 expect attempts <= 3 }"
    )
    assert isinstance(test, ast.Test)
    healthy = ast.Path((name("healthy"),), name("q"), span=NOWHERE)
    given = ((path("a", "b"), name("x")), (healthy, number("40", "%")), (path("c"), name("missing")))
    assert test.steps == (
        ast.Given(given, span=NOWHERE),
        ast.Fault("down", ref("p"), span=NOWHERE),
        ast.Fault("slow", ref("m", "p"), number("3", "s"), span=NOWHERE),
        ast.Fault("full", ref("m"), span=NOWHERE),
        ast.GivenOver(name("l"), span=NOWHERE),
        ast.UsePolicy(name("q"), span=NOWHERE),
        ast.ExpectRule(name("otherwise"), span=NOWHERE),
        ast.ExpectTarget(ref("m", "p", "l"), False, span=NOWHERE),
        ast.ExpectTarget(ref("m"), True, span=NOWHERE),
        ast.ExpectReject(number("413"), span=NOWHERE),
        ast.ExpectOrder((ref("a"), ref("b", "c")), span=NOWHERE),
        ast.ExpectBound("cost", number("1", "$"), span=NOWHERE),
        ast.ExpectBound("attempts", number("3"), span=NOWHERE),
    )


def test_every_assertion() -> None:
    x = ast.Alone(path("x"), span=NOWHERE)
    assert parsed(
        "assert never x when x assert never x assert cost <= $1 when x assert wait <= 3s assert attempts <= 4 "
        "assert reachable otherwise"
    ).items == (
        ast.AssertNever(x, x, span=NOWHERE),
        ast.AssertNever(x, None, span=NOWHERE),
        ast.AssertBound("cost", number("1", "$"), x, span=NOWHERE),
        ast.AssertBound("wait", number("3", "s"), None, span=NOWHERE),
        ast.AssertBound("attempts", number("4"), None, span=NOWHERE),
        ast.AssertReachable(name("otherwise"), span=NOWHERE),
    )


def test_a_nodes_span_is_its_text() -> None:
    file = parsed(EXAMPLE)
    spans = [item.span.text.split()[0] for item in file.items]
    assert spans[:4] == ["provider", "provider", "provider", "model"]
    policy = file.items[13]
    assert isinstance(policy, ast.Policy)
    rule = policy.rules[3]
    assert rule.span.text.startswith("long:")
    assert rule.span.text.endswith("price.out <= $1")
    assert rule.when is not None
    assert rule.when.span.text == "long"
    assert isinstance(rule.action, ast.Use)
    assert rule.action.options[0].span.text == "where price.out <= $1"


# --- speed ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_rules_parse_within_a_second() -> None:
    rules = "\n".join(
        f"  r{i}: when key.plan == p{i} and prompt.tokens > {i}k -> m else n by price" for i in range(1000)
    )
    source = Source("t", f"policy p {{\n{rules}\n  otherwise -> m\n}}\n")
    tables()
    begun = time.process_time()
    assert parse(source)[1] == []
    # Ten times slower than measured (8,000 rules/s): a quadratic step would be seen, a busy machine not.
    assert time.process_time() - begun < 1.5
