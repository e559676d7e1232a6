"""The stories of docs/proofs.md happen as they are told."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from handlers.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(text: str, kind: str) -> list[str]:
    return [block for found, block in BLOCK.findall(text) if found == kind]


@pytest.mark.slow
def test_the_commands_of_the_stories_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    before, _, stories = PAGE.partition("## Two stories")
    (leaky,) = blocks(stories, "route")
    mended = leaky.replace("large @ vllm-eu else small", "large @ vllm-eu")
    dearer = mended.replace("price $0.20 in $0.20 out", "price $0.20 in $0.60 out")
    assert len({leaky, mended, dearer}) == 3
    (tmp_path / "dearer.route").write_text(dearer, encoding="utf-8")
    (tmp_path / "log.jsonl").write_text(blocks(stories, "json")[0], encoding="utf-8")
    (tmp_path / "witness.json").write_text('{"headers": {"x-country": "de"}, "body": {"model": "auto"}}')
    shown = [*blocks(stories, "console"), *blocks(before, "console")]
    texts = [leaky, leaky, mended, mended, mended]
    codes = [1, 0, 0, 1, 0]
    for block, text, code in zip(shown, texts, codes, strict=True):
        (tmp_path / "support.route").write_text(text, encoding="utf-8")
        command, _, output = block.partition("\n")
        assert main(shlex.split(command.removeprefix("$ pointsman "))) == code
        told = capsys.readouterr()
        assert (told.out + told.err).rstrip() == output.rstrip()
