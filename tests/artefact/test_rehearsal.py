"""A plan carries the policy's own tests, and whoever takes it over runs them."""

from __future__ import annotations

from handlers.cli.request_file import Written
from runtime.decision.book import Book
from runtime.decision.rehearsal import baseline_call, failures
from tests.serve.desk import compiled

POLICY = """
provider p { url "sim://p" }
model m { serve p "m" }
model n { serve p "n" }
policy chat {
  late: when time.hour >= 18 -> n
  otherwise -> m
}
test "by day" { given time.hour 9  expect m }
test "by night" { given time.hour 20  expect m }
test "out of reach" { down p  expect attempts <= 2 }
"""


def test_the_tests_that_fail_are_named_with_what_happens_instead() -> None:
    (failed,) = failures(Book(compiled(POLICY)))
    assert failed.test.name == "by night"
    assert failed.message.startswith("`expect m` fails: the order is n@p")


def test_the_baseline_is_what_explain_takes_for_an_unsaid_request() -> None:
    written, baseline = Written("").call, baseline_call()
    assert (written.api, written.path, written.headers, written.key) == (
        baseline.api, baseline.path, baseline.headers, baseline.key,
    )  # fmt: skip
    assert (written.client_ip, written.now_s, written.region) == (baseline.client_ip, baseline.now_s, baseline.region)
    assert written.body == baseline.body
    assert written.raw == baseline.raw
