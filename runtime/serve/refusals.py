"""Why a request is asked of nobody, or was answered by nobody, as the error that says so."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.decision.book import Book
from runtime.decision.route import Route
from runtime.dispatch.record import Record
from runtime.wire import errors, unavailable
from runtime.wire.errors import Problem
from runtime.wire.unavailable import Failed


def unknown_policy(book: Book, asked: str) -> Problem:
    """Return the error for a policy that there is not."""
    names = ", ".join(f"`@{name}`" for name in book.policies)
    said = f"there is no policy `@{errors.printable(asked)}`; there are {names}"
    return errors.bad_request(said, "model", "policy_not_found")


def models_of(route: Route, model: str) -> Sequence[str]:
    """Return the models that a client named; `model` is what its body says."""
    return (model,) if route.wishes is None else route.wishes.named.models


def no_way(book: Book, route: Route, model: str) -> Problem:
    """Return the error for a route that has nothing to try; `model` is what the body says."""
    if route.why == "rejected":
        return errors.rejected(route.status, route.message)
    models = models_of(route, model) or (model,)
    if route.why == "inexpressible":
        return errors.problem(route.status, route.message, code="unsupported_parameter", param=route.param)
    if route.why == "model_not_found":
        return unavailable.unknown_model(*models)
    excluded = [(book.endpoints[each.endpoint].id, each.by) for each in route.excluded]
    return unavailable.no_endpoints(route.message, excluded, models)


def exhausted(record: Record) -> Problem:
    """Return the error for a plan whose attempts have all failed, or could not go on."""
    if record.is_stopped:
        return errors.stopping(record.retry_after_s)
    tried = [Failed(attempt.endpoint, attempt.outcome, attempt.status) for attempt in record.attempts]
    return unavailable.exhausted(record.status, tried, record.retry_after_s)
