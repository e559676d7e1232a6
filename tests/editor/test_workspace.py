"""What is said between two letters is what a whole check says, whatever was typed and kept before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.authoring import realistic
from router_dsl.check.program import check
from router_dsl.lsp.pieces import Pieces
from router_dsl.lsp.workspace import Workspace
from router_dsl.source import Source
from router_dsl.syntax import parse
from tests.editor.client import POLICY

TEXTS = (POLICY, realistic(12))
WORDS = ("plan", "tenant", "long", "small", "llama-8b", "vllm-eu", "spend", "->", "code", "8k", "eu", "\n")
TYPED = ("", "x", "plan", "other", "small", "eu", " and", "16k", "# c\n", "trial", '"')
_EDITS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 6), st.sampled_from(TYPED)), min_size=1, max_size=5)


def opened(path: Path, text: str) -> Workspace:
    workspace = Workspace()
    document = workspace.put(path, text)
    document._pieces = Pieces(0)
    return workspace


def errors_of(text: str, name: str) -> list[dict[str, object]]:
    file, found = parse(Source(name, text))
    everything = [*found, *check([file], found)[1]]
    return sorted((f.to_json() for f in everything if f.severity == "error"), key=str)


def told(workspace: Workspace, path: Path) -> list[dict[str, object]]:
    return sorted((f.to_json() for f in workspace.findings()[path] if f.severity == "error"), key=str)


@pytest.mark.slow
@given(st.sampled_from(TEXTS), _EDITS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_errors_told_quickly_are_those_of_a_whole_check(text: str, edits: list[tuple[str, int, str]]) -> None:
    path = Path("/nowhere/x.route")
    workspace = opened(path, text)
    workspace.findings()
    for word, place, typed in edits:
        before, *after = text.split(word)
        at = place % (len(after) or 1)
        text = word.join([before, *after[:at]]) + typed + word.join(after[at:])
        workspace.put(path, text)
        expected = [e for e in errors_of(text, "x.route") if e["code"] != "E403"]
        assert told(workspace, path) == expected


def test_a_declaration_that_goes_is_missed_in_every_rule_that_stayed() -> None:
    path = Path("/nowhere/x.route")
    text = realistic(12)
    workspace = opened(path, text)
    assert told(workspace, path) == []
    workspace.put(path, text.replace("model small", "model tiny"))
    assert {found["code"] for found in told(workspace, path)} == {"E206"}
    assert len(told(workspace, path)) > 8
    workspace.put(path, text)
    assert told(workspace, path) == []


def test_a_rule_kept_from_before_is_told_at_its_new_line() -> None:
    path = Path("/nowhere/x.route")
    text = realistic(12).replace("tenant == tenant-1 and", "tenant == tenant-1 and nobody == x and", 1)
    workspace = opened(path, text)
    (before,) = told(workspace, path)
    workspace.put(path, "# one line more\n" + text)
    (after,) = told(workspace, path)
    assert after["line"] == int(str(before["line"])) + 1
