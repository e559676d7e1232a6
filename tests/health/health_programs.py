"""Programs for the tests of health: endpoints at providers, with or without a limit."""

from __future__ import annotations

from collections.abc import Sequence

from router_dsl import plan


def program(limits: Sequence[int | None]) -> plan.Program:
    """Return a program with one provider for each limit and one endpoint at each."""
    providers = tuple(
        plan.Provider(f"p{i}", "http://127.0.0.1/v1", None, None, None, "openai", "bearer", limit, None, None, (), ())
        for i, limit in enumerate(limits)
    )
    endpoints = tuple(
        plan.Endpoint(f"m@p{i}", "m", i, None, "m", None, None, None, None, None, None, None, False, None, (), 1.0)
        for i in range(len(limits))
    )
    models = (plan.Model("m", (), None, None, tuple(range(len(limits)))),)
    return plan.Program("t", providers, models, endpoints, (), (), (), (), (), (), ())
