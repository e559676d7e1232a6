"""Models, health, and the life of the application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping

import pytest

from runtime.serve.app import App, RefusedError
from runtime.serve.router import Router
from tests.serve.desk import PATH, Desk, ask


def test_models_lists_what_can_be_asked_for_here() -> None:
    listing = Desk().get("/v1/models").json
    assert listing["object"] == "list"
    items = listing["data"]
    assert isinstance(items, list)
    # `away` needs a key that is not set.
    assert [item["id"] for item in items] == ["small", "large", "gone"]
    small = items[0]
    assert (small["object"], small["created"], small["owned_by"]) == ("model", 0, "pointsman")
    assert small["context_length"] == 8000
    assert small["pricing"] == {"prompt": "0.0000001", "completion": "0.0000002", "request": "0", "image": "0"}
    large = items[1]
    assert large["pricing"]["input_cache_read"] == "0.0000005"
    assert "tools" in large["supported_parameters"]
    assert "response_format" not in large["supported_parameters"]
    assert large["architecture"]["input_modalities"] == ["text", "image"]


def test_a_key_in_the_environment_brings_its_models() -> None:
    items = Desk(environ={"NEVER_SET_KEY": "sk-1"}).get("/v1/models").json["data"]
    assert isinstance(items, list)
    assert "away" in [item["id"] for item in items]


@pytest.mark.parametrize("name", ["small", "gpt-4o-mini", "vendor/small"])
def test_a_model_is_found_by_any_of_its_names(name: str) -> None:
    for prefix in ("", "/api"):
        assert Desk().get(f"{prefix}/v1/models/{name}").json["id"] == "small"


@pytest.mark.parametrize("name", ["nope", "away", "a/b/c"])
def test_an_unknown_model_is_a_404(name: str) -> None:
    answer = Desk().get(f"/v1/models/{name}")
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"


def test_head_answers_like_get_without_a_body() -> None:
    for path in ("/healthz", "/readyz", "/v1/models"):
        answer = Desk().get(path, method="HEAD")
        assert answer.status == 200
        assert answer.body == b""


def test_ready_says_what_is_served() -> None:
    told = Desk().get("/readyz").json
    assert told["ready"] is True
    assert told["policy"] == "chat"
    assert told["endpoints"] == {"total": 5, "configured": 4, "in_service": 4}


def test_a_router_without_any_key_is_not_ready() -> None:
    policy = """
    provider keyed { url "https://provider.invalid/v1"  key env.NEVER_SET_KEY }
    model away { serve keyed "x" }
    policy chat { otherwise -> away }
    """
    desk = Desk(policy)
    answer = desk.get("/readyz")
    assert answer.status == 503
    assert answer.json["ready"] is False
    assert desk.get("/healthz").status == 200


def test_a_router_whose_endpoints_are_all_out_of_service_is_not_ready() -> None:
    policy = """
    provider dead { url "sim://dead?down=true"  protocol sim }
    model gone { serve dead "x" }
    policy chat { otherwise -> gone }
    """
    desk = Desk(policy)
    assert desk.get("/readyz").status == 200

    async def until_the_breaker_opens() -> None:
        for _ in range(20):
            await ask(desk.app, "POST", PATH, {}, [b'{"model":"gone","messages":[{"role":"user","content":"x"}]}'])
        answer = await ask(desk.app, "GET", "/readyz", {}, [b""])
        assert answer.status == 503
        assert answer.json["reason"] == "no endpoint is in service"

    asyncio.run(until_the_breaker_opens())


# --- life -----------------------------------------------------------------------------------------


def refuse() -> Router:
    raise RefusedError


def lifespan(app: App, *events: str) -> list[str]:
    pending = list(events)
    sent: list[str] = []

    async def receive() -> MutableMapping[str, object]:
        return {"type": pending.pop(0)}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(str(message["type"]))

    asyncio.run(app({"type": "lifespan"}, receive, send))
    return sent


def test_start_up_loads_the_policy_and_shutdown_lets_the_log_out() -> None:
    desk = Desk()
    sent = lifespan(desk.app, "lifespan.startup", "lifespan.shutdown")
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert desk.log.closed


def test_a_bad_policy_refuses_to_start() -> None:
    assert lifespan(App(refuse), "lifespan.startup") == ["lifespan.startup.failed"]


def test_without_start_up_the_first_request_loads_and_a_bad_policy_is_a_503() -> None:
    loads: list[int] = []

    def load() -> Router:
        loads.append(1)
        raise RefusedError

    app = App(load)
    for path, method, status in ((PATH, "POST", 503), ("/v1/models", "GET", 503), ("/readyz", "GET", 503)):
        answer = asyncio.run(ask(app, method, path, {}, [b"{}"]))
        assert answer.status == status
    assert asyncio.run(ask(app, "GET", "/healthz", {}, [b""])).status == 200
    assert len(loads) == 1


def test_a_websocket_is_turned_away() -> None:
    sent: list[object] = []

    async def receive() -> MutableMapping[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message["type"])

    asyncio.run(Desk().app({"type": "websocket", "path": PATH, "headers": []}, receive, send))
    assert sent == ["websocket.close"]


def test_an_instance_that_is_about_to_end_is_not_ready_and_still_answers() -> None:
    desk = Desk()
    desk.app.leave()
    ready = desk.get("/readyz")
    assert (ready.status, ready.json["ready"], ready.json["reason"]) == (503, False, "this instance is about to end")
    assert desk.get("/healthz").status == 200
    assert desk.post().status == 200
