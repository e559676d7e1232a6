"""The artefact: what a policy means, resolved and total, plus the compiled trees; encode and decode.

`Program` is the typed meaning that the checker makes of the syntax trees: every name resolved, every unit
normalised, every default filled in. The interpreter reads it, the compiler turns its rules into `Tree`s, and
`Plan` ships both: the trees decide, the program says why.

Units, everywhere below: time in seconds, shares and rates in [0, 1], prices in nano-dollars per million
tokens (`$0.90` is 900_000_000, exact to nine decimals), tokens and counts as plain numbers, IP addresses as 32
lower-case hex digits (IPv4 mapped into `::ffff:0:0/96`), so that text order is address order.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FORMAT = 1
NANO = 1_000_000_000

Scalar = str | int | float | bool


class PlanError(ValueError):
    """An artefact that cannot be used: not a plan, another format, cut short or not what its digest says."""


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Both ends included; ends are of the fact's type."""

    low: str | int | float
    high: str | int | float


# --- conditions -----------------------------------------------------------------------------------

Op = Literal[
    "eq", "ne", "lt", "le", "gt", "ge", "in", "not in",
    "contains", "starts", "ends", "matches", "has", "missing", "is",
]  # fmt: skip


class Atom(msgspec.Struct, frozen=True, tag="a"):
    """One question about one fact.

    Attributes:
        fact: Canonical name: `prompt.tokens`, `header.x-country` (lower case), `time.hour@Europe/Berlin`,
            `healthy(fast)`, `over spend`, or the name of the author's own `fact`. In an endpoint condition, the
            name of an endpoint fact.
        op: `is` asks a bool fact; `ne` and `not in` are the negations of `eq` and `in`, so they hold for a
            missing fact; every other op but `missing` is false for one.
        value: Right-hand side of the single-valued ops (`matches`: the RE2 pattern, `(?i)` in front for `/…/i`).
        items: Right-hand side of `in` and `not in`: values and ranges; CIDRs are ranges.
        text: The question as the author wrote it, on one line.
    """

    fact: str
    op: Op
    value: Scalar | None
    items: tuple[Range | str | int | float | bool, ...]
    text: str


class Not(msgspec.Struct, frozen=True, tag="n"):
    """Holds when `item` does not."""

    item: Cond


class And(msgspec.Struct, frozen=True, tag="&"):
    """Holds when every item does."""

    items: tuple[Cond, ...]


class Or(msgspec.Struct, frozen=True, tag="|"):
    """Holds when any item does."""

    items: tuple[Cond, ...]


class Named(msgspec.Struct, frozen=True, tag="l"):
    """A `let` condition, expanded, with its name kept for explanations."""

    name: str
    item: Cond


Cond = Atom | Not | And | Or | Named


# --- what there is --------------------------------------------------------------------------------


class Provider(msgspec.Struct, frozen=True):
    """Somewhere requests can be sent.

    Attributes:
        key_env: Environment variable with the key; None when there is no key or it is in a store.
        key_secret: Name of the key in the secret store, else None.
        auth: `bearer`, `api-key` or the name of the header that carries the key.
        limit: Most requests in flight at once, or None.
        cold: What a scaled-to-zero deployment does with a request.
        headers: Sent with every request.
    """

    name: str
    url: str
    key_env: str | None
    key_secret: str | None
    region: str | None
    protocol: Literal["openai", "anthropic", "sim"]
    auth: str
    limit: int | None
    cold: Literal["reject", "park"] | None
    wake: str | None
    tags: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]


