"""The runtime loop against a Runtime API of ours: streaming, faults, deadlines, gaps, slots, snapshots, the end."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.lambda_runtime import slot
from handlers.lambda_runtime.lifespan import Application, Lifespan, Scope, StartError
from handlers.lambda_runtime.loop import serve, slots_of
from handlers.lambda_runtime.slot import Pace, Terms
from tests.serverless.events import QUEUE, SCHEDULED, balancer, function_url, http_api, rest_api
from tests.serverless.runtime_api import RuntimeApi
from tests.serverless.stage import Receive, Send, Stage, answering, breaks


@dataclass
class Running:
    api: RuntimeApi
    stage: Stage
    stop: asyncio.Event
    task: asyncio.Task[int]

    async def end(self) -> int:
        self.stop.set()
        return await self.task


def run(
    app: Application,
    scenario: Callable[[Running], Coroutine[object, object, None]],
    *,
    stage: Stage | None = None,
    terms: Terms | None = None,
    api: RuntimeApi | None = None,
    exit_code: int = 0,
    **environ: str,
) -> None:
    async def whole() -> None:
        async with api or RuntimeApi() as runtime_api:
            stop = asyncio.Event()
            host = stage or Stage(app)
            env = {"AWS_LAMBDA_RUNTIME_API": runtime_api.address, **environ}
            task = asyncio.create_task(serve(host, env, terms or Terms(), stop))
            running = Running(runtime_api, host, stop, task)
            try:
                await scenario(running)
            finally:
                assert await running.end() == exit_code

    asyncio.run(asyncio.wait_for(whole(), 20))


# --- answers --------------------------------------------------------------------------------------


def test_a_stream_goes_out_as_prelude_and_pieces() -> None:
    headers = (
        (b"Content-Type", b"text/event-stream"), (b"x-two", b"a"), (b"x-two", b"b"), (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"), (b"content-length", b"6"), (b"connection", b"close"),
    )  # fmt: skip

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url(), lambda_runtime_invocation_id="inv-7")
        await call.over.wait()
        assert call.is_streamed
        assert call.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
        assert call.headers["lambda-runtime-invocation-id"] == "inv-7"
        assert call.prelude == {
            "statusCode": 201,
            "headers": {"content-type": "text/event-stream", "x-two": "a, b"},
            "cookies": ["a=1", "b=2"],
        }
        assert call.body == b"onetwo"
        assert call.fault is None

    run(answering(b"one", b"two", status=201, headers=headers), scenario)


def test_each_piece_is_there_before_the_next_is_made() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for place, gate in enumerate(gates):
            await send({"type": "http.response.body", "body": b"piece%d" % place, "more_body": True})
            await gate.wait()
        await send({"type": "http.response.body"})

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        for place, gate in enumerate(gates):
            await call.until(b"piece%d" % place)
            gate.set()
        await call.over.wait()
        assert call.fault is None

    run(app, scenario)


def test_a_rest_api_gets_a_stream_and_cookies_as_lists() -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(rest_api())
        await call.over.wait()
        assert call.is_streamed
        assert call.prelude["multiValueHeaders"] == {"set-cookie": ["a=1"]}

    run(answering(b"hi", headers=((b"set-cookie", b"a=1"),)), scenario)


@pytest.mark.parametrize(
    ("event", "terms", "expected"),
    [
        (http_api(), Terms(), {"headers": {"x-a": "1, 2"}, "cookies": ["c=1", "d=2"]}),
        (function_url(), Terms(buffered=True), {"headers": {"x-a": "1, 2"}, "cookies": ["c=1", "d=2"]}),
        (
            rest_api(),
            Terms(buffered=True),
            {"headers": {"x-a": "1, 2"}, "multiValueHeaders": {"set-cookie": ["c=1", "d=2"]}},
        ),
        (balancer(), Terms(), {"headers": {"x-a": "1, 2", "set-cookie": "d=2"}, "statusDescription": "200 OK"}),
        (
            balancer(many=True),
            Terms(),
            {
                "multiValueHeaders": {"x-a": ["1, 2"], "set-cookie": ["c=1", "d=2"]},
                "statusDescription": "200 OK",
            },
        ),
    ],
)
def test_fronts_without_streams_get_one_document(
    event: dict[str, object], terms: Terms, expected: dict[str, object]
) -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(event)
        await call.over.wait()
        assert not call.is_streamed
        assert call.document == {"statusCode": 200, "body": "onetwo", "isBase64Encoded": False, **expected}

    headers = ((b"x-a", b"1"), (b"x-a", b"2"), (b"set-cookie", b"c=1"), (b"set-cookie", b"d=2"))
    run(answering(b"one", b"two", headers=headers), scenario, terms=terms)


def test_what_is_no_text_goes_as_base64() -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(http_api())
        await call.over.wait()
        assert (call.document["body"], call.document["isBase64Encoded"]) == ("//4=", True)

    run(answering(b"\xff\xfe"), scenario)


def test_a_slow_reader_holds_the_application_up() -> None:
    written = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal written
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            written += 1
        await send({"type": "http.response.body"})

    async def scenario(running: Running) -> None:
        running.api.gate.clear()
        call = running.api.invoke(function_url())
        before = -1
        while written != before:
            before = written
            for _ in range(200):
                await asyncio.sleep(0)
        # The sockets hold a few MiB.
        assert written < 190
        running.api.gate.set()
        await call.over.wait()
        assert len(call.body) == 200 * 65536

    run(app, scenario)


@pytest.mark.parametrize("event", [function_url(), http_api()])
def test_the_client_has_its_answer_while_the_application_tidies_up(event: dict[str, object]) -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(b"hi")(scope, receive, send)
        await gate.wait()

    async def scenario(running: Running) -> None:
        await running.api.invoke(event).over.wait()
        assert running.api.nexts == 1
        gate.set()
        await running.api.until_asked(2)

    run(app, scenario)


# --- faults ---------------------------------------------------------------------------------------


async def bug(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("secret words")


def test_an_error_before_the_first_byte_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await call.over.wait()
        assert call.fault == "Function.InternalError"
        assert call.error == {
            "errorType": "Function.InternalError", "errorMessage": "ValueError while answering", "stackTrace": [],
        }  # fmt: skip
        await running.api.until_asked(2)

    run(bug, scenario)
    assert "secret words" in capfd.readouterr().err


def test_an_error_after_the_first_byte_is_in_the_trailers(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await call.over.wait()
        assert call.headers["trailer"] == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
        assert call.body == b"half"
        assert call.fault == "Function.InternalError"
        assert call.fault_body["errorType"] == "Function.InternalError"
        await running.api.until_asked(2)

    run(breaks, scenario)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """End without an answer."""


def test_an_application_that_ends_without_an_answer_is_at_fault() -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await call.over.wait()
        assert call.fault == "Function.NoAnswer"

    run(silent, scenario)


@pytest.mark.parametrize("event", [QUEUE, {}, [1], "text"])
def test_what_is_no_http_request_is_refused_and_the_next_one_served(event: object) -> None:
    async def scenario(running: Running) -> None:
        refused, served = running.api.invoke(event), running.api.invoke(function_url())
        await refused.over.wait()
        assert refused.fault == "Function.NotHttp"
        await served.over.wait()
        assert served.body == b"hi"

    run(answering(b"hi"), scenario)


def test_a_schedule_that_keeps_the_function_warm_succeeds() -> None:
    async def scenario(running: Running) -> None:
        call = running.api.invoke(SCHEDULED)
        await call.over.wait()
        assert call.document == {"warm": True}

    run(bug, scenario)


@pytest.mark.parametrize("front", [function_url, http_api])
def test_a_refused_answer_does_not_stop_the_loop(front: Callable[[], dict[str, object]]) -> None:
    async def scenario(running: Running) -> None:
        running.api.answer_status = 413
        await running.api.invoke(front()).over.wait()
        await running.api.until_asked(2)
        running.api.answer_status = 202
        call = running.api.invoke(function_url())
        await call.over.wait()
        assert call.body == b"hi"

    run(answering(b"hi"), scenario)


def test_a_runtime_api_that_breaks_off_ends_the_answer_and_nothing_else() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a lot", "more_body": True})
        if str(scope["path"]) == "/cut":
            assert (await receive())["type"] == "http.disconnect"
            with pytest.raises(OSError, match="no more"):
                await send({"type": "http.response.body", "body": b"of text", "more_body": True})
        await send({"type": "http.response.body"})

    async def scenario(running: Running) -> None:
        running.api.cut_after = 1
        call = running.api.invoke(function_url(path="/cut"))
        await call.over.wait()
        assert call.is_cut
        running.api.cut_after = None
        again = running.api.invoke(function_url())
        await again.over.wait()
        assert again.body == b"a lot"

    run(app, scenario)


def test_a_runtime_api_that_is_gone_ends_the_process() -> None:
    async def scenario(running: Running) -> None:
        await running.api.until_asked()
        await running.api.end()
        assert await running.task == 1

    run(silent, scenario, exit_code=1)


# --- time -----------------------------------------------------------------------------------------


def test_a_request_without_an_answer_in_time_gets_one_that_says_so() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url(path="/slow"), timeout_s=slot.MARGIN_S + 0.01)
        await call.over.wait()
        assert call.prelude["statusCode"] == 504
        assert json.loads(call.body) == {"late": "/slow"}
        await running.api.until_asked(2)

    run(app, scenario)


def test_a_stream_whose_time_is_up_ends_in_trailers() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url(), timeout_s=slot.MARGIN_S + 0.2)
        await call.over.wait()
        assert (call.body, call.fault) == (b"half", "Function.TimedOut")

    run(app, scenario)


def test_what_runs_after_an_answer_is_over_before_the_next_one_is_asked_for() -> None:
    gate = asyncio.Event()
    stage = Stage(answering(b"hi"), afterwards=gate.wait)  # type: ignore[arg-type]

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await call.over.wait()
        assert running.api.nexts == 1
        gate.set()
        await running.api.until_asked(2)
        assert stage.told == ["open", "after"]

    run(stage.app, scenario, stage=stage)


def test_a_bug_after_an_answer_costs_no_request(capfd: pytest.CaptureFixture[str]) -> None:
    async def broken() -> None:
        raise ValueError

    stage = Stage(answering(b"hi"), afterwards=broken)

    async def scenario(running: Running) -> None:
        for _ in range(2):
            call = running.api.invoke(function_url())
            await call.over.wait()
            assert call.body == b"hi"

    run(stage.app, scenario, stage=stage)
    assert capfd.readouterr().err.count("ValueError") >= 1


def test_an_answer_that_lambda_is_slow_to_take_is_not_mixed_up_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "MARGIN_S", 0.0)

    async def scenario(running: Running) -> None:
        running.api.acknowledge.clear()
        call = running.api.invoke(http_api(), timeout_s=0.1)
        await asyncio.sleep(0.2)
        running.api.acknowledge.set()
        await running.api.until_asked(2)
        again = running.api.invoke(http_api())
        await again.over.wait()
        assert again.document["body"] == "hi"
        assert call.over.is_set()
        assert running.api.connections == 2, "what still comes for the one given up must meet nobody"

    run(answering(b"hi"), scenario)


def test_a_long_gap_is_told_before_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(answering(b"hi"))

    async def scenario(running: Running) -> None:
        await running.api.invoke(function_url()).over.wait()
        await running.api.until_asked(2)
        monkeypatch.setattr(slot, "LONG_GAP_S", 0.0)
        await running.api.invoke(function_url()).over.wait()
        assert stage.told[:3] == ["open", "after", "gap"]

    run(stage.app, scenario, stage=stage)


@given(unix_s=st.floats(-1e3, 1e3), monotonic_s=st.floats(0, 1e3), busy=st.booleans())
def test_a_gap_is_what_either_clock_says_and_none_while_another_slot_is_busy(
    unix_s: float, monotonic_s: float, busy: bool
) -> None:
    now = [1e9, 100.0]
    pace = Pace(lambda: now[0], lambda: now[1])
    pace.busy = int(busy)
    now[0] += unix_s
    now[1] += monotonic_s
    assert pace.gap_s() == (0.0 if busy else pytest.approx(max(unix_s, monotonic_s), abs=1e-3))


@pytest.mark.slow
def test_a_stream_is_told_to_end_before_its_time_is_up_unless_others_would_end_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slot, "LAST_WORDS_S", 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    async def scenario(running: Running) -> None:
        for calls in (1, 2):
            began = [running.api.invoke(function_url(), timeout_s=slot.MARGIN_S + 0.3) for _ in range(calls)]
            for call in began:
                await call.over.wait()
            assert running.stage.told == ["open", "stop"]

    run(app, scenario, terms=Terms(may_freeze=False), AWS_LAMBDA_MAX_CONCURRENCY="2")


# --- many at once ---------------------------------------------------------------------------------


def test_as_many_as_lambda_says_are_served_at_once() -> None:
    inside = 0
    all_in = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal inside
        inside += 1
        if inside == 4:
            all_in.set()
        await all_in.wait()
        await answering(b"hi")(scope, receive, send)

    async def scenario(running: Running) -> None:
        await running.api.until_asked(4)
        calls = [running.api.invoke(function_url()) for _ in range(4)]
        for call in calls:
            await call.over.wait()
        assert running.stage.told == ["open"], "one application; no phase after an answer, nothing is ever frozen"

    run(app, scenario, terms=Terms(may_freeze=False), AWS_LAMBDA_MAX_CONCURRENCY="4")


@pytest.mark.parametrize(("said", "slots"), [("", 1), ("0", 1), ("16", 16), ("many", 1)])
def test_slots(said: str, slots: int) -> None:
    assert slots_of({"AWS_LAMBDA_MAX_CONCURRENCY": said}) == slots
    assert slots_of({}) == 1


# --- beginnings and ends --------------------------------------------------------------------------


def test_a_host_that_cannot_start_is_an_init_error() -> None:
    stage = Stage(silent, refuses="no policy")

    async def scenario(running: Running) -> None:
        assert await running.task == 1
        assert running.api.init_error is not None
        assert running.api.init_error["errorMessage"] == "no policy"
        assert running.api.nexts == 0

    run(silent, scenario, stage=stage, exit_code=1)


def test_a_snapshot_is_taken_of_nothing_that_is_open_and_chance_differs_after_it() -> None:
    stage = Stage(answering(b"hi"))

    async def scenario(running: Running) -> None:
        await running.api.asked_restore.wait()
        assert stage.told == ["open", "close"]
        random.seed(1)
        expected = random.Random(1).random()
        running.api.restored.set()
        await running.api.until_asked()
        assert random.random() != expected
        await running.api.invoke(function_url()).over.wait()
        assert stage.told[:3] == ["open", "close", "open"]

    run(stage.app, scenario, stage=stage, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")


def test_a_restore_that_fails_is_reported_as_one() -> None:
    stage = Stage(silent)

    async def scenario(running: Running) -> None:
        await running.api.asked_restore.wait()
        stage.refuses = "the secret is gone"
        running.api.restored.set()
        assert await running.task == 1
        assert running.api.restore_error is not None
        assert running.api.restore_error["errorMessage"] == "the secret is gone"

    run(silent, scenario, stage=stage, exit_code=1, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")


def test_told_to_stop_answers_in_flight_end_and_no_more_are_asked_for() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await answering(b"hi")(scope, receive, send)

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await running.api.until_asked()
        await asyncio.sleep(0.02)
        running.stop.set()
        gate.set()
        await call.over.wait()
        assert call.body == b"hi"
        assert await running.task == 0
        assert running.api.nexts == 1
        assert running.stage.told[-1] == "close"

    run(app, scenario)


def test_told_to_stop_what_does_not_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.lambda_runtime.loop.GRACE_S", 0.01)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    async def scenario(running: Running) -> None:
        call = running.api.invoke(function_url())
        await call.until(b"half")
        running.stop.set()
        await call.over.wait()
        assert call.fault == "Function.Stopped"

    run(app, scenario)


def test_a_lifespan_is_started_and_stopped_and_an_application_may_have_none() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            seen.append((await receive())["type"])
            await send({"type": answer})

    async def both() -> None:
        for each in (app, silent):
            lifespan = Lifespan(each)
            await lifespan.start()
            await lifespan.stop()
        with pytest.raises(StartError, match="ValueError"):
            await Lifespan(bug).start()

    asyncio.run(asyncio.wait_for(both(), 5))
    assert seen == ["lifespan.startup", "lifespan.shutdown"]
