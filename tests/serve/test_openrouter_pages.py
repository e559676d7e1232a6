"""OpenRouter's pages: the endpoints of a model, providers, what a key has used and may use, single answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.serve.generations import Generations
from runtime.serve.settings import Settings
from runtime.serve.story import request_ended
from runtime.serve.visit import Visit
from tests.serve.desk import HELLO, Answer, Desk
from tests.serve.test_keyfile import ask, served, write

LIMITED = """
provider one { url "sim://one?ttft=1ms"  protocol sim  region us }
model small { serve one "up"  price $0.10 in $0.20 out }
limit spend: $1 per day by tenant
limit rate:  when key.plan == trial  60 requests per minute by key.id
policy chat { otherwise -> small }
"""


def page(desk: Desk, key: str, path: str) -> Answer:
    return desk.get(path, headers={"authorization": f"Bearer {key}"})


def data(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return answer.json["data"]


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_endpoints_of_a_model_say_what_each_is(prefix: str) -> None:
    desk = Desk()
    found = data(desk.get(f"{prefix}/v1/models/vendor/small/endpoints"))
    assert found["id"] == "small"
    one, two = found["endpoints"]
    assert (one["provider_name"], one["tag"], one["endpoint"], one["region"]) == ("one", "one", "small@one", "us")
    assert (one["pricing"]["prompt"], two["pricing"]["completion"]) == ("0.0000001", "0.0000006")
    assert (one["context_length"], one["status"], one["quantization"]) == (8000, 0, "unknown")
    assert desk.get(f"{prefix}/v1/models/nope/endpoints").status == (400 if prefix else 404)


def test_an_endpoint_tells_what_was_measured_of_it() -> None:
    desk = Desk()
    for _ in range(12):
        desk.post()
    one = data(desk.get("/api/v1/models/small/endpoints"))["endpoints"][0]
    assert one["uptime_last_30m"] == 100
    assert set(one["latency_last_30m"]) == {"p50", "p75", "p90", "p99"}


def test_an_endpoint_out_of_service_says_so() -> None:
    desk = Desk()
    for _ in range(10):
        desk.post({"model": "gone", "messages": HELLO})
    found = data(desk.get("/api/v1/models/gone/endpoints"))["endpoints"][0]
    assert found["status"] < 0
    assert found["uptime_last_30m"] == 0


def test_providers_are_those_that_can_be_used_here() -> None:
    assert [each["slug"] for each in data(Desk().get("/api/v1/providers"))] == ["one", "two", "dead"]
    assert "keyed" in [each["slug"] for each in data(Desk(environ={"NEVER_SET_KEY": "k"}).get("/v1/providers"))]


def test_a_model_without_a_price_says_that_it_cannot_be_told() -> None:
    items = data(Desk().get("/api/v1/models"))
    assert items[2]["pricing"] == {"prompt": "-1", "completion": "-1", "request": "0", "image": "0"}


def test_an_answer_is_found_again_by_its_id() -> None:
    desk = Desk()
    answer = desk.post(stream=True)
    found = data(desk.get(f"/api/v1/generation?id={answer.headers['x-generation-id']}"))
    assert (found["id"], found["model"], found["provider_name"]) == (answer.headers["x-generation-id"], "small", "one")
    assert (found["streamed"], found["cancelled"], found["finish_reason"]) == (True, False, "stop")
    assert found["total_cost"] == (found["tokens_prompt"] * 100 + found["tokens_completion"] * 200) / 1e9
    assert [each["endpoint_id"] for each in found["provider_responses"]] == ["small@one"]


def test_an_answer_that_is_not_here_is_a_404_that_says_why() -> None:
    desk = Desk()
    answer = desk.get("/api/v1/generation?id=gen-1-x")
    assert (answer.status, answer.error["code"]) == (404, 404)
    assert "other instances" in str(answer.error["message"])
    assert desk.get("/v1/generation").status == 400


def test_each_key_sees_its_own_answers(tmp_path: Path) -> None:
    desk = served(write(tmp_path / "keys.toml", anna="", bert=""))
    name = ask(desk, "anna").headers["x-generation-id"]
    assert page(desk, "anna", f"/v1/generation?id={name}").status == 200
    assert page(desk, "bert", f"/v1/generation?id={name}").status == 404


def test_what_was_refused_is_no_generation(tmp_path: Path) -> None:
    desk = served(write(tmp_path / "keys.toml", anna=""))
    answer = desk.post()
    assert answer.status == 401
    name = answer.headers["x-generation-id"]
    assert desk.router.generations.find(name, b"") is None
    assert page(desk, "anna", f"/v1/generation?id={name}").status == 404


def test_only_the_latest_answers_are_remembered() -> None:
    event = request_ended(Visit("req_1", "", "POST", "/"))
    kept = Generations(2)
    for name in ("a", "b", "c"):
        kept.keep(b"", msgspec.structs.replace(event, generation_id=name))
    kept.keep(b"", event)
    assert kept.find("a", b"") is None
    assert kept.find("c", b"") is not None
    assert kept.find("c", b"x") is None


def test_a_key_page_tells_limits_as_this_instance_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.toml", anna='tenant = "acme"\nplan = "trial"', bert='tenant = "other"')
    desk = Desk(LIMITED, settings=Settings(keys_file=str(path)))
    for _ in range(3):
        assert ask(desk, "anna").status == 200
    told = data(page(desk, "anna", "/api/v1/key"))
    assert (told["limit"], told["limit_reset"]) == (1.0, "daily")
    assert 0 < told["usage"] == told["usage_daily"] < 0.01
    assert told["limit_remaining"] == pytest.approx(1.0 - told["usage"])
    rate = told["limits"][1]
    assert (rate["name"], rate["unit"], rate["limit"], rate["remaining"], rate["period_s"]) == (
        "rate", "requests", 60, 57, 60,
    )  # fmt: skip
    other = data(page(desk, "bert", "/v1/auth/key"))
    assert (other["usage"], [each["name"] for each in other["limits"]]) == (0.0, ["spend"])
    credits = data(page(desk, "anna", "/api/v1/credits"))
    assert credits == {"total_credits": 1.0, "total_usage": told["usage"]}


def test_a_key_without_limits_has_none_and_no_credits() -> None:
    told = data(Desk().get("/api/v1/key"))
    assert (told["label"], told["limit"], told["limit_remaining"], told["limits"]) == ("anonymous", None, None, [])
    assert Desk().get("/api/v1/credits").status == 404


def test_the_pages_are_for_those_with_a_key(tmp_path: Path) -> None:
    desk = served(write(tmp_path / "keys.toml", anna=""))
    for path in ("models/small/endpoints", "providers", "key", "credits", "generation?id=x"):
        assert desk.get(f"/api/v1/{path}").status == 401