class Endpoint(msgspec.Struct, frozen=True):
    """One model at one provider.

    Attributes:
        id: `MODEL@PROVIDER` or `MODEL@PROVIDER/LABEL`.
        model: Name of the model; `provider`: index into `Program.providers`.
        upstream: What the provider calls the model.
        price_in, price_out, price_cached: Nano-dollars per million tokens; None when unpriced.
        context, output: Tokens; None when unsaid (no bound known).
        supports: Features said for it, or None when nothing was said (anything goes).
        tags: The provider's, the model's and its own.
    """

    id: str
    model: str
    provider: int
    label: str | None
    upstream: str
    price_in: int | None
    price_out: int | None
    price_cached: int | None
    region: str | None
    context: int | None
    output: int | None
    quantization: str | None
    zdr: bool
    supports: tuple[str, ...] | None
    tags: tuple[str, ...]
    weight: float


class Model(msgspec.Struct, frozen=True):
    """A name that clients may ask for; `endpoints` index into `Program.endpoints`, in the order written."""

    name: str
    aka: tuple[str, ...]
    context: int | None
    output: int | None
    endpoints: tuple[int, ...]


class FactDecl(msgspec.Struct, frozen=True):
    """A typed fact of the author's own.

    Attributes:
        source: `header.x-plan`, `metadata.plan`, `key.plan` or `body.a.b`.
        values: Of `one of`, else empty.
    """

    name: str
    type: Literal["text", "number", "tokens", "bool", "ip", "one of"]
    values: tuple[str, ...]
    source: str


class Guard(msgspec.Struct, frozen=True):
    """Whenever `when` holds (None: always) only endpoints where `require` holds may be used."""

    name: str
    when: Cond | None
    require: Cond
    text: str


class Limit(msgspec.Struct, frozen=True):
    """At most `amount` of `unit` (dollars: nano-dollars) per `per_s` seconds for each value of the facts `by`."""

    name: str
    when: Cond | None
    amount: int
    unit: Literal["requests", "tokens", "$"]
    per_s: int
    by: tuple[str, ...]
    soft: bool


# --- what a rule does -----------------------------------------------------------------------------


class Endpoints(msgspec.Struct, frozen=True, tag="e"):
    """A model, a pool or one endpoint: indices into `Program.endpoints`; `text` is the name as written."""

    text: str
    endpoints: tuple[int, ...]


class Requested(msgspec.Struct, frozen=True, tag="r"):
    """The model the client named, by name or `aka`; skipped if unknown."""


class Split(msgspec.Struct, frozen=True, tag="s"):
    """Shares (each in [0, 1], in the order written) drawn by hash of the fact `by`."""

    shares: tuple[tuple[float, Endpoints | Requested], ...]
    by: str


class Call(msgspec.Struct, frozen=True, tag="p"):
    """Another policy decides; always last in a chain."""

    policy: str


Target = Endpoints | Requested | Split | Call

Metric = Literal["price", "latency", "speed", "load", "weight", "order", "random", "balance"]


class Hedge(msgspec.Struct, frozen=True):
    """A second attempt after `after_s` of silence, or after percentile `after_percentile` (0.95) of the
    endpoint's own time to first token; at most `share` of the requests."""

    after_s: float | None
    after_percentile: float | None
    share: float


class Escalate(msgspec.Struct, frozen=True):
    """Ask `target` when the buffered answer is one of `when`."""

    target: Endpoints
    when: tuple[Literal["truncated", "refused", "invalid json", "empty"], ...]


class Shadow(msgspec.Struct, frozen=True):
    """Copy this share of the requests to `target`."""

    share: float
    target: Endpoints


class Options(msgspec.Struct, frozen=True):
    """How a plan is carried out; total, `defaults` and the language's own defaults merged in.

    Attributes:
        by: Metrics and their shares, summing to 1; `(("balance", 1.0),)` unless said.
        where: Endpoint condition, or None.
        sticky: Fact to hash, or None.
        retry: Attempts beyond the first for each target.
        retry_on: Which failures move on: status codes, `5xx`, `4xx`, `timeout`, `connect`, `empty`.
        cap, set, drop: Edits of the outgoing body.
    """

    by: tuple[tuple[Metric, float], ...]
    where: Cond | None
    where_text: str | None
    sticky: str | None
    prefer_cache: bool
    within_s: float | None
    first_token_s: float | None
    stall_s: float | None
    retry: int
    retry_on: tuple[str, ...]
    hedge: Hedge | None
    escalate: Escalate | None
    shadow: Shadow | None
    cap: tuple[tuple[str, int | float], ...]
    set: tuple[tuple[str, Scalar], ...]
    drop: tuple[str, ...]
    cache_s: float | None
    tag: str | None


