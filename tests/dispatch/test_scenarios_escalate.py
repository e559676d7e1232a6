"""Whole requests whose cheap answer is judged before anybody sees it, and given to a stronger model when it fails."""

from __future__ import annotations

import asyncio
import json

import pytest

from router_dsl.plan import Endpoints, Escalate
from runtime.dispatch.record import Record
from tests.dispatch.bench import STREAM, UNARY, Bench, run
from tests.dispatch.truth import ends_in_error, ends_well, outcomes, text_of
from tests.providers import scripted as say
from tests.providers.scripted import Script

STRONG = Endpoints("strong", (1,))
ALL = ("truncated", "refused", "invalid json", "empty")
JSON_WANTED = {"response_format": {"type": "json_object"}}


def either(text: str | None, finish: str = "stop", usage: object = say.USAGE) -> Script:
    async def script(talk: say.Talk) -> None:
        texts = () if text is None else (text,)
        is_stream = talk.request.json.get("stream")
        await (say.stream(*texts, finish=finish, usage=usage) if is_stream else say.unary(text, finish, usage))(talk)

    return script


async def ask(bench: Bench, body: dict[str, object], *when: str, **changed: object) -> Record:
    rule = Escalate(STRONG, when or ALL)  # type: ignore[arg-type]
    return await bench.ask(body, attempts=(0,), targets=(0,), escalation=(1,), escalate=rule, **changed)  # type: ignore[arg-type]


def answered(bench: Bench, body: dict[str, object], text: str) -> None:
    if body.get("stream"):
        ends_well(bench, text)
    else:
        assert bench.client.is_closed
        assert json.loads(bench.client.body)["choices"][0]["message"]["content"] == text


BOTH = pytest.mark.parametrize("body", [UNARY, STREAM], ids=["unary", "stream"])


@BOTH
def test_a_good_answer_is_given_and_nobody_else_is_asked(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Paris"))
        record = await ask(bench, body)
        answered(bench, body, "Paris")
        assert (record.end, record.endpoint, record.escalated) == ("complete", "m@p0", None)
        assert not bench.providers[1].received
        assert (bench.client.endpoint, bench.client.attempts) == ("m@p0", 1)

    run(scenario)


@BOTH
@pytest.mark.parametrize(
    ("script", "extra", "reason"),
    [
        (either("Once upon", "length"), {}, "truncated"),
        (either("no", "content_filter"), {}, "refused"),
        (either("I'm sorry, but I can't help with that."), {}, "refused"),
        (either("Sure! Here:"), JSON_WANTED, "invalid json"),
        (either(" "), {}, "empty"),
        (either(None), {}, "empty"),
        (either(None, "content_filter"), {}, "refused"),
        (either(None, "length"), {}, "truncated"),
    ],
)
def test_an_answer_that_fails_is_asked_of_the_stronger_model(
    body: dict[str, object], script: Script, extra: dict[str, object], reason: str
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].fallback = script
        bench.providers[1].then(either("better"))
        record = await ask(bench, {**body, **extra})
        answered(bench, body, "better")
        assert (record.end, record.endpoint, record.escalated) == ("complete", "m@p1", reason)
        assert [attempt.role for attempt in record.attempts] == ["plan", "escalation"]
        assert (bench.client.endpoint, bench.client.attempts) == ("m@p1", 2)

    run(scenario)


@BOTH
def test_only_the_reasons_that_were_named_count(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Once upon", "length"))
        assert (await ask(bench, body, "refused", "empty")).escalated is None
        answered(bench, body, "Once upon")
        assert not bench.providers[1].received

    run(scenario)


@BOTH
@pytest.mark.parametrize("strong", [say.status(503), say.reset(), say.unary(None), say.status(400)])
def test_if_the_stronger_model_fails_the_first_answer_is_better_than_nothing(
    body: dict[str, object], strong: Script
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Once upon", "length"))
        bench.providers[1].then(strong)
        record = await ask(bench, body)
        answered(bench, body, "Once upon")
        assert (record.end, record.status, record.endpoint) == ("complete", 200, "m@p0")
        assert (record.finish_reason, record.escalated) == ("length", "truncated")
        assert len(record.attempts) == 2
        assert bench.client.attempts == 2

    run(scenario)


def test_if_the_stronger_stream_breaks_off_the_first_answer_is_given_whole() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Once upon", "length"))
        bench.providers[1].then(say.sse([say.event("Once upon a")], end="rst"))
        record = await ask(bench, STREAM)
        ends_well(bench, "Once upon")
        assert outcomes(record) == ["ok", "lost"]

    run(scenario)


def test_a_stream_that_breaks_off_counts_as_truncated_and_nobody_sees_the_half() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("Once")], end="rst"))
        bench.providers[1].then(say.stream("Once upon a time"))
        record = await ask(bench, STREAM, "truncated")
        ends_well(bench, "Once upon a time")
        assert (outcomes(record), record.escalated) == (["lost", "ok"], "truncated")

    run(scenario)


