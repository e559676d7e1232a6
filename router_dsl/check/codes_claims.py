"""Codes E7xx: what a policy asserts of itself and is not so."""

from __future__ import annotations

CLAIMS: dict[str, tuple[str, str, str, str]] = {
    "E701": (
        "assertion that is false",
        "A plan that the policy can make breaks it; the witness is a request that gets that plan. All ways count: "
        "targets, fallbacks, hedges, copies and escalations, `requested`, and what clients may prefer. It is reported "
        "when the code that serves has made such a plan for the witness, so there are no false alarms; without a "
        "finding the assertion is proved ([how](../proofs.md)).",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m"  serve q "m" }\n'
        "policy main { otherwise -> m }\nassert never region != eu when header.x-country == de",
        'provider p { url "https://p.example/v1"  region us }\nprovider q { url "https://q.example/v1"  region eu }\n'
        'model m { serve p "m"  serve q "m" }\n'
        "guard residency: when header.x-country == de require region == eu\n"
        "policy main { otherwise -> m }\nassert never region != eu when header.x-country == de",
    ),
}
