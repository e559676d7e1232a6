"""Traces: the client's goes on through the router to the provider, and every attempt is a span of it."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from runtime.dispatch.transport import Outgoing, Response
from runtime.serve.router import Router
from runtime.serve.settings import SettingError, Settings
from runtime.serve.tracing import Tracing
from tests.serve.desk import HELLO, Desk, Events, compiled
from tests.serve.fakes import FakeResponse

POLICY = """
provider one  { url "https://api.one.example/v1"  key env.ONE }
provider sad  { url "https://api.sad.example/v1"  key env.ONE }
model small { serve one "vendor/up-small"  price $1 in $2 out }
model shaky { serve sad "vendor/up-shaky" }
policy chat { otherwise -> shaky else small by order }
"""
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}'
)
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Providers:
    """One that answers and one that fails; keeps what they are sent."""

    def __init__(self) -> None:
        self.seen: list[Outgoing] = []

    async def send(self, request: Outgoing) -> Response:
        self.seen.append(request)
        if "sad" in request.url:
            return FakeResponse(503, (), b"{}")
        return FakeResponse(200, ((b"content-type", b"application/json"),), ANSWER)

    async def aclose(self) -> None:
        pass

    def drop_idle(self) -> None:
        pass


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def traced(exporter: InMemorySpanExporter) -> tuple[Desk, Providers]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    providers = Providers()
    desk = Desk(POLICY, environ={"ONE": "k"}, transports={"openai": providers})
    desk.router.tracing = Tracing(provider)
    return desk, providers


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_a_clients_trace_goes_on_to_the_provider(exporter: InMemorySpanExporter) -> None:
    desk, providers = traced(exporter)
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}
    assert desk.post({"model": "small", "messages": HELLO}, headers=sent).status == 200
    *attempts, request = exporter.get_finished_spans()
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert (ids(request)[0], f"{request.parent.span_id:016x}") == (TRACE, PARENT)
    for each in providers.seen:
        headers = dict(each.headers)
        assert headers[b"traceparent"].decode() == f"00-{TRACE}-{ids(request)[1]}-01"
        assert headers[b"tracestate"] == b"a=b"
    assert [span.kind for span in attempts] == [SpanKind.CLIENT] * len(attempts)
    assert all(span.parent is not None and f"{span.parent.span_id:016x}" == ids(request)[1] for span in attempts)


def test_attempts_and_requests_say_what_the_conventions_ask_for(exporter: InMemorySpanExporter) -> None:
    desk, _ = traced(exporter)
    desk.post({"model": "small", "messages": HELLO})
    *failed, answered, request = exporter.get_finished_spans()
    assert answered.name == "chat vendor/up-small"
    assert answered.attributes is not None
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "one", "gen_ai.request.model": "vendor/up-small",
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.response.finish_reasons": ("stop",), "server.address": "api.one.example",
        "http.response.status_code": 200, "pointsman.endpoint": "small@one", "pointsman.role": "plan",
        "pointsman.cost_usd": 0.000011,
    }  # fmt: skip
    assert {name: answered.attributes[name] for name in expected} == expected
    for span in failed:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "status 503"
    assert request.name == "POST /v1/chat/completions"
    assert request.attributes is not None
    assert request.attributes["pointsman.rule"] == "otherwise"
    assert request.attributes["http.response.status_code"] == 200
    assert request.status.status_code is StatusCode.UNSET
    times = [request.start_time, answered.start_time, answered.end_time, request.end_time]
    assert times == sorted(times)  # type: ignore[type-var]
    assert not any("Hello" in str(span.attributes) for span in exporter.get_finished_spans())


def test_what_the_client_does_not_sample_is_not_recorded_and_the_provider_is_told(
    exporter: InMemorySpanExporter,
) -> None:
    desk, providers = traced(exporter)
    desk.post({"model": "small", "messages": HELLO}, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert exporter.get_finished_spans() == ()
    assert dict(providers.seen[0].headers)[b"traceparent"].endswith(b"-00")


@pytest.mark.parametrize("broken", ["", "garbage", f"00-{'0' * 32}-{PARENT}-01", "\xff"])
def test_a_broken_trace_begins_a_new_one(exporter: InMemorySpanExporter, broken: str) -> None:
    desk, _ = traced(exporter)
    assert desk.post({"model": "small", "messages": HELLO}, headers={"traceparent": broken}).status == 200
    assert exporter.get_finished_spans()[-1].parent is None


def test_requests_that_fail_here_are_traced_too(exporter: InMemorySpanExporter) -> None:
    desk, _ = traced(exporter)
    desk.post(raw=b"{")
    (request,) = exporter.get_finished_spans()
    assert request.attributes is not None
    assert request.attributes["error.type"] == "invalid_json"
    desk.get("/v1/models")
    assert len(exporter.get_finished_spans()) == 1


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_standard_variables_ask_for_traces(environ: dict[str, str], wanted: bool) -> None:
    assert Settings.read(environ).traces is wanted


def test_traces_without_their_package_refuse_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "runtime.serve.tracing", raising=False)
    with pytest.raises(SettingError, match=r"pip install pointsman\[otel\]"):
        Router.open(compiled(), Settings(traces=True), {}, Events())
    with pytest.raises(SettingError, match="OTEL_TRACES_EXPORTER"):
        Settings.read({"OTEL_TRACES_EXPORTER": "zipkin"})
