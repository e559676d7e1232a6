"""Requests and what comes back: the answer, the headers that say why, the log line."""

from __future__ import annotations

import json

import pytest

from tests.serve.desk import HELLO, PATH, POLICY, Desk

DIGEST = "ab" * 6


def test_a_request_is_answered_and_says_why() -> None:
    answer = Desk().post()
    assert answer.status == 200
    assert answer.json["object"] == "chat.completion"
    assert answer.headers["x-pointsman-policy"] == f"chat@{DIGEST}"
    assert answer.headers["x-pointsman-rule"] == "otherwise"
    assert answer.headers["x-pointsman-endpoint"] == "small@one"
    assert answer.headers["x-pointsman-attempts"] == "1"
    assert float(answer.headers["x-pointsman-overhead-ms"]) >= 0
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_a_stream_is_relayed_chunk_by_chunk_to_its_proper_end() -> None:
    answer = Desk().post(stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-pointsman-endpoint"] == "small@one"
    assert len(answer.chunks) > 3
    assert answer.ended
    assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("path", [PATH, "/api" + PATH, PATH + "/"])
def test_every_spelling_of_the_address_is_answered(path: str) -> None:
    assert Desk().post(path=path).status == 200


def test_a_mounted_application_answers_below_its_root() -> None:
    from runtime.serve.app import _path

    assert _path({"path": "/gateway" + PATH, "root_path": "/gateway"}) == PATH


def test_the_clients_request_id_is_kept_when_it_is_fit_to_be() -> None:
    desk = Desk()
    assert desk.post(headers={"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    assert desk.log.last["request_id"] == "abc-123"
    for unfit in ("a b", "x" * 200, "", "é"):
        assert desk.post(headers={"x-request-id": unfit}).headers["x-request-id"].startswith("req_")


def test_any_content_type_will_do() -> None:
    desk = Desk()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        assert desk.post(headers={"content-type": kind}).status == 200


# --- other ways a policy answers ------------------------------------------------------------------


def test_a_rejection_has_the_policys_status_and_words() -> None:
    desk = Desk()
    answer = desk.post(user="mallory")
    assert answer.status == 451
    assert answer.error["message"] == "not for you"
    assert answer.headers["x-pointsman-rule"] == "banned"
    assert answer.headers["x-pointsman-attempts"] == "0"
    assert "x-pointsman-endpoint" not in answer.headers
    assert desk.log.last["end"] == "rejected"


def test_an_unknown_model_is_a_404_that_the_sdks_understand() -> None:
    answer = Desk().post({"model": "nope", "messages": HELLO})
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert answer.error["param"] == "model"
    assert "nope" in str(answer.error["message"])
    assert answer.error["availability"] == {
        "code": "model_not_found",
        "retryable": False,
        "requested_models": ["nope"],
    }
    assert answer.headers["x-pointsman-rule"] == "otherwise"


def test_when_guards_leave_nothing_the_404_names_them() -> None:
    answer = Desk().post({"model": "large", "messages": HELLO}, headers={"x-country": "de"})
    assert answer.status == 404
    assert answer.error["code"] == "no_endpoints"
    availability = answer.error["availability"]
    assert isinstance(availability, dict)
    assert availability["excluded_by"] == ["guard eu"]
    assert "guard eu" in str(answer.error["message"])


def test_a_guard_moves_a_request() -> None:
    assert Desk().post(headers={"x-country": "de"}).headers["x-pointsman-endpoint"] == "small@two"


def test_a_model_whose_provider_has_no_key_is_not_available() -> None:
    answer = Desk().post({"model": "away", "messages": HELLO})
    assert answer.status == 404
    assert "NEVER_SET_KEY" in str(answer.error["message"])


def test_a_policy_is_selected_by_an_at_sign() -> None:
    answer = Desk().post({"model": "@second", "messages": HELLO})
    assert answer.status == 200
    assert answer.headers["x-pointsman-policy"] == f"second@{DIGEST}"


def test_an_unknown_policy_is_a_400_that_names_those_there_are() -> None:
    answer = Desk().post({"model": "@nope", "messages": HELLO})
    assert answer.status == 400
    assert answer.error["param"] == "model"
    assert "`@chat`" in str(answer.error["message"])
    assert "`@second`" in str(answer.error["message"])


def test_when_everything_failed_the_sdk_is_told_not_to_repeat_it() -> None:
    desk = Desk()
    answer = desk.post({"model": "gone", "messages": HELLO})
    assert answer.status in (502, 503)
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-pointsman-endpoint"] == "gone@dead"
    assert answer.headers["x-pointsman-attempts"] == "2"
    metadata = answer.error["metadata"]
    assert isinstance(metadata, dict)
    failed = {"provider": "dead", "endpoint": "gone@dead", "outcome": "connect", "code": "connect", "status": None}
    assert metadata["previous_errors"] == [failed] * 2
    assert desk.log.last["end"] == "exhausted"


def test_a_known_wait_is_passed_on_with_an_exhausted_answer() -> None:
    from runtime.dispatch.transport import Outgoing, Response
    from tests.serve.fakes import FakeResponse

    class Throttling:
        async def send(self, request: Outgoing) -> Response:
            return FakeResponse(429, ((b"content-type", b"application/json"), (b"retry-after", b"7")), b"{}")

        async def aclose(self) -> None:
            pass

    answer = Desk(transports={"sim": Throttling()}).post()
    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert 0 < int(answer.headers["retry-after"]) <= 7
    assert 0 < int(answer.headers["retry-after-ms"]) <= 7000


# --- why ------------------------------------------------------------------------------------------


def test_the_decision_record_comes_with_the_answer() -> None:
    answer = Desk().post(headers={"x-pointsman-explain": "1"})
    told = json.loads(answer.headers["x-pointsman-explain"])
    assert answer.json["object"] == "chat.completion"
    assert told["policy"] == "chat"
    assert told["rule"] == "otherwise"
    assert told["action"] == "use"
    assert told["candidates"] == ["small@one", "small@two"]
    assert told["attempts_max"] == 2
    assert [skipped["rule"] for skipped in told["skipped"]] == ["banned", "code", "dead", "plain", "cheap"]


def test_nobody_gets_the_record_unasked() -> None:
    desk = Desk()
    assert "x-pointsman-explain" not in desk.post().headers
    assert "x-pointsman-explain" not in desk.post(headers={"x-pointsman-explain": "0"}).headers


def test_the_record_of_a_refusal_is_in_the_error_too() -> None:
    answer = Desk().post(headers={"x-pointsman-explain": "1"}, user="mallory")
    metadata = answer.error["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["pointsman"]["action"] == "reject"
    assert metadata["pointsman"]["status"] == 451
    assert json.loads(answer.headers["x-pointsman-explain"])["rule"] == "banned"


def test_a_record_too_long_for_a_header_goes_without_its_skipped_rules() -> None:
    rules = "".join(f'  r{n}: when model == "{"x" * 60}{n}" -> small\n' for n in range(60))
    policy = POLICY.replace("  banned:", rules + "  banned:")
    answer = Desk(policy).post(headers={"x-pointsman-explain": "1"})
    assert len(answer.headers["x-pointsman-explain"]) <= 4096
    told = json.loads(answer.headers["x-pointsman-explain"])
    assert "skipped" not in told
    assert told["candidates"]


def test_a_dry_run_decides_and_calls_nobody() -> None:
    from runtime.dispatch.transport import Outgoing, Response

    class Untouched:
        async def send(self, request: Outgoing) -> Response:
            raise AssertionError("a dry run must not call a provider")

        async def aclose(self) -> None:
            pass

    desk = Desk(transports={"sim": Untouched()})
    answer = desk.post(headers={"x-pointsman-explain": "only"}, stream=True)
    assert answer.status == 200
    assert answer.json["candidates"] == ["small@one", "small@two"]
    assert answer.headers["x-pointsman-attempts"] == "0"
    assert desk.log.last["end"] == "explained"
    refused = desk.post(headers={"x-pointsman-explain": "only"}, user="mallory")
    assert refused.status == 200
    assert refused.json["action"] == "reject"


# --- the log --------------------------------------------------------------------------------------


def test_every_request_is_one_event_that_says_what_happened() -> None:
    desk = Desk()
    answer = desk.post(metadata={"task": "code"})
    (event,) = desk.log.seen
    assert answer.headers["x-pointsman-rule"] == "code"
    assert event["event"] == "request"
    assert str(event["ts"]).endswith("Z")
    assert (event["policy"], event["digest"], event["rule"]) == ("chat", DIGEST, "code")
    assert (event["endpoint"], event["status"], event["end"]) == ("large@one", 200, "complete")
    assert (event["api"], event["model"], event["stream"], event["tag"]) == ("chat", "small", False, "coding")
    (attempt,) = event["attempts"]  # type: ignore[misc]
    assert attempt["endpoint"] == "large@one"
    assert attempt["outcome"] == "ok"
    prompt, completion = event["prompt_tokens"], event["completion_tokens"]
    assert isinstance(prompt, int)
    assert isinstance(completion, int)
    assert event["cost_usd"] == pytest.approx((prompt * 1.0 + completion * 2.0) / 1e6, rel=1e-3)
    assert event["finish_reason"] == "stop"
    json.dumps(event)


def test_the_log_has_neither_prompts_nor_answers_nor_keys_nor_users() -> None:
    desk = Desk()
    answer = desk.post(
        headers={"authorization": "Bearer sk-very-secret"},
        user="user-4711",
        messages=[{"role": "user", "content": "the magic word is xyzzy"}],
    )
    line = json.dumps(desk.log.last)
    said = answer.json["choices"][0]["message"]["content"]  # type: ignore[index]
    for secret in ("xyzzy", "sk-very-secret", "user-4711", said[:20]):
        assert secret not in line


def test_refused_requests_are_logged_and_probes_are_not() -> None:
    desk = Desk()
    desk.get("/healthz")
    desk.get("/readyz")
    assert desk.log.seen == []
    desk.post(raw=b"{")
    assert (desk.log.last["status"], desk.log.last["end"], desk.log.last["error"]) == (400, "error", "invalid_json")
    desk.get("/nope")
    assert (desk.log.last["status"], desk.log.last["end"], desk.log.last["error"]) == (404, "error", "not_found")


def test_a_client_that_leaves_before_its_request_is_complete_is_only_logged() -> None:
    desk = Desk()
    answer = desk.ask("POST", PATH, chunks=[b'{"model"'], leaves=True)
    assert answer.heads == 0
    assert (desk.log.last["status"], desk.log.last["end"]) == (499, "client gone")


def test_a_bug_of_ours_is_a_500_that_gives_nothing_away() -> None:
    desk = Desk()

    def broken() -> float:
        raise RuntimeError("secret"[::-1])

    desk.router.draw = broken
    answer = desk.post()
    assert answer.status == 500
    assert b"terces" not in answer.body
    assert b"Traceback" not in answer.body
    assert answer.error["type"] == "server_error"
    trace = next(event for event in desk.log.seen if event["event"] == "internal_error")
    assert "chat.py" in str(trace["trace"])
    assert "terces" not in str(trace)


def test_a_bug_behind_a_page_is_a_500_in_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.serve.models.listing", lambda _router: {}["bug"])
    desk = Desk()
    answer = desk.get("/v1/models")
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert [event["event"] for event in desk.log.seen] == ["internal_error", "request"]


def test_a_bug_after_the_first_byte_breaks_the_answer_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.dispatch.record import Client

    async def broken(_call: object, _way: object, client: Client, _dialect: object, _request_id: str) -> None:
        await client.start(200, (), "small@one", 1)
        await client.send(b"half an ans", last=False)
        raise RuntimeError

    desk = Desk()
    monkeypatch.setattr(desk.router.dispatcher, "answer", broken)
    # An ASGI server that gets an exception closes the connection, so the client knows that something is missing.
    with pytest.raises(RuntimeError):
        desk.post()
    assert desk.log.seen[0]["event"] == "internal_error"
