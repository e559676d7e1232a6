"""What an editor is told, asked without a protocol: completion, fixes, names, renames."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl import ast
from router_dsl.check.program import check
from router_dsl.diagnose import FORMS
from router_dsl.lex import lex
from router_dsl.load import load_text
from router_dsl.lsp.complete import completions
from router_dsl.lsp.fixes import fixes
from router_dsl.lsp.names import Names
from router_dsl.lsp.place import place_at
from router_dsl.lsp.rename import RENAMED, RefusedError, applied, renamed
from router_dsl.lsp.words import MEANINGS
from router_dsl.source import Diagnostic, Source, in_order
from router_dsl.syntax import parse, tables
from tests.editor.client import POLICY

CASES = Path(__file__).parents[1] / "language" / "cases"
EXAMPLE = (CASES / "example.route").read_text("utf-8")
TOUR = (CASES / "tour.txt").read_text("utf-8")


def offered(text: str) -> list[str]:
    """Return what can be written where the text ends, in a file that goes on with the example's declarations."""
    source = Source("x.route", f"{EXAMPLE}\n{text}")
    place = place_at(source, len(source.text))
    assert place is not None
    return [item.label for item in completions(place, Names([parse(source)[0]])).items]


@pytest.mark.parametrize(
    ("text", "some", "never"),
    [
        ("", ["policy", "provider"], ["otherwise", "llama-70b"]),
        ("policy p { ", ["otherwise", "NAME: when … -> …"], ["policy"]),
        ("policy p { a: when ", ["prompt.tokens", "plan", "long", "header.x-country", "has", "not"], ["price.out"]),
        ("policy p { a: when x and (ta", ["task"], ["llama-70b"]),
        ("policy p { a: when task ", ["==", "in", "and", "->"], ["<"]),
        ("policy p { a: when prompt.tokens ", ["<", ">="], []),
        ("policy p { a: when task == ", ["code", "math"], ["prompt.tokens"]),
        ("policy p { a: when plan not in [trial, ", ["pro", "enterprise"], ["code"]),
        ("policy p { a: when header.x-country in ", ["eu"], ["long"]),
        ("policy p { a: when over ", ["spend"], ["trial-rate"]),
        ("policy p { a: when healthy(", ["llama-8b", "baseten"], ["spend"]),
        ("policy p { a: when long -> ", ["llama-70b", "requested", "split", "policy", "reject"], ["fireworks"]),
        ("policy p { a: when long -> llama-8b else ", ["qwen-coder"], ["reject"]),
        ("policy p { a: when long -> llama-8b @ ", ["fireworks"], ["baseten"]),
        ("policy p { a: when long -> llama-8b ", ["else", "by", "where", "hedge"], ["when"]),
        ("policy p { otherwise -> llama-8b where ", ["price.out", "provider"], ["prompt.tokens", "over"]),
        ("policy p { otherwise -> llama-8b where provider == ", ["baseten"], ["llama-8b"]),
        ("policy p { otherwise -> llama-8b by price 70%, ", ["latency"], ["user"]),
        ("policy p { otherwise -> llama-8b sticky by ", ["user"], ["latency", "long"]),
        ("policy p { otherwise -> split 5% llama-8b, 95% ", ["llama-70b", "requested"], ["user"]),
        ("policy p { otherwise -> llama-8b retry 2 on ", ["5xx", "timeout"], ["user"]),
        ("policy p { otherwise -> llama-8b hedge after ", ["p95"], ["p42"]),
        ("policy p { otherwise -> llama-8b escalate to llama-70b when ", ["truncated"], ["prompt.tokens"]),
        ("policy p { otherwise -> policy ", ["chat"], ["llama-8b"]),
        ("pool x = llama-8b, ", ["qwen-coder"], ["baseten"]),
        ("guard g: require not ", ["region", "quantization"], ["prompt.tokens"]),
        ("guard g: require region == ", ["eu", "us"], ["code"]),
        ("limit l: 5 ", ["requests", "tokens"], ["second"]),
        ("limit l: 5 tokens per ", ["day"], ["tokens"]),
        ("fact f: ", ["text", "ip"], ["user"]),
        ("fact f: text from ", ["header."], ["user"]),
        ("model m { serve ", ["vllm-eu"], ["llama-8b"]),
        ("provider p { protocol ", ["sim"], ["us"]),
        ('test "t" { given ', ["plan", "prompt.tokens"], ["long"]),
        ('test "t" { given plan ', ["trial", "missing"], ["code"]),
        ('test "t" { expect rule ', ["too-long", "canary"], ["llama-8b"]),
        ('test "t" { expect not ', ["llama-8b"], ["too-long"]),
        ('test "t" { down ', ["baseten", "qwen-coder"], ["spend"]),
        ("assert reachable ", ["canary"], ["llama-8b"]),
        ("assert never ", ["region"], ["prompt.tokens"]),
    ],
)
def test_what_is_offered_is_what_can_stand_there(text: str, some: list[str], never: list[str]) -> None:
    found = offered(text)
    assert [label for label in some if label not in found] == []
    assert [label for label in never if label in found] == []


def test_nothing_is_offered_in_a_comment() -> None:
    assert place_at(Source("x", "policy p { # the "), 17) is None


def test_a_name_with_odd_characters_is_offered_in_quotes() -> None:
    source = Source("x", 'provider p { url "sim://" }\nmodel "m-3.3" { serve p "m" }\npool x = ')
    place = place_at(source, len(source.text))
    assert place is not None
    assert '"m-3.3"' in [item.label for item in completions(place, Names([parse(source)[0]])).items]


