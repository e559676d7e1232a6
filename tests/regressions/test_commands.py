"""Commands that answered wrongly once: exit codes, requests as editors and programs write them."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

from handlers.cli.main import main

POLICY = """\
provider p { url "https://p.example/v1" }
model m { serve p "m" }
policy main { hot: when temperature > 1 -> reject 400  otherwise -> m }
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "x.route"
    path.write_text(POLICY, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("command", ["check", "build", "test", "explain", "fmt"])
def test_a_file_that_is_not_there_is_wrong_use(command: str, tmp_path: Path) -> None:
    assert main([command, str(tmp_path / "nowhere.route")]) == 2


@pytest.mark.parametrize("part", ["path", "headers", "body", "key", "client_ip", "now", "random"])
def test_a_part_of_a_request_that_is_null_is_left_out(part: str, policy: str, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({part: None}))
    assert main(["explain", policy, "--request", str(request)]) == 0


def test_a_byte_order_mark_before_a_request_is_skipped(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"body": {"temperature": 1.5}}', encoding="utf-8-sig")
    assert main(["explain", policy, "--json", "--request", str(request)]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "hot"


def test_a_command_leaves_the_garbage_collector_as_it_was(policy: str) -> None:
    assert gc.isenabled()
    main(["check", policy])
    main(["check", "--nonsense"])
    assert gc.isenabled()
