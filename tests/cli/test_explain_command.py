"""`pointsman explain`: both forms, every way to describe a request, every way to get it wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from handlers.cli.main import main

POLICY = """
provider fireworks { url "https://fireworks.invalid/v1"  key env.FIREWORKS_API_KEY  region us }
provider baseten   { url "https://baseten.invalid/v1"    key env.BASETEN_API_KEY    region us }
provider vllm-eu   { url "http://vllm.invalid/v1"        region eu }
model llama-70b {
  context 128k
  aka "gpt-4o-mini"
  serve fireworks "a"  price $0.90 in $0.90 out
  serve baseten   "b"  price $0.70 in $0.90 out
  serve vllm-eu   "c"  price $3 in $3 out
}
model llama-8b { context 128k  serve fireworks "d"  price $0.20 in $0.20 out }
pool both = llama-70b, llama-8b
fact plan: one of trial, pro from key.plan
fact age: number from metadata.age
limit spend: $200 per day by tenant soft
guard residency: when header.x-country in [de, fr]  require region == eu
policy chat {
  too-long: when plan == trial and prompt.tokens > 8k  -> reject 413 "trial keys are limited to 8k prompt tokens"
  broke:    when over spend                            -> llama-8b
  code:     when task == code and has tools            -> llama-70b by price where price.out <= $1
  night:    when time.hour@"Europe/Berlin" in 0..5     -> llama-8b
  office:   when client.ip in ["10.0.0.0/8"]           -> llama-8b
  late:     when healthy(both) < 50%                   -> llama-8b
  otherwise                                            -> requested else llama-8b  by price
}
policy other { otherwise -> llama-8b }
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def explain(policy: str, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*arguments: str) -> dict[str, object]:
        assert main(["explain", policy, "--json", *arguments]) == 0, capsys.readouterr().err
        told = json.loads(capsys.readouterr().out)
        assert isinstance(told, dict)
        return told

    return run


def write(tmp_path: Path, request: object) -> str:
    path = tmp_path / "request.json"
    path.write_text(request if isinstance(request, str) else json.dumps(request))
    return str(path)


def test_the_record_has_the_documented_shape(explain) -> None:  # type: ignore[no-untyped-def]
    told = explain("--set", "task=code", "--set", "tools=2")
    assert told["policy"] == "chat"
    assert told["rule"] == "code"
    assert told["line"] == 21
    assert told["action"] == "use"
    assert told["candidates"] == ["llama-70b@baseten", "llama-70b@fireworks"]
    assert told["excluded"] == [{"endpoint": "llama-70b@vllm-eu", "by": "where price.out <= $1"}]
    assert [skipped["rule"] for skipped in told["skipped"]] == ["too-long", "broke"]
    assert "plan is missing" in told["skipped"][0]["because"]
    assert told["attempts_max"] == 2
    assert told["facts"]["task"] == "code"
    assert told["facts"]["tools"] == 2


def test_a_rejection_says_its_status_and_message(explain) -> None:  # type: ignore[no-untyped-def]
    told = explain("--set", "plan=trial", "--set", "prompt.tokens=9k")
    assert told["action"] == "reject"
    assert told["status"] == 413
    assert told["message"] == "trial keys are limited to 8k prompt tokens"
    assert told["candidates"] == []


def test_a_request_file_describes_everything(explain, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    request = {
        "path": "/v1/chat/completions",
        "headers": {"X-Country": "DE", "x-country": "de"},
        "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Bonjour"}], "user": "u"},
        "key": {"plan": "pro"},
        "client_ip": "192.0.2.1",
        "now": "2026-01-05T12:00:00Z",
        "random": 0.5,
    }
    told = explain("--request", write(tmp_path, request))
    assert told["rule"] == "otherwise"
    assert told["candidates"] == ["llama-70b@vllm-eu"]
    assert {"endpoint": "llama-70b@fireworks", "by": "guard residency"} in told["excluded"]
    assert told["facts"]["plan"] == "pro"


