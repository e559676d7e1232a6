"""`pointsman usage`: the log's lines add up to what was spent, exactly, whatever else is in the file."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from handlers.cli.usage import main
from tests.serve.desk import HELLO, Desk
from tests.serve.test_metrics import POLICY


def line(**said: object) -> str:
    event: dict[str, object] = {
        "event": "request", "ts": "2026-11-25T10:00:00.000Z", "api": "chat", "policy": "p", "rule": "r",
        "tenant": "acme", "endpoint": "m@one", "end": "complete", "prompt_tokens": 10, "completion_tokens": 5,
        "attempts": [{"endpoint": "m@one", "role": "plan", "outcome": "ok", "cost_usd": 0.000000001}],
    }  # fmt: skip
    return json.dumps({**event, **said})


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, dict[str, object]]:
    assert main([*arguments, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_routers_own_log_adds_up_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(POLICY)
    for user in ("cody", "emil", "bert", "emil"):
        desk.post({"model": "small", "messages": HELLO, "user": user, "max_tokens": 3}, headers={"x-tenant-id": user})
    desk.get("/v1/models")
    log = tmp_path / "log"
    log.write_text("".join(json.dumps(event) + "\n" for event in desk.log.seen))
    costs = [
        round((attempt["cost_usd"] or 0) * 1e9)
        for event in desk.log.seen
        for attempt in event["attempts"]  # type: ignore[attr-defined]
    ]
    found = told(capsys, str(log))
    total, by = found["total"], found["by"]
    assert (total["requests"], total["answered"]) == (4, 4)
    assert total["cost_usd"] == sum(costs) / 1e9 > 0
    assert {row["tenant"]: row["requests"] for row in by["tenant"]} == {"cody": 1, "emil": 2, "bert": 1}  # type: ignore[attr-defined]
    assert {row["rule"] for row in by["rule"]} == {"code", "judge", "otherwise"}  # type: ignore[attr-defined]
    # What an escalation cost stands with the endpoint that was asked.
    (large,) = [row for row in by["endpoint"] if row["endpoint"] == "large@one"]  # type: ignore[attr-defined]
    assert large["cost_usd"] == large["escalation_usd"] == total["escalation_usd"] > 0


def test_hedges_and_copies_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attempts = [
        {"endpoint": "m@one", "role": "plan", "outcome": "cancelled", "cost_usd": 0.5},
        {"endpoint": "m@two", "role": "hedge", "outcome": "ok", "cost_usd": 0.25},
    ]
    log = tmp_path / "log"
    log.write_text(line(endpoint="m@two", attempts=attempts) + "\n" + line(event="shadow") + "\n")
    found = told(capsys, str(log))
    assert found["total"]["hedge_usd"] == 0.5
    assert found["total"]["shadow_usd"] == 0.000000001
    assert found["total"]["cost_usd"] == 0.750000001
    assert found["total"]["requests"] == 1


def test_days_can_be_picked_and_names_crossed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.gz"
    days = [f"2026-11-2{n}T23:59:59.999Z" for n in range(4, 8)]
    log.write_bytes(gzip.compress("\n".join(line(ts=day) for day in days).encode()))
    found = told(capsys, str(log), "--since", "2026-11-25", "--until", "2026-11-26", "--by", "day,tenant")
    assert [(row["day"], row["tenant"]) for row in found["by"]["day,tenant"]] == [  # type: ignore[attr-defined]
        ("2026-11-25", "acme"),
        ("2026-11-26", "acme"),
    ]


def test_what_is_no_event_is_skipped_and_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        line(), "not json", "{", "[1]", '"x"', "", "2026 host pointsman[1]: " + line(),
        line(attempts=[{"cost_usd": "1"}, 7, {"cost_usd": 1e300}, {"cost_usd": -1}, {"cost_usd": True}], tenant=None),
        line(attempts=3, prompt_tokens=-5, completion_tokens="x", endpoint=None, ts=None),
        '{"event":"serving"}', '{"event":' + "[" * 100_000,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert main([]) == 0
    said = capsys.readouterr()
    assert "5 lines are no JSON events" in said.err
    assert said.out.startswith("4 requests, 4 answered, $0.000000")


def test_people_get_tables_and_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    log.write_text(line(tenant="a\x1b[31m"))
    assert main([str(log), "--by", "tenant"]) == 0
    shown = capsys.readouterr().out
    assert "a?[31m" in shown
    assert "\x1b" not in shown
    assert "tenant" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["/nonexistent"], 2), (["--by", "user"], 2), (["--since", "today"], 2), (["/dev/null"], 1)],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    from handlers.cli.main import main as command

    assert command(["usage", *arguments]) == code
