"""Codes E3xx: values, units and operators that do not fit."""

from __future__ import annotations

TYPES: dict[str, tuple[str, str, str, str]] = {
    "E301": (
        "value of another type",
        "The right side of a comparison is read as the type of the fact on its left: text is a name or a string, a "
        "number is written without quotes, a bool is `true` or `false`, a regex belongs to `matches`.",
        "policy main { v2: when header.x-version == 2 -> m  otherwise -> m }",
        'policy main { v2: when header.x-version == "2" -> m  otherwise -> m }',
    ),
    "E302": (
        "wrong unit",
        "Counts take `k M G` (thousands) or `Ki Mi Gi` (1024s), durations `ms s m h d`, money `$`, shares `%`. A "
        "number without its unit could mean anything, so it is refused.",
        "policy main { otherwise -> m within 30 }",
        "policy main { otherwise -> m within 30s }",
    ),
    "E303": (
        "operator that does not apply",
        "Each type has its operators: text is compared with `== != in`, `contains`, `starts with`, `ends with` and "
        "`matches`; numbers, shares, prices, durations and dates with `== != < <= > >= in`; addresses with "
        "`== != in`; sets such as `tags` with `contains`; a bool stands alone.",
        "policy main { busy: when header.x-queue > 5 -> m  otherwise -> m }",
        "fact waiting: number from header.x-queue\npolicy main { busy: when waiting > 5 -> m  otherwise -> m }",
    ),
    "E304": (
        "regex that RE2 refuses",
        "Regexes are RE2's, which match any text in linear time. RE2 has no look-around and no back-references.",
        r"policy main { a: when prompt.last matches /(?=code)x/ -> m  otherwise -> m }",
        r"policy main { a: when prompt.last matches /code.*x/ -> m  otherwise -> m }",
    ),
    "E305": (
        "no address",
        "Addresses are IPv4 or IPv6, in quotes. Networks are written as CIDR and asked with `in`.",
        'policy main { office: when client.ip == "10.0.0.0/8" -> m  otherwise -> m }',
        'policy main { office: when client.ip in ["10.0.0.0/8"] -> m  otherwise -> m }',
    ),
    "E306": (
        "no date",
        'Dates are written `"2026-12-24"`, in quotes; `starts with "2026-12"` asks for a month.',
        'policy main { a: when time.date == "24.12.2026" -> m  otherwise -> m }',
        'policy main { a: when time.date == "2026-12-24" -> m  otherwise -> m }',
    ),
    "E307": (
        "number out of range",
        "`reject` answers with a status from 400 to 599, `retry` takes 0 to 10, a percentage 0% to 100%, a duration "
        "at least a millisecond; tokens and counts are whole; prices are exact to nine decimals.",
        "policy main { a: when stream -> reject 200  otherwise -> m }",
        "policy main { a: when stream -> reject 403  otherwise -> m }",
    ),
    "E308": (
        "not a condition",
        "Alone, only a bool fact or a `let` condition is a condition. Everything else is compared, or asked with "
        "`has` or `missing`; a soft limit with `over`. A `let` in turn is no fact: it cannot be compared or given.",
        "policy main { a: when tools -> m  otherwise -> m }",
        "policy main { a: when has tools -> m  otherwise -> m }",
    ),
    "E309": (
        "empty range",
        "A range runs from its smaller end to its larger one, both included. Hours past midnight are two ranges.",
        "policy main { night: when time.hour in 22..6 -> m  otherwise -> m }",
        "policy main { night: when time.hour in [22..23, 0..6] -> m  otherwise -> m }",
    ),
    "E310": (
        "not a list",
        "`in` takes a list, a range or a `let` list; this `let` is a condition.",
        "let eu = header.x-country == de\npolicy main { a: when region in eu -> m  otherwise -> m }",
        "let eu = [de, fr]\npolicy main { a: when region in eu -> m  otherwise -> m }",
    ),
    "E311": (
        "no such address or variable",
        "A provider's `url` is an `http://`, `https://` or `sim://` address (`https+h2://` or `http+h2://` over "
        "HTTP/2), `wake` an `http://` or `https://` one; `key env.NAME` names an environment variable.",
        'provider p { url "api.example.com/v1" }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }',
        'provider p { url "https://api.example.com/v1" }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }',
    ),
    "E312": (
        "condition too large",
        "With its lets written out a condition asks at most 10,000 questions, nested at most 100 deep.",
        "let l0 = stream and has tools\n"
        + "\n".join(f"let l{n} = l{n - 1} or l{n - 1}" for n in range(1, 16))
        + "\npolicy main { a: when l15 -> m  otherwise -> m }",
        "let l0 = stream and has tools\npolicy main { a: when l0 -> m  otherwise -> m }",
    ),
}
