"""Codes E4xx: declarations and policies that are not whole, or contradict themselves."""

from __future__ import annotations

STRUCTURE: dict[str, tuple[str, str, str, str]] = {
    "E401": (
        "policy without `otherwise`",
        "Every policy decides every request, so its last rule is `otherwise -> …`.",
        "policy main { code: when task == code -> m }",
        "policy main { code: when task == code -> m  otherwise -> m }",
    ),
    "E402": (
        "rule after `otherwise`",
        "`otherwise` decides every request that reaches it, so nothing can follow.",
        "policy main { otherwise -> m  code: when task == code -> m }",
        "policy main { code: when task == code -> m  otherwise -> m }",
    ),
    "E403": (
        "no policy",
        "The first policy of the root file is the default: the root file has at least one. An imported file need not.",
        "# policy main { otherwise -> m }",
        "policy main { otherwise -> m }",
    ),
    "E404": (
        "said twice",
        "Each option of an action, a provider, a model or an endpoint is said at most once, each fact of a test given "
        "once. `cap`, `set` and `drop` are said once for each parameter, `header` once for each header.",
        "policy main { otherwise -> m by price by latency }",
        "policy main { otherwise -> m by price 70%, latency 30% }",
    ),
    "E405": (
        "something is left out",
        "A provider has a `url`, a model at least one `serve` line with an upstream id, a fact of `one of` its values.",
        'provider p { region eu }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }',
        'provider p { url "https://p.example/v1"  region eu }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }',
    ),
    "E406": (
        "malformed option",
        "The option takes other values; the message says which. The name and the value of a `header` must be such as "
        "HTTP can carry.",
        'provider p { url "https://p.example/v1"  header "x title" "chat" }\nmodel m { serve p "m" }\n'
        "policy main { otherwise -> m }",
        'provider p { url "https://p.example/v1"  header "x-title" "chat" }\nmodel m { serve p "m" }\n'
        "policy main { otherwise -> m }",
    ),
    "E407": (
        "target after a called policy",
        "A called policy decides in full and always gives a plan or a rejection, so it stands last in its chain.",
        "policy chat { otherwise -> m }\npolicy main { otherwise -> policy chat else m }",
        "policy chat { otherwise -> m }\npolicy main { otherwise -> m else policy chat }",
    ),
    "E408": (
        "pool in a pool",
        "A pool holds models and endpoints. List the other pool's members.",
        "pool a = m\npool b = a\npolicy main { otherwise -> a else b }",
        "pool a = m\npolicy main { otherwise -> a }",
    ),
    "E409": (
        "url and protocol disagree",
        "`sim://` urls and `protocol sim` belong together; `protocol` may be left out with a `sim://` url.",
        'provider p { url "sim://?ttft=200ms"  protocol openai }\nmodel m { serve p "m" }\n'
        "policy main { otherwise -> m }",
        'provider p { url "sim://?ttft=200ms"  protocol sim }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }',
    ),
    "E410": (
        "options that contradict each other",
        "`random` and `balance` draw and cannot be mixed with an order by shares; in a mix every order has its share; "
        "a body parameter is capped, set or dropped, only one of them.",
        "policy main { otherwise -> m by price 70%, latency }",
        "policy main { otherwise -> m by price 70%, latency 30% }",
    ),
    "E411": (
        "parameter that cannot be edited",
        "`model`, `messages`, `prompt`, `input` and `stream` are read or written by the router itself.",
        "policy main { otherwise -> m set model gpt }",
        "policy main { otherwise -> m set temperature 0 }",
    ),
    "E412": (
        "calls nested too deep",
        "A chain of calls has at most 32 policies.",
        "\n".join(f"policy p{n} {{ otherwise -> policy p{n + 1} }}" for n in range(32))
        + "\npolicy p32 { otherwise -> m }",
        "policy p0 { otherwise -> policy p1 }\npolicy p1 { otherwise -> m }",
    ),
}