def test_a_request_may_come_from_standard_input(explain, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"key": {"plan": "trial"}, "body": {"model": "llama-70b"}}'))
    told = explain("--request", "-")
    assert told["facts"]["plan"] == "trial"
    assert told["facts"]["model"] == "llama-70b"


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        ({}, "otherwise"),
        ({"now": "2026-01-05T01:30:00+01:00"}, "night"),
        ({"now": 1767571200}, "night"),
        ({"client_ip": "10.1.2.3"}, "office"),
        ({"client_ip": None}, "otherwise"),
        ({"key": None}, "otherwise"),
        ({"body": {"metadata": {"task": "code"}, "tools": [{"type": "function"}]}}, "code"),
        ({"path": "/v1/messages", "body": {"model": "llama-70b"}}, "otherwise"),
        ({"path": "/api/v1/chat/completions"}, "otherwise"),
        ({"path": "/v1/embeddings", "body": {"input": ["x"]}}, "otherwise"),
    ],
)
def test_every_part_of_a_request_is_optional(explain, tmp_path: Path, request_: object, rule: str) -> None:  # type: ignore[no-untyped-def]
    assert explain("--request", write(tmp_path, request_))["rule"] == rule


def test_the_random_number_of_a_request_is_heard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "split.route"
    path.write_text(
        POLICY.replace("-> requested else llama-8b  by price", "-> split 50% llama-70b, 50% llama-8b by user")
    )
    first = []
    for number in (0.1, 0.9):
        request = write(tmp_path, {"random": number})
        assert main(["explain", str(path), "--json", "--request", request]) == 0
        first.append(json.loads(capsys.readouterr().out)["candidates"][0].partition("@")[0])
    assert first == ["llama-70b", "llama-8b"]


@pytest.mark.parametrize(
    ("set_", "rule"),
    [
        ("over spend=true", "broke"),
        ("client.ip=10.9.9.9", "office"),
        ("healthy(both)=40%", "late"),
        ('time.hour@"Europe/Berlin"=3', "night"),
        ("time.hour@Europe/Berlin=3", "night"),
        ("age=7.5", "otherwise"),
        ("metadata.age=7", "otherwise"),
        ("header.X-Anything=goes", "otherwise"),
        ("stream=true", "otherwise"),
        ("language=han", "otherwise"),
        ("prompt.tokens=128Ki", "otherwise"),
        ("time.date=2026-12-24", "otherwise"),
        ("model=missing", "otherwise"),
        ("key=abc", "otherwise"),
        ("model=a=b", "otherwise"),
    ],
)
def test_facts_of_every_kind_can_be_set(explain, set_: str, rule: str) -> None:  # type: ignore[no-untyped-def]
    assert explain("--set", set_)["rule"] == rule


