"""Watching streams: right however the bytes are cut, and never fooled by what an answer says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire import errors, sse
from runtime.wire.sse import Head, Splitter, Watch, clean, data, events, is_usage_only, terminal_error
from runtime.wire.usage import Usage


def chunk(delta: object = None, finish: object = None, index: int = 0, **top: object) -> dict[str, Any]:
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice], **top}


def event(value: object, end: str = "\n") -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}{end}{end}".encode()


def watched(*parts: bytes, choices: int = 1) -> Watch:
    watch = Watch(choices)
    for part in parts:
        watch.feed(part)
    watch.end()
    return watch


def state(watch: Watch) -> tuple[object, ...]:
    seen = watch.content_seen, watch.finished, watch.done_seen, watch.usage
    return *seen, watch.finish_reason, watch.error, watch.malformed, watch.head


USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
DONE = event("[DONE]")


def test_a_plain_stream_is_complete() -> None:
    watch = watched(
        event(chunk({"role": "assistant"})), event(chunk({"content": "hi"})), event(chunk(finish="stop")), DONE
    )
    assert (watch.content_seen, watch.finished, watch.done_seen, watch.finish_reason) == (True, True, True, "stop")
    assert watch.head == Head("c1", "chat.completion.chunk", 7, "m")
    assert (watch.error, watch.malformed, watch.usage) == (None, False, None)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning": "x"},
        {"reasoning_content": "x"},
        {"reasoning_details": [{"text": "x"}]},
        {"tool_calls": [{"index": 0}]},
        {"function_call": {"name": "f"}},
        {"refusal": "no"},
        {"audio": {"data": "x"}},
        {"images": [{}]},
        {"content": [{"type": "text", "text": "x"}]},
    ],
)
def test_whatever_is_for_the_reader_is_content(delta: object) -> None:
    assert watched(event(chunk(delta))).content_seen


@pytest.mark.parametrize(
    "delta",
    [None, {}, {"role": "assistant"}, {"role": "assistant", "content": ""}, {"content": None, "tool_calls": []}],
)
def test_roles_and_empty_texts_are_not_content(delta: object) -> None:
    assert not watched(event(chunk(delta))).content_seen


def test_a_completions_stream_has_its_content_in_text() -> None:
    watch = watched(event({"choices": [{"index": 0, "text": "x", "finish_reason": None}]}))
    assert watch.content_seen


def test_a_stream_without_done_is_complete_by_its_finish_reason() -> None:
    watch = watched(event(chunk({"content": "x"})), event(chunk({}, "length", usage=USAGE)))
    assert watch.finished
    assert not watch.done_seen
    assert watch.usage == Usage(5, 3)


def test_a_stream_with_neither_is_cut() -> None:
    assert not watched(event(chunk({"content": "x"}))).finished
    assert not watched().finished


def test_done_alone_completes() -> None:
    assert watched(event(chunk({"content": "x"})), DONE).finished


def test_with_several_choices_every_one_must_finish() -> None:
    first = event(chunk({"content": "x"})) + event(chunk(finish="stop", index=0))
    assert not watched(first, choices=2).finished
    assert watched(first, event(chunk(finish="length", index=1)), choices=2).finished
    assert watched(first, event(chunk(finish="length", index=1)), choices=2).finish_reason == "stop"
    assert watched(first, DONE, choices=2).finished


@pytest.mark.parametrize(
    "usage_event",
    [
        chunk({}, "stop", usage=USAGE),
        {"id": "c1", "choices": [], "usage": USAGE},
        {"choices": None, "usage": USAGE},
        {"usage": USAGE},
        {"choices": [], "x_groq": {"usage": USAGE}},
    ],
)
def test_usage_is_found_wherever_it_stands(usage_event: dict[str, Any]) -> None:
    assert watched(event(chunk({"content": "x"})), event(usage_event), DONE).usage == Usage(5, 3)


def test_usage_on_every_chunk_ends_with_the_last() -> None:
    parts = [event(chunk({"content": "x"}, usage={**USAGE, "completion_tokens": n})) for n in range(1, 6)]
    assert watched(*parts).usage == Usage(5, 5)


def test_the_parts_of_usage_are_read_under_all_names() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    assert watched(event({"usage": {**USAGE, **details}})).usage == Usage(5, 3, 4, 2)
    assert watched(event({"usage": {**USAGE, "prompt_cache_hit_tokens": 4}})).usage == Usage(5, 3, 4)
    nulls = {"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}}
    assert watched(event({"usage": {**USAGE, **nulls}})).usage == Usage(5, 3)
    responses = {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 1}}
    assert watched(event({"usage": responses})).usage == Usage(5, 3, 1)


@pytest.mark.parametrize(
    "usage", [None, {}, [], "x", {"prompt_tokens": "5"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_usage_that_counts_nothing_is_none(usage: object) -> None:
    assert watched(event(chunk({"content": "x"}, usage=usage)), event({"choices": [], "usage": usage})).usage is None


SPEECH = (
    '","finish_reason":"stop","usage":{"prompt_tokens":1},"error":{"message":"x"}',
    "data: [DONE]\n\n",
    "[DONE]",
    '\n\ndata: {"error":{"message":"x"}}\n\n',
    "event: error\ndata: {}\n\n",
    '\\"finish_reason\\": \\"stop\\"',
)


@pytest.mark.parametrize("speech", SPEECH)
def test_an_answer_that_speaks_of_the_protocol_fools_no_one(speech: str) -> None:
    watch = watched(
        event(chunk({"content": "x"})), event(chunk({"content": speech})), event(chunk({"content": speech}))
    )
    assert (watch.finished, watch.done_seen, watch.usage, watch.error, watch.malformed) == (
        False,
        False,
        None,
        None,
        False,
    )


def test_keys_written_with_escapes_are_still_read() -> None:
    watch = watched(event(chunk({"content": "x"})), event('{"choices":[{"finish\\u005freason":"stop"}]}'))
    assert watch.finished


def test_an_empty_finish_reason_is_none() -> None:
    assert not watched(event(chunk({"content": "x"}, "")), event(chunk({"content": "y"}, ""))).finished


@pytest.mark.parametrize("error", [{"message": "x"}, "text", 5, True, ["x"]])
def test_a_top_level_error_is_an_error_and_the_stream_is_not_complete(error: object) -> None:
    watch = watched(event(chunk({"content": "x"})), event({"error": error}), DONE)
    assert watch.error == error
    assert not watch.finished


def test_a_null_error_is_none() -> None:
    watch = watched(event(chunk({"content": "x"}, error=None)), event(chunk({}, "stop", error=None)))
    assert watch.error is None
    assert watch.finished


def test_a_finish_reason_of_error_is_an_error() -> None:
    assert watched(event(chunk({"content": "x"})), event(chunk({}, "error")), DONE).error is not None


def test_an_error_event_is_an_error_whatever_its_data() -> None:
    watch = watched(event(chunk({"content": "x"})), b'event: error\ndata: {"message": "x"}\n\n')
    assert watch.error == {"message": "x"}
    assert watched(b'event: error\ndata: {"error": {"message": "y"}}\n\n').error == {"message": "y"}


@pytest.mark.parametrize("text", ["{", "nope", "[1]", '"x"', "5", "null", "{} {}", "[" * 50_000])
def test_events_that_are_not_json_objects_are_malformed(text: str) -> None:
    assert watched(event(text)).malformed
    assert watched(event(chunk({"content": "x"})), event(text)).malformed


def test_half_an_emoji_is_content_not_damage() -> None:
    watch = watched(
        event('{"choices":[{"delta":{"content":"\\ud83d"}}]}'), event('{"choices":[{"delta":{"content":"\\ude00"}}]}')
    )
    assert watch.content_seen
    assert not watch.malformed


@pytest.mark.parametrize(
    "noise",
    [
        b": comment\n\n",
        b":\n\n",
        b"event: ping\n\n",
        b"id: 5\nretry: 5\n\n",
        b"\n\n\n\n",
        b"data:\n\n",
        b"data\n\n",
        b"other: x\n\n",
    ],
)
def test_comments_and_events_without_data_mean_nothing(noise: bytes) -> None:
    parts = [event(chunk({"content": "x"})), noise, event(chunk({}, "stop")), noise, DONE]
    assert state(watched(*parts)) == state(watched(parts[0], parts[2], parts[4]))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("space", ["", " "])
def test_every_line_end_and_spacing_is_understood(end: str, space: str) -> None:
    texts = [json.dumps(chunk({"content": "x"})), json.dumps(chunk({}, "stop", usage=USAGE)), "[DONE]"]
    raw = b"".join(f"data:{space}{text}{end}{end}".encode() for text in texts)
    watch = watched(raw)
    assert (watch.content_seen, watch.finished, watch.done_seen, watch.usage) == (True, True, True, Usage(5, 3))


def test_data_on_several_lines_is_one_event() -> None:
    lines = json.dumps(chunk({}, "stop"), indent=1).splitlines()
    watch = watched(event(chunk({"content": "x"})), b"\n".join(b"data: " + line.encode() for line in lines) + b"\n\n")
    assert watch.finished
    assert not watch.malformed


def test_a_last_event_without_its_empty_line_counts_at_the_end() -> None:
    watch = Watch()
    watch.feed(event(chunk({"content": "x"})) + b"data: [DONE]\n")
    assert not watch.finished
    watch.end()
    assert watch.finished


@pytest.mark.parametrize(
    "value",
    [
        {"choices": 5}, {"choices": [5, None, "x"]}, {"choices": [{"delta": 5, "finish_reason": 5}]},
        {"choices": [{"index": "x"}]},
        {"id": 5, "created": "x"}, {"x_groq": 5}, {"usage": {"prompt_tokens": 1e400}}, {},
        {"choices": [{"index": 10**30, "finish_reason": "stop"}, {"index": -1, "finish_reason": "stop"}]},
    ],
)  # fmt: skip
def test_odd_shapes_are_no_accident(value: dict[str, Any]) -> None:
    watch = watched(event(chunk({"content": "x"})), event(value))
    assert not watch.finished
    assert not watched(event(value)).finished


def test_an_endless_event_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    watch = Watch()
    for _ in range(300):
        watch.feed(b"x" * 10)
    assert watch.malformed
    splitter = Splitter()
    for _ in range(300):
        assert splitter.feed(b"data: xxxx") == b""
    assert splitter.is_overlong
    assert splitter.rest() == b""
    assert splitter.feed(DONE) == b""


# --- laws -----------------------------------------------------------------------------------------

TEXT = st.text('ab"\\{}[]: \né漢😀', max_size=10) | st.sampled_from(SPEECH)
DELTA = st.none() | st.fixed_dictionaries(
    {}, optional={"role": st.just("assistant"), "content": st.none() | TEXT, "refusal": TEXT}
)
FINISH = st.sampled_from((None, None, None, "stop", "length", "", "error"))
CHUNK = st.builds(
    chunk,
    DELTA,
    FINISH,
    st.integers(0, 2),
    usage=st.sampled_from((None, None, USAGE, {"prompt_tokens": 9, "completion_tokens": 1})),
    error=st.sampled_from((None, None, None, None, {"message": "x"})),
)
END = st.sampled_from(("\n", "\n", "\r\n", "\r"))


@st.composite
def event_bytes(draw: st.DrawFn) -> bytes:
    end = draw(END)
    kind = draw(st.sampled_from(("chunk",) * 6 + ("usage", "done", "comment", "ping", "junk", "pretty", "named")))
    value: object = draw(CHUNK)
    if kind == "usage":
        value = {"choices": [], "usage": USAGE}
    if kind in ("comment", "ping", "done", "junk"):
        text = {"comment": ": keep-alive", "ping": "event: ping", "done": "data:[DONE]", "junk": "data: {nope"}[kind]
        return (text + end * 2).encode()
    if kind == "pretty":
        lines = json.dumps(value, indent=1, ensure_ascii=draw(st.booleans())).splitlines()
        return (end.join("data: " + line for line in lines) + end * 2).encode()
    prefix = draw(st.sampled_from(("data: ", "data:"))) if kind == "chunk" else f"event: message{end}data: "
    compact = draw(st.sampled_from(((",", ":"), (", ", ": "))))
    return (prefix + json.dumps(value, ensure_ascii=draw(st.booleans()), separators=compact) + end * 2).encode()


STREAM = st.lists(event_bytes(), max_size=8).map(b"".join)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(raw) + 1) for place in places})
    return [raw[low:high] for low, high in zip([0, *at], [*at, len(raw)], strict=True)]


def reference(raw: bytes, choices: int) -> tuple[object, ...]:
    """The same reading, written to be read: all bytes at once, every event parsed."""
    seen = done = malformed = False
    usage: Usage | None = None
    reason: str | None = None
    error: object = None
    head: Head | None = None
    finished: set[int] = set()
    text = raw.decode().replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if not lines:
            continue
        if lines == ["[DONE]"]:
            done = True
            continue
        try:
            value = json.loads("\n".join(lines))
        except ValueError:
            malformed = True
            continue
        if head is None and "id" in value:
            head = Head(value["id"], value["object"], value["created"], value["model"])
        counts = value.get("usage")
        if counts:
            usage = Usage(counts["prompt_tokens"], counts["completion_tokens"])
        error = error or value.get("error")
        for choice in value["choices"]:
            delta = choice["delta"]
            seen = seen or bool(delta.get("content") or delta.get("refusal"))
            if choice["finish_reason"]:
                finished.add(choice["index"])
                if choice["index"] == 0:
                    reason = choice["finish_reason"]
                if choice["finish_reason"] == "error":
                    error = error or {"message": "the provider failed while answering"}
    complete = error is None and (done or finished >= set(range(choices)))
    return seen, complete, done, usage, reason, error, malformed, head


@given(STREAM, st.integers(1, 3), st.lists(st.integers(0, 10_000), max_size=12))
@pytest.mark.slow
def test_however_a_stream_is_cut_it_reads_as_the_reference_does(raw: bytes, choices: int, places: list[int]) -> None:
    expected = reference(raw, choices)
    assert state(watched(raw, choices=choices)) == expected
    assert state(watched(*cut(raw, places), choices=choices)) == expected


@given(STREAM)
@pytest.mark.slow
def test_byte_by_byte_reads_the_same(raw: bytes) -> None:
    assert state(watched(*(raw[i : i + 1] for i in range(len(raw))))) == state(watched(raw))


@given(STREAM, st.lists(st.integers(0, 10_000), max_size=12))
@pytest.mark.slow
def test_the_splitter_loses_nothing_and_lets_only_whole_events_out(raw: bytes, places: list[int]) -> None:
    splitter = Splitter()
    blocks = [splitter.feed(part) for part in cut(raw, places)]
    assert b"".join(blocks) + splitter.rest() == raw
    for block in blocks:
        assert b"".join(events(block)) == block
        watch = Watch()
        watch.feed(block)
        before = state(watch)
        watch.end()
        assert state(watch) == before


@given(st.binary(max_size=80), st.lists(st.integers(0, 100), max_size=5))
def test_any_bytes_are_survived(raw: bytes, places: list[int]) -> None:
    watched(*cut(raw, places))
    watched(event(chunk({"content": "x"})), *cut(raw, places))
    clean(raw)


# --- what the relay does --------------------------------------------------------------------------


def test_clean_leaves_good_streams_alone() -> None:
    raw = b": hi\n\n" + event(chunk({"content": "id: x\nretry: 5\n\ndata:\n"})) + DONE
    assert clean(raw) == raw
    assert clean(event(chunk())) == event(chunk())


@pytest.mark.parametrize(
    ("sent", "relayed"),
    [
        (b"event: ping\n\n", b""),
        (b"event: ping\ndata:\n\n", b""),
        (b"id: 1\n: hello\n\n", b": hello\n\n"),
        (b"retry: 5\n\n" + DONE, DONE),
        (b"id: 1\ndata: {}\n\n", b"data: {}\n\n"),
        (DONE + b"id: 1\ndata: {}\n\n", DONE + b"data: {}\n\n"),
        (b'event: error\ndata: {"error":1}\n\n', b'event: error\ndata: {"error":1}\n\n'),
        (b"data: [DONE]\r\n\r\n", b"data: [DONE]\n\n"),
        (b"data\n\n" + DONE, DONE),
    ],
)
def test_clean_drops_what_kills_an_sdk(sent: bytes, relayed: bytes) -> None:
    assert clean(sent) == relayed


@given(STREAM)
@pytest.mark.slow
def test_clean_changes_nothing_that_is_watched(raw: bytes) -> None:
    assert state(watched(clean(raw))) == state(watched(raw))


def test_only_the_usage_chunk_is_the_usage_chunk() -> None:
    assert is_usage_only(event({"choices": [], "usage": USAGE}))
    assert is_usage_only(event({"id": "x", "choices": [], "usage": USAGE}, "\r\n"))
    for other in (chunk({"content": "x"}, usage=USAGE), {"choices": [], "usage": None}, {"choices": []}, chunk()):
        assert not is_usage_only(event(other))
    assert not is_usage_only(event({"choices": [], "usage": USAGE, "error": {"message": "x"}}))
    assert not is_usage_only(event(chunk({"content": '"usage" "choices":[]'})))
    assert not is_usage_only(DONE)
    assert not is_usage_only(b'data: "usage"\n\n')


def test_the_in_band_error_is_one_event_that_ends_a_stream() -> None:
    head = Head("c1", "chat.completion.chunk", 7, "m")
    raw = terminal_error(head, errors.problem(502, "the provider broke off"), "openrouter", "acme")
    found = json.loads(data(raw) or b"")
    assert (found["id"], found["created"], found["model"], found["provider"]) == ("c1", 7, "m", "acme")
    assert found["error"]["code"] == 502
    assert found["error"]["metadata"] == {"error_type": "provider_unavailable"}
    assert found["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    watch = watched(event(chunk({"content": "x"})), raw)
    assert watch.error is not None
    assert not watch.finished


def test_the_in_band_error_fits_completions_and_streams_without_a_head() -> None:
    problem = errors.problem(504, "too late")
    text = json.loads(data(terminal_error(Head("c", "text_completion"), problem)) or b"")
    assert text["choices"] == [{"index": 0, "text": "", "finish_reason": "error"}]
    assert json.loads(data(terminal_error(None, problem)) or b"")["object"] == "chat.completion.chunk"
