"""The tables of what failures mean."""

from __future__ import annotations

import pytest

from router_dsl.plan import DEFAULT_RETRY_ON
from runtime.flow.verdict import blame, class_of_status, final_status, judge


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, "setup"), (400, "4xx"), (401, "setup"), (402, "setup"), (403, "setup"), (404, "setup"), (405, "setup"),
        (406, "4xx"), (408, "timeout"), (409, "5xx"), (410, "setup"), (412, "setup"), (413, "4xx"), (415, "4xx"),
        (422, "4xx"), (425, "5xx"), (429, "429"), (431, "4xx"), (451, "4xx"), (499, "5xx"), (500, "5xx"), (501, "5xx"),
        (503, "5xx"), (524, "5xx"), (529, "5xx"), (599, "5xx"),
    ],
)  # fmt: skip
def test_every_status_has_a_class(status: int, kind: str) -> None:
    assert class_of_status(status) == kind


@pytest.mark.parametrize("why", ["connect", "lost", "cut", "empty", "malformed", "error", "timeout"])
def test_by_default_every_failure_may_be_tried_again(why: str) -> None:
    assert judge(why, None, DEFAULT_RETRY_ON) == "again"  # type: ignore[arg-type]
    assert judge(why, None, ()) == "next target"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "retry_on", "verdict"),
    [
        (503, DEFAULT_RETRY_ON, "again"),
        (503, ("429",), "next target"),
        (503, ("503",), "again"),
        (500, ("503",), "next target"),
        (429, DEFAULT_RETRY_ON, "again"),
        (429, ("5xx",), "next target"),
        (429, ("4xx",), "again"),
        (408, DEFAULT_RETRY_ON, "again"),
        (409, DEFAULT_RETRY_ON, "again"),
        (409, ("4xx",), "again"),
        (401, DEFAULT_RETRY_ON, "elsewhere"),
        (404, (), "elsewhere"),
        (404, ("404",), "again"),
        (404, ("4xx",), "elsewhere"),
        (400, DEFAULT_RETRY_ON, "refuse"),
        (400, ("400",), "again"),
        (422, ("4xx",), "again"),
        (302, DEFAULT_RETRY_ON, "elsewhere"),
    ],
)
def test_statuses_are_judged_by_class_and_by_name(status: int, retry_on: tuple[str, ...], verdict: str) -> None:
    assert judge("status", status, retry_on) == verdict


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([], 503),
        ([("status", 429), ("status", 429)], 429),
        ([("status", 429), ("status", 500)], 502),
        ([("status", 500), ("status", 429)], 503),
        ([("status", 500), ("timeout", None)], 504),
        ([("timeout", None), ("connect", None)], 503),
        ([("lost", None)], 502),
        ([("empty", None)], 502),
        ([("status", 401)], 502),
        ([("status", 524)], 504),
        ([("status", 504)], 504),
        ([("status", 408)], 504),
        ([("status", 529)], 503),
        ([("status", 503)], 503),
    ],
)
def test_the_last_failure_gives_the_status_unless_all_were_429(
    failures: list[tuple[str, int | None]], status: int
) -> None:
    assert final_status(failures) == status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "status", "kind"),
    [
        ("ok", 200, None),
        ("cancelled", 200, None),
        ("status 400", 400, None),
        ("status 429", 429, "429"),
        ("status 503", 503, "5xx"),
        ("status 401", 401, "setup"),
        ("stall", 200, "stall"),
        ("connect", None, "connect"),
    ],
)
def test_an_endpoint_answers_for_its_own_failures_only(outcome: str, status: int | None, kind: str | None) -> None:
    assert blame(outcome, status) == kind
