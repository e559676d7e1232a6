"""What OpenRouter's side costs: a decision with each kind of wish, and what its skin adds to an answer.

    python -m benchmarks.openrouter [--rounds 5] [--json FILE]

In one process and without sockets; the best of several rounds, since other programs on the machine only add.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.translation import CHAT_ANSWER, PIECES, best_us
from router_dsl.check.program import check
from router_dsl.compile.build import build
from router_dsl.load import load_text
from runtime.decision.book import Book
from runtime.decision.facts import Call, Facts
from runtime.decision.route import route
from runtime.decision.state import Calm
from runtime.wire import skin
from runtime.wire.request import Body, decode
from runtime.wire.skin import Cost, Skin

POLICY = """
provider us   { url "http://127.0.0.1:1/v1"  region us }
provider eu   { url "http://127.0.0.1:2/v1"  region eu }
provider asia { url "http://127.0.0.1:3/v1" }
model big   { serve us "b" price $2 in $4 out  serve eu "b" price $1 in $2 out  serve asia "b" price $4 in $8 out }
model small { serve us "s" price $0.10 in $0.20 out  serve eu "s" price $0.10 in $0.30 out }
policy p { a: when user == anna -> small  otherwise -> requested else big by price }
"""
ASKED = {"model": "big", "messages": [{"role": "user", "content": "hello there " * 40}]}
WISHES: dict[str, dict[str, object]] = {
    "none": {},
    "`provider.order`": {"provider": {"order": ["eu"]}},
    "`only`, `ignore`, `zdr`, `max_price`": {
        "provider": {"only": ["us", "eu"], "ignore": ["eu"], "zdr": False, "max_price": {"prompt": 5}}
    },
    "`sort: price`": {"provider": {"sort": "price"}},
    "`models`, two": {"models": ["small"]},
    "`:floor`": {"model": "big:floor"},
}
SKIN = Skin("gen-1795000000-0123456789abcdef0123", "us", "big", lambda usage: Cost(usage.prompt, usage.completion))


def book() -> Book:
    files, _ = load_text(POLICY, "bench.route")
    program, _ = check(files)
    assert program is not None
    return Book(build(program, "0" * 64))


def decision_us(served: Book, wish: dict[str, object], rounds: int) -> dict[str, float]:
    raw = json.dumps({**ASKED, **wish}).encode()
    body = decode("chat", raw)
    assert isinstance(body, Body)
    call = Call("chat", "/v1/chat/completions", {}, body, raw, {}, None, 0.0, None)
    calm = Calm()
    return {
        "decode": best_us(lambda: decode("chat", raw), rounds),
        "decide": best_us(lambda: route(served, None, Facts(call, served.program, calm), calm, 0.3), rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    served = book()
    found = {name: decision_us(served, wish, options.rounds) for name, wish in WISHES.items()}
    print("| wish | decode, µs | decide, µs |\n|---|--:|--:|")
    for name, each in found.items():
        print(f"| {name} | {each['decode']:.1f} | {each['decide']:.1f} |")
    answer, stream = json.dumps(CHAT_ANSWER).encode(), skin.Stream(SKIN, None)
    chunk = b"data: " + json.dumps(PIECES["chat"]).encode() + b"\n\n"
    dressed = {
        "answer of 1 KB": best_us(lambda: skin.answer(answer, SKIN, None), options.rounds),
        "chunk of a stream": best_us(lambda: stream.feed(chunk, last=False), options.rounds),
    }
    print("\n| the skin adds to | µs |\n|---|--:|")
    for name, us in dressed.items():
        print(f"| {name} | {us:.1f} |")
    if options.json is not None:
        options.json.write_text(json.dumps({"wishes": found, "skin": dressed}, indent=2) + "\n")


if __name__ == "__main__":
    main()
