"""The official OpenAI SDK, synchronous and asynchronous, where providers fail, dawdle and dribble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

import openai
import pytest

from tests.clients.serving import Served, serving
from tests.hazards.gateway import HELLO, policy_for, routed, run
from tests.providers import scripted as say
from tests.providers.scripted import Provider, Script

pytestmark = pytest.mark.slow


def client(served: Served, **options: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-client", **options)  # type: ignore[arg-type]


async def both(served: Served, **asked: object) -> list[object]:
    """Ask through either client and return what each made of it: all chunks of a stream, or the error at its end."""

    async def asynchronous() -> object:
        said: list[object] = []
        async with client(served) as found:
            try:
                answer = await found.chat.completions.create(model="m", messages=HELLO, **asked)  # type: ignore[call-overload]
                if not asked.get("stream"):
                    return answer
                async for chunk in answer:
                    said.append(chunk)
            except openai.OpenAIError as error:
                said.append(error)
        return said

    def synchronous() -> object:
        said: list[object] = []
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-client") as found:
            try:
                answer = found.chat.completions.create(model="m", messages=HELLO, **asked)  # type: ignore[call-overload]
                if not asked.get("stream"):
                    return answer
                said.extend(answer)
            except openai.OpenAIError as error:
                said.append(error)
        return said

    return [await asynchronous(), await asyncio.to_thread(synchronous)]


def streamed(script: Script, check: Callable[[list[object]], None], **asked: object) -> None:
    """Have both clients read the same stream."""

    async def scenario() -> None:
        async with Provider(script) as provider, routed(provider) as served:
            for said in await both(served, stream=True, **asked):
                assert isinstance(said, list)
                check(said)

    run(scenario)


def text_of(chunks: Iterable[object]) -> str:
    return "".join(
        choice.delta.content or ""
        for chunk in chunks
        if not isinstance(chunk, Exception)
        for choice in chunk.choices  # type: ignore[attr-defined]
    )


# --- errors ---------------------------------------------------------------------------------------

HEL = [say.event("", role="assistant"), say.event("Hel")]


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_cut_after_content_raises_and_what_came_before_is_kept(end: str) -> None:
    def check(said: list[object]) -> None:
        assert text_of(said) == "Hel"
        assert isinstance(said[-1], openai.APIError)
        assert not isinstance(said[-1], openai.APIConnectionError), "it is told why, not only dropped"
        assert "broke off" in str(said[-1])

    streamed(say.sse(HEL, end=end), check)


def test_a_providers_own_error_after_content_raises() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        error = b'data: {"error": {"message": "out of memory on gpu 7", "type": "x", "code": "y"}}\n\n'
        provider = Provider(say.sse_halted(HEL, gate, [error]))
        async with provider, routed(provider) as served, client(served) as found:
            stream = await found.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
            said = ""

            async def read() -> None:
                nonlocal said
                async for chunk in stream:
                    said += chunk.choices[0].delta.content or ""
                    gate.set()

            with pytest.raises(openai.APIError) as caught:
                await read()
            assert said == "Hel"
            assert "gpu 7" not in str(caught.value)

    run(scenario)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "raised", "status"),
    [
        (say.status(500), openai.InternalServerError, 502),
        (say.status(503), openai.InternalServerError, 503),
        (say.status(429), openai.RateLimitError, 429),
        (say.status(429, retry_after="1"), openai.RateLimitError, 429),
        (say.status(429, retry_after="300"), openai.RateLimitError, 429),
        (say.status(524), openai.InternalServerError, 504),
        (say.status(529), openai.InternalServerError, 503),
        (say.html(502), openai.InternalServerError, 502),
        (say.reset(), openai.InternalServerError, 502),
        (say.unary(None, finish="stop", usage=None), openai.InternalServerError, 502),
    ],
)
def test_an_exhausted_plan_is_one_call_of_the_sdk(
    failure: Script, raised: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    async def scenario() -> None:
        async with Provider(failure) as one, Provider(failure) as two, routed(one, two) as served:
            async with client(served) as found:
                with pytest.raises(raised) as caught:
                    await found.chat.completions.create(model="m", messages=HELLO, stream=stream)  # type: ignore[call-overload]
            assert caught.value.status_code == status
            assert caught.value.response.headers["x-should-retry"] == "false"
            assert len(one.received) + len(two.received) == 2, "each endpoint once, as the plan has it"
            await served.log.until(1)
            assert len(served.log.seen) == 1, "the SDK must not triple the load"

    run(scenario)


@pytest.mark.parametrize(("status", "raised"), [(400, openai.BadRequestError), (422, openai.UnprocessableEntityError)])
def test_a_refusal_of_the_request_is_one_call_everywhere(status: int, raised: type[openai.APIStatusError]) -> None:
    async def scenario() -> None:
        one, two = Provider(say.status(status, "no such parameter")), Provider()
        async with one, two, routed(one, two) as served, client(served) as found:
            with pytest.raises(raised, match="no such parameter"):
                await found.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            assert (len(one.received), len(two.received)) == (1, 0)

    run(scenario)


class Ahead:
    """A clock that is moved by hand, on top of the real one."""

    def __init__(self, clock: object) -> None:
        self._clock = clock
        self.ahead_s = 0.0

    def now_s(self) -> float:
        return self._clock.now_s() + self.ahead_s  # type: ignore[attr-defined, no-any-return]


def test_a_limit_that_has_room_again_soon_is_waited_for_by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Provider() as provider:
            policy = policy_for(provider) + "\nlimit burst: 1 requests per minute by key.id\n"
            async with serving(policy) as served, client(served) as found:
                clock = Ahead(served.router.clock)
                served.router.clock = clock  # type: ignore[assignment]
                waits: list[float] = []

                async def sleep(seconds: float) -> None:
                    waits.append(seconds)
                    clock.ahead_s += seconds + 0.01

                monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
                for _ in range(2):
                    answer = await found.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
                    assert answer.choices[0].message.content == "hello"
                assert len(provider.received) == 2
                assert len(served.log.seen) == 3
                (waited_s,) = waits
                assert 30 < waited_s < 70, "as long as `retry-after-ms` said, and not the SDK's own half second"

    run(scenario)


# --- streams --------------------------------------------------------------------------------------


def test_comments_and_empty_chunks_are_signs_of_life_and_no_more() -> None:
    alive = [b": OPENROUTER PROCESSING\n\n", say.event(""), b": ping\n\n"]
    nothing = json.loads(say.usage_event()[6:])
    nothing.pop("usage")
    alive.append(b"data: " + json.dumps(nothing).encode() + b"\n\n")
    texts = [piece for text in ("Hel", "lo") for piece in (*alive, say.event(text))]

    def check(said: list[object]) -> None:
        assert text_of(said) == "Hello"
        assert not any(isinstance(chunk, Exception) for chunk in said)

    streamed(say.sse([*alive, *texts, say.event(finish="stop"), say.DONE]), check)


@pytest.mark.parametrize("end", ["end", "fin"])
def test_a_stream_without_its_last_word_is_whole_when_it_said_why_it_ended(end: str) -> None:
    def check(said: list[object]) -> None:
        assert text_of(said) == "hello"
        assert said[-1].choices[0].finish_reason == "stop"  # type: ignore[attr-defined]

    streamed(say.sse(say.events("hello", usage=None, done=False), end=end), check)


def test_usage_is_told_only_to_those_who_ask() -> None:
    def unasked(said: list[object]) -> None:
        assert all(chunk.choices for chunk in said)  # type: ignore[attr-defined]
        assert all(chunk.usage is None for chunk in said)  # type: ignore[attr-defined]

    def asked(said: list[object]) -> None:
        assert [chunk.usage is not None for chunk in said] == [False] * (len(said) - 1) + [True]  # type: ignore[attr-defined]
        assert said[-1].choices == []  # type: ignore[attr-defined]
        assert said[-1].usage.total_tokens == 12  # type: ignore[attr-defined]

    streamed(say.stream("hello"), unasked)
    streamed(say.stream("hello"), unasked, stream_options={"include_usage": False})
    streamed(say.stream("hello"), asked, stream_options={"include_usage": True})


ARGUMENTS = (
    '{"city": "Zürich \\"HB\\"", "größe": 1.50, "note": "tab\\tand \\u00e9 and 😀", "deep": {"a": [1, 2.0e3, null]}}'
)


def call(number: int, arguments: str, name: str | None = None) -> bytes:
    function = {"arguments": arguments, **({} if name is None else {"name": name})}
    piece = {
        "index": number,
        "function": function,
        **({} if name is None else {"id": f"call_{number}", "type": "function"}),
    }
    chunk = json.loads(say.event()[6:])
    chunk["choices"][0]["delta"] = {"tool_calls": [piece]}
    return b"data: " + json.dumps(chunk, ensure_ascii=number % 2 == 0).encode() + b"\n\n"


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("cut", [5, 100_000])
def test_arguments_of_tools_arrive_in_pieces_and_are_whole_to_the_byte(size: int, cut: int) -> None:
    pieces = [ARGUMENTS[place : place + size] for place in range(0, len(ARGUMENTS), size)]
    calls = [call(0, "", "weather"), call(1, "", "time")]
    for piece in pieces:
        calls += [call(0, piece), call(1, piece)]
    data = b"".join(
        [say.event("", role="assistant"), *calls, say.event(finish="tool_calls"), say.usage_event(), say.DONE]
    )
    script = say.sse([data[place : place + cut] for place in range(0, len(data), cut)])

    def check(said: list[object]) -> None:
        joined = {0: "", 1: ""}
        names = []
        for chunk in said:
            for choice in chunk.choices:  # type: ignore[attr-defined]
                for asked in choice.delta.tool_calls or ():
                    joined[asked.index] += asked.function.arguments or ""
                    names += [asked.function.name] if asked.function.name else []
        assert names == ["weather", "time"]
        assert joined == {0: ARGUMENTS, 1: ARGUMENTS}
        assert said[-1].choices[0].finish_reason == "tool_calls"  # type: ignore[attr-defined]

    streamed(script, check)


def test_several_answers_at_once_are_kept_apart() -> None:
    chunks = [say.event("", role="assistant", index=index) for index in (0, 1)]
    chunks += [say.event(text, index=index) for text in ("one ", "two") for index in (1, 0)]
    chunks += [
        say.event(finish="stop", index=1),
        say.event("!", index=0),
        say.event(finish="length", index=0),
        say.DONE,
    ]

    def check(said: list[object]) -> None:
        texts, finishes = {0: "", 1: ""}, {}
        for chunk in said:
            for choice in chunk.choices:  # type: ignore[attr-defined]
                texts[choice.index] += choice.delta.content or ""
                if choice.finish_reason:
                    finishes[choice.index] = choice.finish_reason
        assert texts == {0: "one two!", 1: "one two"}
        assert finishes == {0: "length", 1: "stop"}

    streamed(say.sse(chunks), check, n=2)


def test_one_of_several_answers_missing_its_end_is_a_cut() -> None:
    def check(said: list[object]) -> None:
        assert isinstance(said[-1], openai.APIError)

    chunks = [say.event("a", index=0), say.event("b", index=1), say.event(finish="stop", index=0)]
    streamed(say.sse(chunks, end="fin"), check, n=2)


LOGPROBS = {
    "content": [{"token": "Hel", "logprob": -0.123456789012345, "bytes": [72, 101, 108],
                 "top_logprobs": [{"token": "Hel", "logprob": -1e-9, "bytes": None}]}],
    "refusal": None,
}  # fmt: skip


def test_logprobs_pass_as_they_are() -> None:
    chunk = json.loads(say.event("Hel")[6:])
    chunk["choices"][0]["logprobs"] = LOGPROBS
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n", say.event(finish="stop"), say.DONE]

    def check(said: list[object]) -> None:
        assert said[0].choices[0].logprobs.model_dump() == LOGPROBS  # type: ignore[attr-defined]

    streamed(say.sse(events), check, logprobs=True, top_logprobs=1)

    whole = json.loads(say.answer())
    whole["choices"][0]["logprobs"] = LOGPROBS

    async def scenario() -> None:
        async with (
            Provider(say.whole(200, json.dumps(whole).encode(), say.JSON)) as provider,
            routed(provider) as served,
        ):
            for answer in await both(served, logprobs=True, top_logprobs=1):
                assert answer.choices[0].logprobs.model_dump() == LOGPROBS  # type: ignore[attr-defined]
            assert provider.received[0].json["top_logprobs"] == 1

    run(scenario)


def test_a_finish_nobody_has_heard_of_passes() -> None:
    def check(said: list[object]) -> None:
        assert said[-1].choices[0].finish_reason == "eos_token"  # type: ignore[attr-defined]

    streamed(say.sse([*HEL, say.event(finish="eos_token"), say.DONE]), check)


def several(*checks: Callable[[], Awaitable[None]]) -> None:
    """Run scenarios one after the other."""
    for check in checks:
        run(check)


def test_the_sdks_accumulator_and_its_raw_face_work_too() -> None:
    async def accumulated() -> None:
        async with Provider(say.stream("Hel", "lo")) as provider, routed(provider) as served, client(served) as found:
            async with found.chat.completions.stream(model="m", messages=HELLO) as events:  # type: ignore[arg-type]
                final = await events.get_final_completion()
            assert final.choices[0].message.content == "Hello"

    async def raw() -> None:
        async with Provider(say.stream("hello")) as provider, routed(provider) as served, client(served) as found:
            create = found.chat.completions.with_streaming_response.create
            async with create(model="m", messages=HELLO, stream=True) as response:  # type: ignore[arg-type]
                assert response.headers["content-type"].startswith("text/event-stream")
                lines = [line async for line in response.iter_lines() if line]
            assert lines[-1] == "data: [DONE]"

    several(accumulated, raw)