DEFAULT_RETRY_ON = ("429", "5xx", "timeout", "connect", "empty")

DEFAULT_OPTIONS = Options(
    by=(("balance", 1.0),),
    where=None,
    where_text=None,
    sticky=None,
    prefer_cache=False,
    within_s=None,
    first_token_s=None,
    stall_s=None,
    retry=1,
    retry_on=DEFAULT_RETRY_ON,
    hedge=None,
    escalate=None,
    shadow=None,
    cap=(),
    set=(),
    drop=(),
    cache_s=None,
    tag=None,
)


class Use(msgspec.Struct, frozen=True, tag="u"):
    """Try the targets in order, as `options` say."""

    targets: tuple[Target, ...]
    options: Options


class Reject(msgspec.Struct, frozen=True, tag="x"):
    """Answer with `status` and `message`."""

    status: int
    message: str | None


Action = Use | Reject


class Rule(msgspec.Struct, frozen=True):
    """`when` is None for `otherwise`, which is always the last and is labelled `otherwise`.

    Attributes:
        file, line: Where it stands; `text`: the condition as written, on one line.
    """

    label: str
    when: Cond | None
    action: Action
    file: str
    line: int
    text: str


class Policy(msgspec.Struct, frozen=True):
    """Rules in order; the first that holds decides."""

    name: str
    rules: tuple[Rule, ...]


# --- tests and assertions -------------------------------------------------------------------------


class Expect(msgspec.Struct, frozen=True):
    """One expectation of a test.

    Attributes:
        kind: `rule` and `reject` compare `value`; `first`, `never` and `order` look at `targets` (each the set
            of endpoint indices that a name stands for); `cost` (nano-dollars) and `attempts` are upper bounds.
    """

    kind: Literal["rule", "first", "never", "reject", "order", "cost", "attempts"]
    value: str | int | None
    targets: tuple[Endpoints, ...]
    line: int
    text: str


class Test(msgspec.Struct, frozen=True):
    """A `test` block.

    Attributes:
        given: Facts set, by canonical name; None makes a fact missing.
        down, full: Endpoint indices; `slow`: endpoint index and seconds to first token.
        over: Names of limits that are exceeded.
        policy: The policy it runs, by name.
    """

    name: str
    file: str
    line: int
    policy: str
    given: tuple[tuple[str, Scalar | None], ...]
    down: tuple[int, ...]
    slow: tuple[tuple[int, float], ...]
    full: tuple[int, ...]
    over: tuple[str, ...]
    expect: tuple[Expect, ...]


class Assertion(msgspec.Struct, frozen=True):
    """An `assert`: `never` (endpoint condition), `attempts`, `cost` (nano-dollars), `wait` (seconds), `reachable`."""

    kind: Literal["never", "attempts", "cost", "wait", "reachable"]
    never: Cond | None
    limit: float | None
    label: str | None
    when: Cond | None
    file: str
    line: int
    text: str


class Program(msgspec.Struct, frozen=True):
    """The meaning of a policy, imports included. The first policy is the default."""

    name: str
    providers: tuple[Provider, ...]
    models: tuple[Model, ...]
    endpoints: tuple[Endpoint, ...]
    pools: tuple[tuple[str, tuple[int, ...]], ...]
    facts: tuple[FactDecl, ...]
    guards: tuple[Guard, ...]
    limits: tuple[Limit, ...]
    policies: tuple[Policy, ...]
    tests: tuple[Test, ...]
    assertions: tuple[Assertion, ...]