@pytest.mark.slow
@given(st.integers(0, len(TOUR)))
@settings(max_examples=150, deadline=None)
def test_every_place_of_a_policy_can_be_asked_about(offset: int) -> None:
    source = Source("x.route", TOUR)
    place = place_at(source, offset)
    if place is not None:
        found = completions(place, Names([parse(source)[0]]))
        assert found.replaced.start <= offset <= found.replaced.end


@pytest.mark.slow
def test_keywords_offered_behind_each_word_are_taken_by_the_grammar() -> None:
    source = Source("x.route", TOUR)
    names = Names([parse(source)[0]])
    for token in lex(source).tokens[::17]:
        if token.kind == "COLON":
            continue
        place = place_at(source, token.start)
        assert place is not None, token
        words = [item.label for item in completions(place, names).items if item.kind == "keyword"]
        if tables().keywords.get(token.text) == token.type and token.kind == "NAME":
            assert token.text in words, token


def test_every_keyword_has_a_meaning() -> None:
    connecting = {
        "as", "secret", "env", "auth", "one", "of", "from", "with", "cache", "token", "on", "after", "at", "most", "to",
        "invalid", "json", "per", "rule", "order", "out", "requests",
    }  # fmt: skip
    assert set(tables().keywords) - set(MEANINGS) <= connecting
    assert set(FORMS) - set(MEANINGS) - {"label", "auth"} == {form for form in FORMS if " " in form}


# --- fixes ----------------------------------------------------------------------------------------


def findings(text: str) -> list[Diagnostic]:
    files, reported = load_text(text, "x.route", CASES)
    return in_order([*reported, *check(files, reported)[1]])


def fixable() -> list[tuple[str, str, Diagnostic]]:
    found = []
    for path in sorted(CASES.glob("*/*.case")):
        text = path.read_text("utf-8").partition("----\n")[0]
        if "import" not in text and path.parent.name != "format":
            found += [(path.stem, text, finding) for finding in findings(text) if fixes(finding)]
    return found


@pytest.mark.slow
def test_every_fix_takes_its_finding_away_and_brings_no_syntax_error() -> None:
    cases = fixable()
    assert len(cases) > 60
    for name, text, finding in cases:
        for fix in fixes(finding):
            after = text[: fix.span.start] + fix.text + text[fix.span.end :]
            left = findings(after)
            same = [f for f in left if (f.code, f.message) == (finding.code, finding.message)]
            before = [f for f in findings(text) if (f.code, f.message) == (finding.code, finding.message)]
            assert len(same) < len(before), (name, fix)
            syntax = sum(f.code < "E2" for f in left)
            assert syntax <= sum(f.code < "E2" for f in findings(text)), (name, fix)


# --- names ----------------------------------------------------------------------------------------


def test_every_name_of_the_example_is_declared_or_built_in() -> None:
    names = Names([parse(Source("x.route", EXAMPLE))[0]])
    found = names.occurrences()
    declared = {occurrence.identity for occurrence in found if occurrence.declares}
    loose = [o for o in found if o.identity not in declared and o.kind not in ("request fact", "endpoint fact")]
    assert loose == []
    assert all(o.span.text.strip('"') == o.name for o in found)


def declared_places() -> list[tuple[str, str]]:
    names = Names([parse(Source("x.route", POLICY))[0]])
    return [(o.kind, o.name) for o in names.occurrences() if o.declares and o.kind in RENAMED and o.name != "otherwise"]


@pytest.mark.parametrize(("kind", "name"), declared_places())
@pytest.mark.parametrize("new", ["fresh-name", "when", "has space 🚂"])
def test_a_renamed_policy_means_the_same(kind: str, name: str, new: str) -> None:
    file = parse(Source("x.route", POLICY))[0]
    (what, *_) = [o for o in Names([file]).occurrences() if (o.kind, o.name, o.declares) == (kind, name, True)]
    if (name, new) == ("eu", "has space 🚂"):
        # Behind `in`, a string is a list of one text.
        with pytest.raises(RefusedError, match="some place would mean something else"):
            renamed([file], what, new)
        return
    after = applied(POLICY, renamed([file], what, new))
    assert findings(after) == []
    back = parse(Source("x.route", after))[0]
    (again, *_) = [o for o in Names([back]).occurrences() if (o.kind, o.name, o.declares) == (kind, new, True)]
    restored = parse(Source("x.route", applied(after, renamed([back], again, name))))[0]
    assert restored == file
    assert isinstance(restored, ast.File)


def test_nothing_is_renamed_in_a_file_that_does_not_parse() -> None:
    file = parse(Source("x.route", POLICY + "policy {"))[0]
    what = next(o for o in Names([file]).occurrences() if o.declares and o.kind == "model")
    with pytest.raises(RefusedError, match="mend that first"):
        renamed([file], what, "fresh")


def test_a_name_that_some_place_would_take_for_another_is_refused() -> None:
    text = POLICY.replace("over spend and plan", "over spend and x-plan").replace("fact plan", "fact x-plan")
    file = parse(Source("x.route", text.replace("given plan", "given x-plan")))[0]
    (what,) = [o for o in Names([file]).occurrences() if (o.kind, o.name, o.declares) == ("fact", "x-plan", True)]
    with pytest.raises(RefusedError, match="let `long` is there already"):
        renamed([file], what, "long")
