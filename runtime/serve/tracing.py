"""Traces by OpenTelemetry's conventions for HTTP servers and GenAI clients; loaded only where they are asked for.

A request is one span of the server's kind, and each attempt one of the client's below it, made when the request is
over from what was recorded. Providers are told the request's span as their parent, which needs no span in advance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from router_dsl.plan import NANO
from runtime.dispatch.record import Attempt, Record
from runtime.serve.router import Router
from runtime.serve.visit import Visit

OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}
"""The conventions' words for interfaces; every other one is a `chat`."""

# Of a span's name, in which the model is the client's text.
MAX_MODEL_CHARS = 100


class Tracing:
    """Makes the spans of requests.

    Args:
        provider: Where they go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("pointsman")
        self._parents = TraceContextTextMapPropagator()

    @classmethod
    def of_environment(cls) -> Tracing:
        """Return what the standard `OTEL_*` variables of this process ask for: OTLP over HTTP, or the console."""
        name = os.environ.get("OTEL_SERVICE_NAME") or "pointsman"
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        is_console = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() == "console"
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter() if is_console else OTLPSpanExporter()))
        return cls(provider)

    def begin(self, visit: Visit, headers: dict[str, str]) -> Span:
        """Begin a request's span below the client's, if it named one, and name it to the providers as theirs."""
        span = self._tracer.start_span(
            f"{visit.method} {visit.path}",
            self._parents.extract(headers),
            SpanKind.SERVER,
            start_time=_ns(visit.began_unix_s),
        )
        self._parents.inject(headers, set_span_in_context(span))
        return span

    def end(self, span: Span, visit: Visit, router: Router) -> None:
        """End it, with its attempts below it."""
        if span.is_recording():
            context = set_span_in_context(span)
            record = visit.record or Record()
            for attempt in record.attempts:
                began_ns = _ns(visit.began_unix_s + attempt.started_s)
                said = dict(_of_attempt(attempt, visit, record, router))
                name = f"{said['gen_ai.operation.name']} {said['gen_ai.request.model']}"
                child = self._tracer.start_span(name, context, SpanKind.CLIENT, said, start_time=began_ns)
                if attempt.outcome not in ("ok", "cancelled"):
                    child.set_status(Status(StatusCode.ERROR, attempt.outcome))
                ended_s = attempt.started_s if attempt.ended_s is None else attempt.ended_s
                child.end(_ns(visit.began_unix_s + ended_s))
            span.set_attributes(dict(_of_request(visit, record)))
            if visit.status >= 500 or visit.end == "cut":
                span.set_status(Status(StatusCode.ERROR, visit.end))
        span.end()

    def close(self) -> None:
        """Send what has not been sent; waits for that, for some seconds at most."""
        self._provider.shutdown()


def _of_request(visit: Visit, record: Record) -> Iterator[tuple[str, AttributeValue]]:
    yield "http.request.method", visit.method
    yield "http.route", visit.path
    yield "http.response.status_code", visit.status
    yield "gen_ai.operation.name", OPERATIONS.get(visit.api or "", "chat")
    if visit.model is not None:
        yield "gen_ai.request.model", visit.model[:MAX_MODEL_CHARS]
    if visit.stream is not None:
        yield "gen_ai.request.stream", visit.stream
    if visit.code is not None:
        yield "error.type", visit.code
    policy, _, digest = visit.policy.rpartition("@")
    for name, value in (
        ("request_id", visit.request_id),
        ("policy", policy),
        ("digest", digest),
        ("rule", visit.rule),
        ("endpoint", visit.endpoint),
        ("tenant", visit.tenant),
        ("end", visit.end),
        ("cost_usd", None if record.cost_nusd is None else record.cost_nusd / NANO),
    ):
        if value is not None:
            yield f"pointsman.{name}", value


def _of_attempt(attempt: Attempt, visit: Visit, record: Record, router: Router) -> Iterator[tuple[str, AttributeValue]]:
    endpoint = next(each for each in router.book.endpoints if each.id == attempt.endpoint)
    provider = router.book.program.providers[endpoint.provider]
    yield "gen_ai.operation.name", OPERATIONS.get(visit.api or "", "chat")
    yield "gen_ai.provider.name", provider.name
    yield "gen_ai.request.model", endpoint.upstream
    url = urlsplit(provider.url)
    if url.hostname:
        yield "server.address", url.hostname
    if attempt.first_token_s is not None:
        yield "gen_ai.response.time_to_first_chunk", attempt.first_token_s - attempt.started_s
    if attempt.usage is not None:
        yield "gen_ai.usage.input_tokens", attempt.usage.prompt
        yield "gen_ai.usage.output_tokens", attempt.usage.completion
        if attempt.usage.cached:
            yield "gen_ai.usage.cache_read.input_tokens", attempt.usage.cached
        if attempt.usage.reasoning:
            yield "gen_ai.usage.reasoning.output_tokens", attempt.usage.reasoning
    if attempt.outcome == "ok" and attempt.endpoint == record.endpoint and record.finish_reason is not None:
        yield "gen_ai.response.finish_reasons", (record.finish_reason,)
    if attempt.status is not None:
        yield "http.response.status_code", attempt.status
    if attempt.outcome != "ok":
        yield "error.type", attempt.outcome
    yield "pointsman.endpoint", attempt.endpoint
    yield "pointsman.role", attempt.role
    if attempt.cost_nusd is not None:
        yield "pointsman.cost_usd", attempt.cost_nusd / NANO


def _ns(unix_s: float) -> int:
    return int(unix_s * NANO)
