"""Codes E2xx: names that name nothing, two things, or the wrong thing; files that cannot be read."""

from __future__ import annotations

NAMES: dict[str, tuple[str, str, str, str]] = {
    "E201": (
        "declared twice",
        "Names are unique over the whole policy, imports included, within their kind: providers, models, pools, "
        "facts, lets, guards, limits, policies and tests. Rule labels are unique within their policy, and `otherwise` "
        "is the label of the last rule alone. A second endpoint of a model at one provider takes a label with `as`. "
        "There is one `defaults` block.",
        "let long = prompt.tokens > 24k\nlet long = prompt.tokens > 32k\n"
        "policy main { a: when long -> m  otherwise -> m }",
        "let long = prompt.tokens > 24k\nlet very-long = prompt.tokens > 32k\n"
        "policy main { a: when very-long -> reject 413  b: when long -> m  otherwise -> m }",
    ),
    "E202": (
        "one name for two things",
        "A target is a model or a pool, a condition a fact or a let: one name cannot be both. A name in `aka` must "
        "lead to one model, or a client that asks for it could mean either.",
        'provider p { url "https://p.example/v1" }\nmodel big { aka "gpt"  serve p "big" }\n'
        'model small { aka "gpt"  serve p "small" }\npolicy main { otherwise -> requested else small }',
        'provider p { url "https://p.example/v1" }\nmodel big { aka "gpt"  serve p "big" }\n'
        'model small { aka "gpt-mini"  serve p "small" }\npolicy main { otherwise -> requested else small }',
    ),
    "E203": (
        "name of a built-in fact",
        "A `fact` or `let` may not take the name of a built-in fact of requests or endpoints: the same word would "
        "mean two things.",
        "fact language: text from header.accept-language\npolicy main { a: when language == de -> m  otherwise -> m }",
        "fact locale: text from header.accept-language\npolicy main { a: when locale == de -> m  otherwise -> m }",
    ),
    "E204": (
        "unknown fact",
        "A condition asks about a fact that is neither built in nor declared with `fact`. Headers, metadata and "
        "attributes of the key are asked as `header.NAME`, `metadata.NAME` and `key.NAME`. Only `healthy` and `load` "
        "take a pool in parentheses, only the `time` facts a zone behind `@`.",
        "policy main { long: when prompt.token > 24k -> m  otherwise -> m }",
        "policy main { long: when prompt.tokens > 24k -> m  otherwise -> m }",
    ),
    "E205": (
        "unknown provider",
        "A `serve` line or a target names a provider that is not declared in the policy or its imports.",
        'provider fireworks { url "https://api.fireworks.ai/inference/v1" }\nmodel m { serve firworks "m" }\n'
        "policy main { otherwise -> m }",
        'provider fireworks { url "https://api.fireworks.ai/inference/v1" }\nmodel m { serve fireworks "m" }\n'
        "policy main { otherwise -> m }",
    ),
    "E206": (
        "unknown model or pool",
        "A target is a model or a pool by its own name, or an endpoint `MODEL @ PROVIDER`. Other names of a model "
        "(`aka`) are for clients. Another policy is called with `policy NAME`. `healthy` and `load` ask a pool.",
        "policy main { otherwise -> llama }",
        "policy main { otherwise -> m }",
    ),
    "E207": (
        "unknown endpoint",
        "The model is not served by that provider, or not under that label.",
        'provider p { url "https://p.example/v1" }\nprovider q { url "https://q.example/v1" }\n'
        'model m { serve p "m" }\nmodel n { serve q "n" }\npolicy main { otherwise -> m @ q else n }',
        'provider p { url "https://p.example/v1" }\nprovider q { url "https://q.example/v1" }\n'
        'model m { serve p "m" }\nmodel n { serve q "n" }\npolicy main { otherwise -> m @ p else n }',
    ),
    "E208": (
        "unknown policy",
        "`policy NAME` calls, or a test picks, a policy that is not declared in the file or its imports.",
        "policy main { otherwise -> policy chat }",
        "policy chat { otherwise -> m }\npolicy main { otherwise -> policy chat }",
    ),
    "E209": (
        "unknown limit",
        "`over NAME` asks a limit that is not declared.",
        "policy main { broke: when over spend -> reject 429  otherwise -> m }",
        "limit spend: $200 per day by tenant soft\n"
        "policy main { broke: when over spend -> reject 429  otherwise -> m }",
    ),
    "E210": (
        "unknown list",
        "A bare name behind `in` is a `let` list. A single value is written in brackets, or compared with `==`.",
        "policy main { eu: when header.x-country in europe -> m  otherwise -> m }",
        "let europe = [de, fr, nl]\npolicy main { eu: when header.x-country in europe -> m  otherwise -> m }",
    ),
    "E211": (
        "unknown time zone",
        "Zones are those of the IANA time zone database, such as `Europe/Berlin`; capitals count.",
        'policy main { night: when time.hour@"Europe/Berln" in 0..6 -> m  otherwise -> m }',
        'policy main { night: when time.hour@"Europe/Berlin" in 0..6 -> m  otherwise -> m }',
    ),
    "E212": (
        "unusable name",
        "Names travel in headers and logs: they are not empty, have no blanks around them and no line ends or other "
        "unprintable characters in them.",
        'policy main { " a": when stream -> m  otherwise -> m }',
        'policy main { "a": when stream -> m  otherwise -> m }',
    ),
    "E213": (
        "unknown word",
        "The place takes one of a few words, and this is none of them.",
        "policy main { otherwise -> m by prise }",
        "policy main { otherwise -> m by price }",
    ),
    "E214": (
        "fact of endpoints in a condition on requests",
        "`when` is asked before any endpoint is chosen, so it can only ask facts of the request. Facts of endpoints "
        "belong in `where` and in a guard's `require`.",
        "policy main { cheap: when price.out <= $1 -> m  otherwise -> m }",
        "policy main { otherwise -> m where price.out <= $1 }",
    ),
    "E215": (
        "fact of requests in a condition on endpoints",
        "`where`, `require` and `assert never` are asked of each endpoint. Facts of the request belong in `when`.",
        "policy main { otherwise -> m where prompt.tokens < 8k }",
        "policy main { small: when prompt.tokens < 8k -> m  otherwise -> m }",
    ),
    "E216": (
        "let defined by itself",
        "A `let` is an abbreviation, written out wherever it is used; one that leads back to itself means nothing.",
        "let a = b or stream\nlet b = a and has tools\npolicy main { x: when a -> m  otherwise -> m }",
        "let a = b or stream\nlet b = has tools\npolicy main { x: when a -> m  otherwise -> m }",
    ),
    "E217": (
        "unknown source of a fact",
        "A fact comes from `header.NAME`, `metadata.NAME`, `key.NAME` or `body.PATH`.",
        "fact plan: text from cookie.plan\npolicy main { a: when plan == pro -> m  otherwise -> m }",
        "fact plan: text from header.x-plan\npolicy main { a: when plan == pro -> m  otherwise -> m }",
    ),
    "E218": (
        "unknown rule",
        "A test or an assertion names a rule that no such policy has. In a test it is a rule of the policy under "
        "test, or of one that it calls.",
        "assert reachable cod\npolicy main { code: when task == code -> m  otherwise -> m }",
        "assert reachable code\npolicy main { code: when task == code -> m  otherwise -> m }",
    ),
    "E219": (
        "file that cannot be read",
        "The file does not exist, may not be read, is a folder, or is not UTF-8 text.",
        'import "missing.route"',
        'import "catalog.route"',
    ),
    "E220": (
        "import outside the policy's folder",
        "Imports are relative to the importing file and never leave the root folder: the first file's own, or the "
        "one given with `--root`. Links are followed before this is judged.",
        'import "../catalog.route"',
        'import "catalog.route"',
    ),
    "E221": (
        "policies that call each other in a circle",
        "`policy NAME` hands the decision on for good; a circle would never decide.",
        "policy main { otherwise -> policy other }\npolicy other { otherwise -> policy main }",
        "policy main { otherwise -> policy other }\npolicy other { otherwise -> m }",
    ),
    "E222": (
        "files that import each other in a circle",
        "A file may be imported from several places, but not from itself, directly or through others. Imports nest "
        "at most 64 deep.",
        'import "example.route"',
        'import "catalog.route"',
    ),
}