def test_a_fact_said_wins_over_the_request(explain, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    request = write(tmp_path, {"body": {"model": "llama-8b"}})
    told = explain("--request", request, "--set", "model=llama-70b")
    assert told["candidates"][0].startswith("llama-70b@")
    assert explain("--request", request, "--set", "model=missing")["facts"]["model"] is None


def test_what_is_down_comes_last(explain) -> None:  # type: ignore[no-untyped-def]
    plain = ["--set", "task=code", "--set", "tools=1"]
    assert explain(*plain, "--down", "baseten")["candidates"] == ["llama-70b@fireworks", "llama-70b@baseten"]
    assert explain(*plain, "--down", "llama-70b @ baseten")["candidates"][0] == "llama-70b@fireworks"
    down_both = explain("--set", "model=llama-70b", "--down", "baseten", "--down", "llama-70b@fireworks")
    assert down_both["candidates"][0] == "llama-70b@vllm-eu"


def test_another_policy_can_be_asked(explain, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert explain("--policy", "other")["policy"] == "other"
    assert explain("--request", write(tmp_path, {"body": {"model": "@other"}}))["policy"] == "other"


def test_missing_keys_in_this_environment_change_nothing(explain, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("BASETEN_API_KEY", raising=False)
    assert explain("--set", "model=llama-70b")["candidates"][0] == "llama-70b@baseten"


def test_a_plan_explains_like_its_source(
    explain, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    from handlers.compiled import compile_file
    from router_dsl.plan import encode

    plan = compile_file(Path(policy)).plan
    assert plan is not None
    artefact = tmp_path / "chat.plan"
    artefact.write_bytes(encode(plan))
    told = explain("--set", "task=code", "--set", "tools=2")
    assert main(["explain", str(artefact), "--json", "--set", "task=code", "--set", "tools=2"]) == 0
    assert json.loads(capsys.readouterr().out) == told


# --- for a person ---------------------------------------------------------------------------------


def test_a_person_is_told_in_sentences(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", policy, "--set", "task=code", "--set", "tools=2"]) == 0
    shown = capsys.readouterr().out
    assert "Policy chat, rule code decides, because task == code and has tools." in shown
    assert "chat.route:21" in shown
    assert "It asks llama-70b@baseten, then llama-70b@fireworks." in shown
    assert "llama-70b@vllm-eu  where price.out <= $1" in shown
    assert "too-long" in shown
    assert "\x1b" not in shown


def test_a_person_is_told_of_a_refusal(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", policy, "--set", "plan=trial", "--set", "prompt.tokens=9k"]) == 0
    assert "The request is refused with 413: trial keys are limited to 8k prompt tokens" in capsys.readouterr().out


# --- wrong use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "promt.tokens=9k"], "did you mean `prompt.tokens`?"),
        (["--set", "pln=trial"], "did you mean `plan`?"),
        (["--set", "prompt.tokens=lots"], "`prompt.tokens` is a number"),
        (["--set", "prompt.tokens=1.5"], "whole number"),
        (["--set", "stream=perhaps"], "true or false"),
        (["--set", "task=codee"], "did you mean `code`?"),
        (["--set", "plan=gold"], "one of trial, pro"),
        (["--set", "client.ip=here"], "address"),
        (["--set", "healthy(both)=4"], "share"),
        (["--set", "healthy(bth)=4%"], "did you mean `both`?"),
        (["--set", "time.hour@Mars/Base=4"], "unknown time zone `Mars/Base`"),
        (["--set", "model@Europe/Berlin=4"], "unknown fact"),
        (["--set", "time.date=someday"], "date"),
        (["--set", "over spent=true"], "did you mean `spend`?"),
        (["--set", "task"], "--set FACT=VALUE"),
        (["--set", "header=x"], "unknown fact `header`"),
        (["--down", "basten"], "did you mean `baseten`?"),
        (["--policy", "othr"], "did you mean `other`?"),
        (["--request", "/nowhere/at/all.json"], "no such file"),
    ],
)
def test_wrong_use_is_said_and_exits_with_2(
    policy: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", policy, *arguments]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, ""),
        ("7", "must be an object"),
        ({"bdy": {}}, "did you mean `body`?"),
        ({"body": 7}, "`body` must be an object"),
        ({"body": {"messages": "x"}}, "`messages` must be"),
        ({"headers": {"x": ["a"]}}, "`headers.x` must be text"),
        ({"path": "/nope"}, "`path` must be one of"),
        ({"now": "yesterday"}, "`now` must be"),
        ({"now": True}, "`now` must be"),
        ({"random": 1}, "`random` must be"),
        ({"client_ip": 7}, "`client_ip` must be text"),
    ],
)
def test_a_wrong_request_is_said_and_exits_with_2(
    policy: str, tmp_path: Path, request_: object, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", policy, "--request", write(tmp_path, request_)]) == 2
    assert says in capsys.readouterr().err


def test_a_broken_policy_exits_with_1_and_its_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.route"
    path.write_text(POLICY.replace("prompt.tokens > 8k", "prompt.token > 8k"))
    assert main(["explain", str(path)]) == 1
    shown = capsys.readouterr().err
    assert "E204 unknown fact `prompt.token`" in shown
    assert "did you mean `prompt.tokens`?" in shown


def test_a_missing_or_mangled_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tmp_path / "none.route")]) == 2
    assert "no such file" in capsys.readouterr().err
    mangled = tmp_path / "x.plan"
    mangled.write_bytes(b"not a plan")
    assert main(["explain", str(mangled)]) == 1
    assert "not a plan" in capsys.readouterr().err


def test_what_the_client_wishes_is_told(explain, policy, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    body = {"models": ["llama-70b:floor", "llama-8b"], "provider": {"ignore": ["baseten"]}}
    request = write(tmp_path, {"body": body})
    told = explain("--request", request)
    assert told["candidates"][0] == "llama-70b@fireworks"
    assert {"endpoint": "llama-70b@baseten", "by": "provider.ignore"} in told["excluded"]
    assert told["wishes"] == {
        "models": ["llama-70b", "llama-8b"], "variant": "floor", "provider": {"ignore": ["baseten"]},
    }  # fmt: skip
    assert told["facts"]["model"] == "llama-70b"
    assert main(["explain", policy, "--request", request]) == 0
    assert "The client wishes:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "word"),
    [({"model": "llama-8b:online"}, ":online"), ({"model": "llama-8b", "provider": {"xyz": 1}}, "provider.xyz")],
)
def test_a_wish_that_cannot_be_is_wrong_use(policy, tmp_path, capsys, body, word) -> None:  # type: ignore[no-untyped-def]
    assert main(["explain", policy, "--request", write(tmp_path, {"body": body})]) == 2
    assert word.partition(".")[2] in capsys.readouterr().err
