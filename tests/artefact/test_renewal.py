"""A changed policy takes over when it should, and never when it should not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256

import pytest

from router_dsl.seal import Key, seal
from runtime.serve.renewal import LONG_INTERVALS, MOST_BACKOFF, Renewal
from runtime.serve.router import Router
from runtime.serve.source import SourceError, UnusableError
from tests.artefact.fakes import FakeSource, Wall, built
from tests.clients.serving import Awaited
from tests.serve.desk import PATH, Answer, Desk, ask

MODELS = 'provider p { url "sim://p?ttft=1ms" }\nmodel small { serve p "m" }\nmodel other { serve p "n" }\n'
FIRST = MODELS + "policy chat { otherwise -> small }"
SECOND = MODELS + "policy chat { new: when stream -> other  otherwise -> small }"
FAILING = SECOND + '\ntest "wrong" { expect other }'

BODY = b'{"model": "small", "messages": [{"role": "user", "content": "hi"}]}'


class Scene:
    """A desk whose policy can change; every second request is for a page."""

    def __init__(self, source: FakeSource, every_s: float = 60.0, keys: tuple[Key, ...] = ()) -> None:
        self.source, self.wall = source, Wall()
        self.desk = Desk(FIRST)
        self.renewal = Renewal(source, every_s, keys, tag=source.tag, now_unix_s=self.wall)
        self.desk.router.renewal = self.renewal

    async def post(self) -> Answer:
        return await ask(self.desk.app, "POST", PATH, {}, [BODY])

    async def told(self) -> dict[str, object]:
        ready = (await ask(self.desk.app, "GET", "/readyz", {}, [b""])).json
        found = ready["renewal"]
        assert isinstance(found, dict)
        return found

    def events(self, name: str) -> list[object]:
        return [event for event in self.desk.log.seen if event["event"] == name]


def name(text: str) -> str:
    return f"chat@{sha256(text.encode()).hexdigest()[:12]}"


def play(scenario: Callable[[Scene], Awaitable[None]], **terms: object) -> None:
    async def whole() -> None:
        scene = Scene(FakeSource(built(FIRST)), **terms)  # type: ignore[arg-type]
        await scenario(scene)
        await scene.desk.router.aclose()

    asyncio.run(whole())


def test_what_is_due_is_looked_for_after_the_answer_and_serves_the_next() -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.data = built(SECOND)
        await scene.post()
        assert scene.source.asked == []
        scene.wall.now_s += 61
        first = await scene.post()
        assert first.headers["x-pointsman-policy"].startswith("chat@abab")
        assert len(scene.source.asked) == 1
        second = await scene.post()
        assert second.headers["x-pointsman-policy"] == name(SECOND)
        (swap,) = scene.events("plan_swapped")
        assert isinstance(swap, dict)
        assert (swap["digest"], swap["from_digest"]) == (sha256(SECOND.encode()).hexdigest(), "ab" * 32)

    play(scenario)


def test_after_a_long_silence_the_check_comes_first() -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.data = built(SECOND)
        scene.wall.now_s += 60 * LONG_INTERVALS + 1
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND)

    play(scenario)


@pytest.mark.slow
def test_a_check_that_hangs_delays_the_first_request_for_a_moment_only() -> None:
    async def scenario(scene: Scene) -> None:
        scene.desk.router.log = log = Awaited()
        scene.source.data = built(SECOND)
        scene.source.gate.clear()
        scene.wall.now_s += 60 * LONG_INTERVALS + 1
        post = asyncio.ensure_future(scene.post())
        await log.until(1)  # answered, by what was there, while the check hangs
        scene.source.gate.set()
        assert (await post).headers["x-pointsman-policy"].startswith("chat@abab")
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND)

    play(scenario)


def test_there_is_one_check_at_a_time_and_one_in_an_interval() -> None:
    async def scenario(scene: Scene) -> None:
        scene.wall.now_s += 61
        scene.source.gate.clear()
        posts = [asyncio.ensure_future(scene.post()) for _ in range(20)]
        await asyncio.sleep(0.05)
        scene.source.gate.set()
        await asyncio.gather(*posts)
        assert len(scene.source.asked) == 1
        for _ in range(5):
            scene.wall.now_s += 10
            await scene.post()
        assert len(scene.source.asked) == 1

    play(scenario)


def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    async def scenario(scene: Scene) -> None:
        scene.wall.now_s -= 100_000
        await scene.post()
        assert len(scene.source.asked) == 1

    play(scenario)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"", "not a plan"),
        (built(SECOND)[:-1], "cut short"),
        (built(SECOND)[:-1] + b"!", "does not match its digest"),
        (built(FAILING), "1 of its own 1 tests fail here: `wrong`"),
        (UnusableError("chat.route:1:1: E204 unknown fact", "t"), "E204 unknown fact"),
    ],
)
def test_what_is_bad_is_refused_counted_and_told_and_the_last_good_one_stays(bad: bytes | Exception, why: str) -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.data = bad
        for _ in range(3):
            scene.wall.now_s += 61
            assert (await scene.post()).headers["x-pointsman-policy"].startswith("chat@abab")
        (refused,) = scene.events("plan_refused")  # it has not changed since
        assert scene.source.asked[-1] == scene.source.tag  # and is not fetched again
        assert isinstance(refused, dict)
        assert why in str(refused["reason"])
        told = await scene.told()
        assert (told["refused"], told["swapped"], told["unreachable"]) == (1, 0, 0)
        page = (await ask(scene.desk.app, "GET", "/metrics", {}, [b""])).body.decode()
        assert 'pointsman_plans_total{end="refused"} 1.0' in page
        assert 'pointsman_plans_total{end="swapped"} 0.0' in page
        assert why in str(told["trouble"])
        scene.source.data = built(SECOND)
        scene.wall.now_s += 61
        await scene.post()
        told = await scene.told()
        assert (told["refused"], told["swapped"], told["trouble"]) == (1, 1, None)

    play(scenario)


def test_going_back_to_what_is_served_ends_the_trouble() -> None:
    async def scenario(scene: Scene) -> None:
        for data in (built(SECOND), b"rubbish", built(SECOND)):
            scene.source.data = data
            scene.wall.now_s += 61
            await scene.post()
        told = await scene.told()
        assert (told["refused"], told["swapped"], told["trouble"]) == (1, 1, None)

    play(scenario)


def test_a_source_that_is_down_is_asked_less_and_less_and_found_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.data = SourceError("no answer")
        checks = []
        for second in range(0, 60 * 70, 30):
            scene.wall.now_s += 30
            await scene.post()
            checks.append((second, len(scene.source.asked)))
        assert 5 < checks[-1][1] < 12
        assert (await scene.told())["trouble"] == "no answer"
        scene.source.data = built(SECOND)
        scene.wall.now_s += 60 * MOST_BACKOFF
        await scene.post()
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND)
        assert (await scene.told())["trouble"] is None

    play(scenario)


def test_where_there_is_a_key_only_what_it_signed_takes_over() -> None:
    key = Key("hmac", "k" * 32)

    async def scenario(scene: Scene) -> None:
        for data in (built(SECOND), seal(built(SECOND), Key("hmac", "o" * 32))):
            scene.source.data = data
            scene.wall.now_s += 61
            await scene.post()
        assert (await scene.told())["refused"] == 2
        scene.source.data = seal(built(SECOND), key)
        scene.wall.now_s += 61
        await scene.post()
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND)

    play(scenario, keys=(key,))


def test_a_provider_key_that_no_header_can_carry_refuses_the_plan_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        keyed = SECOND.replace("policy chat", 'provider q { url "https://q.invalid"  key env.BAD }\npolicy chat', 1)
        scene.desk.router.dispatcher._keys = {"BAD": "sk-über"}
        scene.source.data = built(keyed.replace('serve p "n"', 'serve q "n"'))
        scene.wall.now_s += 61
        await scene.post()
        told = await scene.told()
        assert told["refused"] == 1
        assert "BAD" in str(told["trouble"])
        assert "über" not in str(told["trouble"])

    play(scenario)


def test_closing_ends_a_check_that_hangs() -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.gate.clear()
        scene.wall.now_s += 61
        post = asyncio.ensure_future(scene.post())
        await scene.source.begun.wait()
        await scene.desk.router.aclose()
        await post

    play(scenario)


def test_a_bug_of_ours_leaves_the_last_good_plan_too_and_its_trace_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(scene: Scene) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Router, "succeed", fail)
            scene.source.data = built(SECOND)
            scene.wall.now_s += 61
            await scene.post()
        assert "ZeroDivisionError" in str((await scene.told())["trouble"])
        (refused,) = scene.events("plan_refused")
        assert isinstance(refused, dict)
        assert "fail" in refused["trace"]
        scene.source.data = built(SECOND + "\n")
        scene.wall.now_s += 61
        await scene.post()
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND + "\n")

    play(scenario)


def test_what_is_refused_after_an_outage_is_looked_at_in_the_usual_interval_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.source.data = SourceError("no answer")
        for _ in range(4):
            scene.wall.now_s += 60 * MOST_BACKOFF
            await scene.post()
        scene.source.data = b"rubbish"
        scene.wall.now_s += 60 * MOST_BACKOFF
        await scene.post()
        scene.source.data = built(SECOND)
        scene.wall.now_s += 61
        await scene.post()
        assert (await scene.post()).headers["x-pointsman-policy"] == name(SECOND)

    play(scenario)
