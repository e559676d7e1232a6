"""What a client wishes of the plan of its request. A wish narrows the plan or re-orders it; it never widens it.

Which fields there are, and what each does, is docs/openrouter.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import msgspec

from router_dsl.plan import NANO, Endpoint, Metric, Program
from runtime.decision.facts import Facts
from runtime.decision.naming import IsKnown, Named, WishError, is_plain, named
from runtime.decision.state import State
from runtime.wire.errors import bad_request
from runtime.wire.preferences import Cutoffs, MaxPrice, Preferences, Sort, price_usd
from runtime.wire.request import Body

TIERS = frozenset({"flex", "priority"})
"""Labels of endpoints at another tier of service, which a provider's name alone does not mean (OpenRouter's rule)."""

NO_TRAINING = "no-training"
"""Tag of an endpoint that does not train on what it is sent; one with zero data retention needs none."""

DISTILLABLE = "distillable"
"""Tag of a model whose answers others may be trained on."""

SORT_OF = {"floor": "price", "nitro": "throughput"}
METRIC_OF: dict[str, Metric] = {"price": "price", "throughput": "speed", "latency": "latency"}

_NOTHING = Preferences()


class Wishes(msgspec.Struct, frozen=True):
    """What one client wishes.

    Attributes:
        named: The models and the policy it named.
        provider: Its preferences among endpoints.
        by: The metric to order by instead of the policy's, or None.
        is_pooled: Its models are one pool, instead of one after the other.
    """

    named: Named
    provider: Preferences
    by: Metric | None
    is_pooled: bool

    @property
    def is_only_first(self) -> bool:
        """Whether nothing but the first choice may be tried."""
        return self.provider.allow_fallbacks is False

    @property
    def is_order_said(self) -> bool:
        """Whether the client says in which order, at least of some: nothing is drawn then, and nothing sticks."""
        return self.by is not None or bool(self.provider.order)

    @property
    def has_cutoffs(self) -> bool:
        """Whether the client says how fast is fast enough."""
        return self.provider.preferred_min_throughput is not None or self.provider.preferred_max_latency is not None

    def is_too_slow(self, endpoint: int, state: State) -> bool:
        """Whether an endpoint (index) is measured to miss a cut-off; without data it misses none."""
        return self.has_cutoffs and _is_too_slow(endpoint, self.provider, state)

    def against(self, program: Program, index: int, facts: Facts) -> str | None:
        """Return the wish that speaks against an endpoint, or None."""
        wished, endpoint = self.provider, program.endpoints[index]
        provider = program.providers[endpoint.provider].name
        if wished.only and not _is_any(wished.only, endpoint, provider):
            return "provider.only"
        if wished.ignore and _is_any(wished.ignore, endpoint, provider):
            return "provider.ignore"
        if self.is_only_first and wished.order and not _is_any(wished.order, endpoint, provider):
            return "provider.allow_fallbacks"
        if wished.zdr and not endpoint.zdr:
            return "provider.zdr"
        if wished.data_collection == "deny" and not endpoint.zdr and NO_TRAINING not in endpoint.tags:
            return "provider.data_collection"
        if wished.enforce_distillable_text and DISTILLABLE not in endpoint.tags:
            return "provider.enforce_distillable_text"
        if wished.quantizations and (endpoint.quantization or "unknown").lower() not in wished.quantizations:
            return "provider.quantizations"
        if wished.max_price is not None and _is_dearer(endpoint, wished.max_price):
            return "provider.max_price"
        if wished.require_parameters and (lacks := _lacks(endpoint, facts)):
            return f"provider.require_parameters ({lacks})"
        if self.named.variant == "free" and (endpoint.price_in, endpoint.price_out) != (0, 0):
            return "model:free"
        return None

    def arrange(self, endpoints: Sequence[int], program: Program, state: State) -> list[int]:
        """Return endpoints as the client prefers them; what it does not care about keeps its order."""
        table, order = program.endpoints, self.provider.order or ()
        if not order and not self.has_cutoffs:
            return list(endpoints)

        def rank(index: int) -> tuple[int, bool]:
            endpoint = table[index]
            provider = program.providers[endpoint.provider].name
            place = next((i for i, slug in enumerate(order) if _is(slug, endpoint, provider)), len(order))
            return place, self.is_too_slow(index, state)

        return sorted(endpoints, key=rank)

    def told(self, program: Program) -> dict[str, object]:
        """Return what is applied, as plain JSON values, for explanations; nothing for what was not said."""
        found: dict[str, object] = {}
        if len(self.named.models) > 1:
            found["models"] = list(self.named.models)
        if self.named.policy is not None:
            found["policy"] = self.named.policy
        if self.named.variant is not None:
            found["variant"] = self.named.variant
        said = {
            name: value for name in Preferences.__struct_fields__ if (value := getattr(self.provider, name)) is not None
        }
        if said:
            found["provider"] = msgspec.to_builtins(_without_nulls(said))
        if self.is_pooled:
            found["partition"] = "none"
        if strangers := self._strangers(program):
            found["unmatched"] = strangers
        return found

    def _strangers(self, program: Program) -> list[str]:
        """Return the slugs that are nobody's here."""
        wished = self.provider
        slugs = dict.fromkeys([*(wished.order or ()), *(wished.only or ()), *(wished.ignore or ())])
        names = [(endpoint, program.providers[endpoint.provider].name) for endpoint in program.endpoints]
        return [slug for slug in slugs if not any(_is(slug, endpoint, provider) for endpoint, provider in names)]


