"""`pointsman lsp`, asked by a real client over its pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from router_dsl.format import format_source
from router_dsl.source import Source
from tests.editor.client import POLICY, Client, applied

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(tmp_path_factory.mktemp("project"))
    yield client
    assert client.leave() == 0


@pytest.fixture
def chat(editor: Client) -> Iterator[Client]:
    assert editor.open("chat.route", POLICY) == []
    yield editor
    editor.close("chat.route")


def test_what_is_wrong_is_said_as_it_is_typed_and_taken_back_when_mended(chat: Client) -> None:
    wrong = POLICY.replace("prompt.tokens", "prompt.token")
    (found,) = chat.change("chat.route", 2, {"text": wrong})
    assert found["code"] == "E204"
    assert found["message"] == "unknown fact `prompt.token`\nhelp: did you mean `prompt.tokens`?"
    place = found["range"]
    assert place["start"]["line"] == place["end"]["line"] == 12
    assert wrong.splitlines()[12][place["start"]["character"] : place["end"]["character"]] == "prompt.token"
    at = {"line": 12, "character": place["end"]["character"]}
    assert chat.change("chat.route", 3, {"range": {"start": at, "end": at}, "text": "s"}) == []


def test_a_broken_rule_is_one_finding_and_leaves_the_rest_understood(chat: Client) -> None:
    broken = POLICY.replace("long:  when long ->", "long:  when long and ->")
    (found,) = chat.change("chat.route", 2, {"text": broken})
    assert found["code"] == "E100"
    hover = chat.ask("textDocument/hover", chat.at("chat.route", broken, "both by"))
    assert "pool both" in hover["contents"]["value"]


def test_columns_are_counted_as_the_editor_counts(chat: Client) -> None:
    # An emoji is one character, two units of UTF-16.
    text = POLICY.replace('test "broke"', 'test "🚂 broke"').replace("over spend\n", 'down "🚂"\n')
    found = chat.change("chat.route", 2, {"text": text})
    (place,) = [one["range"] for one in found if one["code"] == "E206"]
    line = text.splitlines()[place["start"]["line"]]
    assert (
        line.encode("utf-16-le")[place["start"]["character"] * 2 : place["end"]["character"] * 2].decode("utf-16-le")
        == '"🚂"'
    )


@pytest.mark.parametrize(
    ("word", "shift", "told"),
    [
        ("prompt.tokens", 3, "tokens"),
        ("llama-8b\n", 2, '| `llama-8b @ fireworks/fast` | "d" | price $0.20 in $0.20 out |'),
        ("plan == trial", 0, "one of trial, pro from key.plan"),
        ("long:  when", 1, "rule long"),
        ("long:  when", 1, "Of what it asks for, `broke` takes a part.\n\nSuch as `given prompt.tokens 24001`."),
        ("residency", 1, "no rule can get round it"),
        ("spend and", 1, "`over spend`"),
        ("provider in ", 1, "endpoint fact"),
        ("fireworks { url", 1, "Serves `llama-70b @ fireworks`, `llama-8b @ fireworks/fast`."),
        ("otherwise        ->", 1, "none of `broke`, `long`"),
        ("requested", 1, "the model that the client named"),
        ("by price", 0, "order of a target's endpoints"),
    ],
)
def test_hover_tells_what_a_word_is(chat: Client, word: str, shift: int, told: str) -> None:
    hover = chat.ask("textDocument/hover", chat.at("chat.route", POLICY, word, shift))
    assert told in hover["contents"]["value"]


def test_completion_replaces_the_word_that_is_being_written(chat: Client) -> None:
    text = POLICY.replace("when long -> llama-70b", "when long and prompt.to -> llama-70b")
    chat.change("chat.route", 2, {"text": text})
    place = chat.at("chat.route", text, "prompt.to ->", len("prompt.to"))
    items = chat.ask("textDocument/completion", place)["items"]
    (item,) = [item for item in items if item["label"] == "prompt.tokens"]
    assert item["detail"] == "tokens · body"
    assert applied(text, [item["textEdit"]]) == text.replace("prompt.to ->", "prompt.tokens ->")
    assert {"long", "plan", "header.x-country"} <= {item["label"] for item in items}
    assert "llama-70b" not in {item["label"] for item in items}


def test_a_name_leads_to_its_declaration_and_to_every_use(chat: Client) -> None:
    (place,) = chat.ask("textDocument/definition", chat.at("chat.route", POLICY, "vllm-eu\n  otherwise", 1))
    assert place["uri"] == chat.uri("chat.route")
    assert place["range"]["start"] == {"line": 1, "character": 9}
    asked = chat.at("chat.route", POLICY, "vllm-eu   {", 1)
    uses = chat.ask("textDocument/references", {**asked, "context": {"includeDeclaration": False}})
    assert sorted(use["range"]["start"]["line"] for use in uses) == [6, 14, 17]


def test_a_rename_changes_every_place_and_nothing_else(chat: Client) -> None:
    asked = chat.at("chat.route", POLICY, "vllm-eu   {", 1)
    assert chat.ask("textDocument/prepareRename", asked)["start"] == {"line": 1, "character": 9}
    edit = chat.ask("textDocument/rename", {**asked, "newName": "eu-1"})
    after = applied(POLICY, edit["changes"][chat.uri("chat.route")])
    assert after == POLICY.replace("vllm-eu", "eu-1")


@pytest.mark.parametrize(
    ("word", "new", "reason"),
    [
        ("llama-8b {", "both", "pool `both` is there already"),
        ("llama-8b {", "gpt-4o-mini", "the other name of a model `gpt-4o-mini` is there already"),
        ("prompt.tokens", "size", "it has the name it has"),
        ("otherwise", "rest", "`otherwise` is the last rule's only name"),
        ("long = ", "stream", "the built-in fact `stream` is there already"),
        ("long:  when", "broke", "rule `broke` is there already"),
    ],
)
def test_a_rename_that_would_capture_is_refused_with_the_reason(chat: Client, word: str, new: str, reason: str) -> None:
    answer = chat.answer("textDocument/rename", {**chat.at("chat.route", POLICY, word), "newName": new})
    assert reason in answer["error"]["message"]


def test_a_rename_reaches_files_that_are_not_open(editor: Client) -> None:
    shared = 'provider p { url "https://p.invalid/v1" }\nmodel m { serve p "m" }\n'
    user = 'import "shared.route"\npolicy main { otherwise -> m @ p }\n'
    (editor.folder / "shared.route").write_text(shared)
    (editor.folder / "user.route").write_text(user)
    assert editor.open("shared.route", shared) == []
    edit = editor.ask("textDocument/rename", {**editor.at("shared.route", shared, "p {"), "newName": "q"})
    assert applied(user, edit["changes"][editor.uri("user.route")]) == user.replace("@ p", "@ q")
    assert applied(shared, edit["changes"][editor.uri("shared.route")]) == shared.replace("p {", "q {", 1).replace(
        "serve p", "serve q"
    )
    editor.close("shared.route")


def test_what_an_import_breaks_is_said_where_it_is(editor: Client) -> None:
    shared = 'provider p { url "https://p.invalid/v1" }\nmodel m { serve p "m" }\n'
    (editor.folder / "parts.route").write_text(shared)
    assert editor.open("whole.route", 'import "parts.route"\npolicy main { otherwise -> m }\n') == []
    assert editor.open("parts.route", shared) == []
    found = editor.change("parts.route", 2, {"text": shared.replace("model m", "model n")})
    assert found == []
    (wrong,) = editor.findings("whole.route", 1)
    assert wrong["code"] == "E206"
    place = editor.at("whole.route", 'import "parts.route"', "parts")
    (target,) = editor.ask("textDocument/definition", place)
    assert target["uri"] == editor.uri("parts.route")
    editor.close("whole.route")
    editor.close("parts.route")


def test_formatting_lays_the_file_out_the_one_way(chat: Client) -> None:
    edits = chat.ask(
        "textDocument/formatting",
        {"textDocument": {"uri": chat.uri("chat.route")}, "options": {"tabSize": 2, "insertSpaces": True}},
    )
    assert applied(POLICY, edits) == format_source(Source("chat.route", POLICY))[0] != POLICY


def test_a_did_you_mean_is_a_quick_fix(chat: Client) -> None:
    wrong = POLICY.replace("prompt.tokens", "prompt.token")
    (found,) = chat.change("chat.route", 2, {"text": wrong})
    (action,) = chat.ask(
        "textDocument/codeAction",
        {"textDocument": {"uri": chat.uri("chat.route")}, "range": found["range"], "context": {"diagnostics": [found]}},
    )
    assert action["title"] == "change to `prompt.tokens`"
    assert applied(wrong, action["edit"]["changes"][chat.uri("chat.route")]) == POLICY


def test_the_outline_has_declarations_with_rules_and_endpoints_inside(chat: Client) -> None:
    symbols = chat.ask("textDocument/documentSymbol", {"textDocument": {"uri": chat.uri("chat.route")}})
    by_name = {symbol["name"]: symbol for symbol in symbols}
    assert [rule["name"] for rule in by_name["chat"]["children"]] == ["broke", "long", "otherwise"]
    assert [endpoint["name"] for endpoint in by_name["llama-8b"]["children"]] == ["@ fireworks/fast"]


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pygls'] = None; from handlers.cli.main import main; sys.exit(main(['lsp']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'pointsman[lsp]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_false_assertion_and_a_dead_rule_are_said_as_well(chat: Client) -> None:
    dead = "  dead:  when long and stream -> llama-8b\n"
    doubtful = POLICY.replace("  otherwise        ->", f"{dead}  otherwise        ->") + "assert attempts <= 1\n"
    document = {"uri": chat.uri("chat.route"), "version": 2}
    chat.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": doubtful}]})
    codes = chat.codes_with("chat.route", 2, "W504")
    assert [code for code in codes if code.startswith("E")]


def test_a_large_policy_is_answered_at_once_and_looked_at_whole_in_a_pause(editor: Client) -> None:
    rules = "".join(f"  r{i}: when user == u{i} and tools > {i} -> llama-8b\n" for i in range(400))
    text = POLICY.replace("  broke:", f"{rules}  dead: when user == u7 and tools > 9 -> llama-8b\n  broke:")
    assert editor.open("large.route", text) == []
    assert editor.codes_with("large.route", 1, "W504") == ["W504"]
    broken = text.replace("u300", "u300 and")
    assert [one["code"] for one in editor.change("large.route", 2, {"text": broken})] == ["E100"]
    editor.close("large.route")


_TYPED = (
    "", " ", "x", '"', "{", "}", ":", "->", " and ", "policy p {", "\n", "# c\n", "🚂", "prompt.", " @ ", ",", "/*",
    'import "y.route"\n',
)  # fmt: skip
_ASKED = ("hover", "completion", "definition", "prepareRename", "references", "rename", "documentSymbol", "codeAction")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_typed_every_question_has_an_answer(editor: Client, seed: int) -> None:
    random, text = Random(seed), POLICY
    assert editor.open("fuzz.route", text) == []
    for version in range(2, 40):
        at = random.randrange(len(text))
        text = text[:at] + random.choice(_TYPED) + text[at + random.choice((0, 0, 1, 7)) :]
        document = {"uri": editor.uri("fuzz.route"), "version": version}
        editor.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})
        lines = text.split("\n")
        line = random.randrange(len(lines) + 1)
        place = {"line": line, "character": random.randrange(120)}
        for asked in _ASKED:
            params = {
                "textDocument": {"uri": editor.uri("fuzz.route")},
                "position": place,
                "range": {"start": place, "end": place},
                "context": {"includeDeclaration": True, "diagnostics": [], "triggerKind": 1},
                "newName": "fresh",
            }
            error = editor.answer(f"textDocument/{asked}", params).get("error")
            assert error is None or (error["code"] == -32803 and "ename" in asked), (asked, place, error, text)
    editor.findings("fuzz.route", 39)
    editor.close("fuzz.route")
