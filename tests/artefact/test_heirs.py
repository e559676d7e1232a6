"""What a router knows goes on in the router of the next plan: health, limits, connections, budgets."""

from __future__ import annotations

from runtime.decision.book import Book
from runtime.limits.limits import Need, Refusal
from tests.serve.desk import Desk, compiled

PROVIDERS = 'provider p { url "sim://p"  limit 2 concurrent }\nprovider q { url "sim://q" }\n'
MODELS = 'model m { serve p "m"  serve q "m" }\n'
LIMIT = "limit calls: 2 requests per hour by user\n"
POLICY = PROVIDERS + MODELS + LIMIT + "policy chat { otherwise -> m }"


def succeeded(desk: Desk, text: str) -> Desk:
    heir = Desk(POLICY)
    heir.router = desk.router.succeed(Book(compiled(text)))
    return heir


def test_endpoints_that_stay_keep_their_health_wherever_they_stand_now() -> None:
    desk = Desk(POLICY)
    for _ in range(10):
        desk.router.health.begin(1, 1.0).failure(1.0, "5xx")
    assert not desk.router.health.at(1.1).in_service(1)
    turned = PROVIDERS + 'model m { serve q "m"  serve p "m" }\n' + LIMIT + "policy chat { otherwise -> m }"
    heir = succeeded(desk, turned).router
    assert [endpoint.id for endpoint in heir.book.endpoints] == ["m@q", "m@p"]
    assert not heir.health.at(1.1).in_service(0)
    assert heir.health.at(1.1).in_service(1)


def test_an_endpoint_that_moved_or_is_asked_otherwise_begins_anew() -> None:
    for changed in (POLICY.replace("sim://q", "sim://elsewhere"), POLICY.replace('serve q "m"', 'serve q "m2"')):
        desk = Desk(POLICY)
        for _ in range(10):
            desk.router.health.begin(1, 1.0).failure(1.0, "5xx")
        assert succeeded(desk, changed).router.health.at(1.1).in_service(1)


def test_attempts_in_flight_count_for_the_next_plan_and_end_there() -> None:
    desk = Desk(POLICY)
    permits = [desk.router.health.begin(0, 1.0), desk.router.health.begin(0, 1.0)]
    heir = succeeded(desk, POLICY.replace("limit 2", "limit 3")).router
    assert heir.health.at(1.1).in_service(0)
    permits.append(heir.health.begin(0, 1.1))
    assert not heir.health.at(1.2).in_service(0)
    for permit in permits:
        permit.success(1.3)
    assert heir.health.at(1.4).load(0) == 0.0


def test_a_limit_that_a_provider_gets_holds_for_endpoints_that_stay() -> None:
    heir = succeeded(Desk(POLICY), POLICY.replace('"sim://q"', '"sim://q"  limit 1 concurrent')).router
    assert heir.health.at(1.0).in_service(1)
    heir.health.begin(1, 1.0)
    assert not heir.health.at(1.1).in_service(1)
    free = heir.succeed(Book(compiled(POLICY)))
    assert free.health.at(1.2).in_service(1)


def test_limits_go_on_counting_at_the_new_amount() -> None:
    facts = {"user": "anna"}

    def need() -> Need:
        return Need(1, 0)

    desk = Desk(POLICY)
    for _ in range(2):
        assert not isinstance(desk.router.limits.reserve(facts, need, 1.0), Refusal)
    assert isinstance(desk.router.limits.reserve(facts, need, 1.0), Refusal)
    same = succeeded(desk, POLICY.replace("otherwise -> m", "otherwise -> m by price")).router
    assert isinstance(same.limits.reserve(facts, need, 2.0), Refusal)
    more = succeeded(desk, POLICY.replace("2 requests", "3 requests")).router
    assert not isinstance(more.limits.reserve(facts, need, 2.0), Refusal)
    assert isinstance(more.limits.reserve(facts, need, 2.0), Refusal)
    other = succeeded(desk, POLICY.replace("2 requests per hour", "2 requests per day")).router
    assert not isinstance(other.limits.reserve(facts, need, 2.0), Refusal)


def test_endpoints_without_their_key_are_left_out_of_the_next_plan() -> None:
    keyed = POLICY.replace('"sim://q"', '"https://q.invalid/v1"  key env.NEVER_SET_KEY')
    heir = succeeded(Desk(POLICY), keyed).router
    assert [heir.is_configured(index) for index in range(2)] == [True, False]
    assert not heir.dispatcher.configured(1)