def wishes_of(body: Body, is_known: IsKnown) -> Wishes | None:
    """Return what a client wishes, None when it only names a model.

    Raises:
        naming.WishError: It wishes for what cannot be.
    """
    if body.provider is None and body.route is None and is_plain(body):
        return None
    found = named(body, is_known)
    wished = body.provider or _NOTHING
    sort = wished.sort if isinstance(wished.sort, Sort) else Sort(wished.sort)
    implied = SORT_OF.get(found.variant or "")
    if sort.by is not None and implied not in (None, sort.by):
        raise WishError(
            bad_request(f"`provider.sort` contradicts `:{found.variant}`", "provider.sort", "invalid_value")
        )
    by = METRIC_OF.get(sort.by or implied or "")
    partition = sort.partition or ("none" if body.route == "sort" else "model")
    return Wishes(found, wished, by, partition == "none")


# --- endpoints as OpenRouter's slugs name them ----------------------------------------------------


def _is(slug: str, endpoint: Endpoint, provider: str) -> bool:
    """Whether a slug means an endpoint: `PROVIDER`, or `PROVIDER/` with its label, region or quantization."""
    base, slash, detail = slug.lower().partition("/")
    if base != provider.lower():
        return False
    label = (endpoint.label or "").lower()
    if not slash:
        return label not in TIERS
    return detail in (label, (endpoint.region or "").lower(), (endpoint.quantization or "").lower())


def _is_any(slugs: Sequence[str], endpoint: Endpoint, provider: str) -> bool:
    return any(_is(slug, endpoint, provider) for slug in slugs)


# --- the single wishes ----------------------------------------------------------------------------


def _is_dearer(endpoint: Endpoint, most: MaxPrice) -> bool:
    """Whether an endpoint costs more, or an unknown price; per request, picture and sound a policy has no price."""
    for price, said in ((endpoint.price_in, most.prompt), (endpoint.price_out, most.completion)):
        bound_usd = price_usd(said)
        if bound_usd is not None and (price is None or price > round(bound_usd * NANO)):
            return True
    return False


def _lacks(endpoint: Endpoint, facts: Facts) -> str:
    """Return what the request uses and the endpoint does not have, beyond what excludes an endpoint anyway."""
    says_without = endpoint.supports is not None and "reasoning" not in endpoint.supports
    if says_without and facts["reasoning"] not in (None, "none"):
        return "reasoning"
    output = facts["output.tokens"]
    if endpoint.output is not None and isinstance(output, int | float) and output > endpoint.output:
        return "max_tokens"
    return ""


def _is_too_slow(index: int, wished: Preferences, state: State) -> bool:
    for _, least in _cutoffs(wished.preferred_min_throughput):
        # Of the speed only an average is kept; it stands for all percentiles.
        if (speed := state.measured(index, "speed")) is not None and speed < least:
            return True
    for name, most_s in _cutoffs(wished.preferred_max_latency):
        if (state.measured(index, f"ttft.{name}") or -inf) > most_s:
            return True
    return False


def _cutoffs(said: float | Cutoffs | None) -> Iterator[tuple[str, float]]:
    if isinstance(said, Cutoffs):
        yield from said.said()
    elif said is not None:
        yield "p50", said


def _without_nulls(said: dict[str, object]) -> dict[str, object]:
    """Return what was said without the fields of inner objects that were not."""
    return {
        name: {k: v for k in value.__struct_fields__ if (v := getattr(value, k)) is not None}
        if isinstance(value, msgspec.Struct)
        else value
        for name, value in said.items()
    }
