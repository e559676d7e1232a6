"""What translating costs: a request, an answer and a piece of a stream, for every pair of interfaces.

    python -m benchmarks.translation [--rounds 5] [--json FILE]

In one process and without sockets; the best of several rounds, since other programs on the machine only add.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from runtime.wire.translate import translation

TURNS = [{"role": "user", "content": "word " * 200}, {"role": "assistant", "content": "yes"}] * 4
REQUESTS: dict[str, dict[str, object]] = {
    "chat": {"model": "m", "max_tokens": 99, "messages": [{"role": "system", "content": "Be brief."}, *TURNS]},
    "messages": {"model": "m", "max_tokens": 99, "system": "Be brief.", "messages": TURNS},
    "responses": {"model": "m", "max_output_tokens": 99, "instructions": "Be brief.", "input": TURNS},
}
CHAT_DELTA = {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
PIECES: dict[str, dict[str, object]] = {
    "chat": {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **CHAT_DELTA},
    "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}},
    "responses": {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": " word"},
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
CHAT_ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}],
}  # fmt: skip
CALLS = 2000


def best_us(work: Callable[[], object], rounds: int) -> float:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(CALLS):
            work()
        found.append((time.perf_counter() - began) / CALLS * 1e6)
    return min(found)


def pair(api: str, spoken: str, rounds: int) -> dict[str, float]:
    raw, piece = json.dumps(REQUESTS[api]).encode(), json.dumps(PIECES[spoken]).encode()
    chat = json.dumps(CHAT_ANSWER).encode()
    answer = chat if spoken == "chat" else translation.answer(spoken, "chat", chat, 1.0)
    passage = translation.Passage(api, spoken, 1.0, wants_usage=True)
    passage.feed(piece)
    return {
        "request": best_us(lambda: translation.request(api, spoken, raw), rounds),
        "answer": best_us(lambda: translation.answer(api, spoken, answer, 1.0), rounds),
        "piece": best_us(lambda: passage.feed(piece), rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = {f"{a} -> {b}": pair(a, b, options.rounds) for a in REQUESTS for b in REQUESTS if a != b}
    print(
        "| client -> endpoint | request of 4 KB, µs | answer of 1 KB, µs | piece of a stream, µs |\n|---|--:|--:|--:|"
    )
    for name, each in found.items():
        print(f"| {name} | {each['request']:.0f} | {each['answer']:.0f} | {each['piece']:.1f} |")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