def test_a_stream_that_breaks_off_ends_in_the_error_if_nobody_can_do_better() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.sse([say.event("Once")], end="rst"))
        bench.providers[1].then(say.status(503))
        record = await ask(bench, STREAM)
        ends_in_error(bench, "Once")
        assert record.end == "cut"

    run(scenario)


@BOTH
def test_a_plan_that_fails_otherwise_is_no_answer_to_be_judged(body: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(500))
        record = await ask(bench, body)
        assert (record.end, record.status, record.escalated) == ("exhausted", 502, None)
        assert not bench.providers[1].received
        assert bench.client.status is None

    run(scenario)


def test_nothing_from_either_is_exhausted() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.unary(None))
        bench.providers[1].then(say.status(503))
        record = await ask(bench, UNARY)
        assert (record.end, record.status) == ("exhausted", 503)
        assert outcomes(record) == ["empty", "status 503"]
        assert bench.client.status is None

    run(scenario)


def test_a_refused_request_is_passed_on() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.status(422, "messages[0] is wrong"))
        record = await ask(bench, UNARY)
        assert (record.end, bench.client.status) == ("refused", 422)
        assert json.loads(bench.client.body)["error"]["message"] == "messages[0] is wrong"

    run(scenario)


def test_both_costs_are_on_record_and_times_are_the_requests() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.after(gate, either("Once", "length")))
        bench.providers[1].then(either("better", usage={"prompt_tokens": 9, "completion_tokens": 100}))
        asking = asyncio.create_task(ask(bench, UNARY))
        await bench.providers[0].until_requests(1)
        bench.clock.pass_by(2.0)
        gate.set()
        record = await asking
        assert [attempt.cost_nusd for attempt in record.attempts] == [15_000, 209_000]
        assert record.cost_nusd == 224_000
        assert record.usage is not None
        assert record.usage.completion == 100
        assert record.attempts[1].started_s == pytest.approx(2.0)

    run(scenario)


def test_nothing_reaches_the_client_before_the_answer_is_judged() -> None:
    async def scenario(bench: Bench) -> None:
        gate = asyncio.Event()
        bench.providers[0].then(say.sse_halted([say.event("Hel")], gate, say.events("lo")[1:]))
        asking = asyncio.create_task(ask(bench, STREAM))
        await bench.providers[0].until_requests(1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.client.status is None
        gate.set()
        await asking
        ends_well(bench, "Hello")

    run(scenario)


def test_a_client_that_leaves_stops_the_first() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.hang())
        asking = asyncio.create_task(ask(bench, UNARY))
        await bench.providers[0].until_requests(1)
        bench.client.leave()
        record = await asking
        assert (record.end, outcomes(record)) == ("client gone", ["cancelled"])
        assert not bench.providers[1].received

    run(scenario)


def test_a_client_that_leaves_stops_the_second() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Once", "length"))
        bench.providers[1].then(say.hang())
        asking = asyncio.create_task(ask(bench, UNARY))
        await bench.providers[1].until_requests(1)
        bench.client.leave()
        record = await asking
        assert (record.end, outcomes(record)) == ("client gone", ["ok", "cancelled"])
        await bench.providers[1].until_all_closed()

    run(scenario)


def test_a_client_that_leaves_while_it_is_given_the_answer_is_done_with() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Paris"))
        bench.client.taking.clear()
        asking = asyncio.create_task(ask(bench, STREAM))
        await bench.client.until_chunks(1)
        bench.client.leave()
        assert (await asking).end == "complete"
        assert text_of(bench.client.body) == "Paris"

    run(scenario)


def test_a_client_that_cannot_be_written_to_has_left() -> None:
    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(either("Paris"))
        bench.client.breaks = True
        assert (await ask(bench, UNARY)).end == "client gone"

    run(scenario)


def test_an_answer_too_long_to_hold_passes_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.dispatch.held.MOST_HELD_BYTES", 400)

    async def scenario(bench: Bench) -> None:
        bench.providers[0].then(say.stream("x" * 300, "y" * 300, "z" * 300, finish="length"))
        record = await ask(bench, STREAM)
        ends_well(bench, "x" * 300 + "y" * 300 + "z" * 300)
        assert (record.end, record.escalated) == ("complete", None)
        assert not bench.providers[1].received

    run(scenario)
