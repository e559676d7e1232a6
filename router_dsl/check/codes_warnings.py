"""Codes W5xx: what is allowed, but hardly meant."""

from __future__ import annotations

_TWO = 'provider p { url "https://p.example/v1" }\n'

WARNINGS: dict[str, tuple[str, str, str, str]] = {
    "W501": (
        "unused declaration",
        "Nothing refers to the declaration. Only the root file is looked at: an imported file may offer more than is "
        "taken. A policy is never unused (clients select it with `@NAME`), and no model is while some rule sends "
        "clients to `requested`. A soft limit is unused when no condition asks `over` it.",
        "let long = prompt.tokens > 24k",
        "let long = prompt.tokens > 24k\npolicy main { a: when long -> reject 413  otherwise -> m }",
    ),
    "W502": (
        "shares that do not sum to 100%",
        "The shares of a `split`, or of `by`, are taken in proportion, which is perhaps not what was meant.",
        _TWO
        + 'model m { serve p "m" }\nmodel n { serve p "n" }\npolicy main { otherwise -> split 90% m, 5% n by user }',
        _TWO
        + 'model m { serve p "m" }\nmodel n { serve p "n" }\npolicy main { otherwise -> split 95% m, 5% n by user }',
    ),
    "W503": (
        "comparison outside the possible values",
        "The fact can never have that value: it is not in its `one of`, or no such provider or model is declared.",
        "policy main { code: when task == coding -> m  otherwise -> m }",
        "policy main { code: when task == code -> m  otherwise -> m }",
    ),
    "W504": (
        "rule that never decides",
        "The first rule whose condition holds decides, and earlier rules hold whenever this one does.",
        "policy main { a: when stream -> m  b: when stream and has tools -> reject 400  otherwise -> m }",
        "policy main { b: when stream and has tools -> reject 400  a: when stream -> m  otherwise -> m }",
    ),
    "W505": (
        "condition that cannot hold",
        "No request (of a guard's `require`: no endpoint) satisfies the condition.",
        "policy main { a: when task == code and task == math -> reject 400  otherwise -> m }",
        "policy main { a: when task in [code, math] -> reject 400  otherwise -> m }",
    ),
    "W506": (
        "context smaller than the rule admits",
        "The rule decides requests that do not fit into this target, so it is no fallback for them. Reported when the "
        "condition itself bounds the tokens, or when the fallback holds less than half of a target before it.",
        _TWO + 'model big { context 128k  serve p "big" }\nmodel small { context 8k  serve p "small" }\n'
        "policy main { long: when prompt.tokens > 24k -> big else small  otherwise -> small }",
        _TWO + 'model big { context 128k  serve p "big" }\nmodel small { context 8k  serve p "small" }\n'
        "policy main { long: when prompt.tokens > 24k -> big  otherwise -> small }",
    ),
    "W507": (
        "target twice",
        "The chain, or the pool, has this target already. `retry N` says how often a target is tried.",
        "policy main { otherwise -> m else m }",
        "policy main { otherwise -> m retry 3 }",
    ),
    "W508": (
        "endpoint without a price",
        "`by price` counts an endpoint without a price as the median of the others, and `assert cost` cannot be "
        "shown without it.",
        _TWO + 'model m { serve p "m" }\npolicy main { otherwise -> m by price }',
        _TWO + 'model m { serve p "m" price $0.90 in $0.90 out }\npolicy main { otherwise -> m by price }',
    ),
    "W509": (
        "test without expectation",
        "A test that expects nothing always passes.",
        'test "code" { given task code }',
        'test "code" { given task code  expect m }',
    ),
    "W510": (
        "unknown feature",
        "The word behind `supports` is close to a feature that requests are known to need (`tools`, `json`, `vision`, "
        "`audio`, `files`, `reasoning`, `streaming`) but is none, so such requests never go there.",
        _TWO + 'model m { supports tools, visoin  serve p "m" }\npolicy main { otherwise -> m }',
        _TWO + 'model m { supports tools, vision  serve p "m" }\npolicy main { otherwise -> m }',
    ),
    "W511": (
        "`over` a limit that is not soft",
        "A request past such a limit is refused before any rule is asked, so `over` it never holds.",
        "limit rate: 60 requests per minute by key.id\npolicy main { a: when over rate -> reject 429  otherwise -> m }",
        "limit rate: 60 requests per minute by key.id soft\n"
        "policy main { a: when over rate -> reject 429  otherwise -> m }",
    ),
    "W512": (
        "value listed twice",
        "A value of `one of` stands there twice.",
        "fact plan: one of free, pro, free from key.plan\npolicy main { a: when plan == pro -> m  otherwise -> m }",
        "fact plan: one of free, pro from key.plan\npolicy main { a: when plan == pro -> m  otherwise -> m }",
    ),
    "W513": (
        "target that no request can reach",
        "A guard that always applies, or applies whenever the rule decides, refuses every endpoint of the target; or "
        "it refuses every endpoint there is. What is measured never counts: it may change.",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m" }\nmodel n { serve q "n" }\n'
        "guard residency: require region == eu\npolicy main { otherwise -> m else n }",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m"  serve q "m" }\nmodel n { serve q "n" }\n'
        "guard residency: require region == eu\npolicy main { otherwise -> m else n }",
    ),
    "W514": (
        "plan that a guard can empty",
        "The rule decides requests for which guards exclude every endpoint of its targets; they get a `404`. The "
        "witness is one of them. Models that the client names (`requested`) are its own choice and do not count.",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m" }\nmodel n { serve q "n" }\n'
        "guard residency: when header.x-country == de require region == eu\n"
        "policy main { a: when stream -> m  otherwise -> m else n }",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m" }\nmodel n { serve q "n" }\n'
        "guard residency: when header.x-country == de require region == eu\n"
        "policy main { a: when stream -> m else n  otherwise -> m else n }",
    ),
    "W515": (
        "unknown",
        "Whether the rule ever decides, or the assertion holds, was not found out. There are too many cases to look at "
        "(`pip install pointsman[analysis]` brings a solver that looks further), a price or a limit is not known, or a "
        "request that would show it could not be made.",
        "guard quick: require ttft.p95 < 1s\nassert never ttft.p95 > 2s",
        "guard quick: require ttft.p95 < 1s",
    ),
}
