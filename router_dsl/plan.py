"""The artefact: what a policy means, resolved and total, plus the compiled trees; encode and decode.

`Program` is the typed meaning that the checker makes of the syntax trees: every name resolved, every unit
normalised, every default filled in. The interpreter reads it, the compiler turns its rules into `Tree`s, and
`Plan` ships both: the trees decide, the program says why.

Units, everywhere below: time in seconds, shares and rates in [0, 1], prices in nano-dollars per million
tokens (`$0.90` is 900_000_000, exact to nine decimals), tokens and counts as plain numbers, IP addresses as 32
lower-case hex digits (IPv4 mapped into `::ffff:0:0/96`), so that text order is address order.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, cast, overload

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
    protocol: Literal["openai", "responses", "anthropic", "sim"]
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


# What holds where a policy says nothing, and whatever it says; in seconds. 600: the SDKs' own time-out, and the longest
# that Baseten parks a cold request; after it nobody waits.
FIRST_TOKEN_CEILING_S = 600.0

# An endpoint that asks for a longer pause is not waited for: another one may answer, and the client may come back.
LONGEST_PAUSE_S = 2.0


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
    endpoint's own time to first token; at most `share` of the requests.
    """

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
        retry_on: Failures that another attempt of the same target may mend: status codes, `5xx`, `4xx`, `timeout`,
            `connect`, `empty`; after any other the next target has its turn.
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

    def declares(self, name: str) -> bool:
        """Whether a model goes by that name, its own or another."""
        return any(name == model.name or name in model.aka for model in self.models)


# --- trees: the rules of a policy as tables -------------------------------------------------------

Mask = int | bytes
"""A set of terms as stored: in a block of less than 64 an integer; else little-endian bytes, or as an integer the
one bit that differs from the mask before it."""


class Column(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """One fact: for each class of its values, the terms of the block that such a value leaves alive.

    Classes are numbers into `masks`. A text is looked up in `points`, or in `starts` when something asks its
    order; a number in `numbers`; a bool in `bools`. Kinds that no term asks about, and texts that are no point,
    are `other`, or `empty` when they are the empty text, zero, false or an empty set.

    Attributes:
        starts: First text of each interval but the first; `spans` has the classes, one more than there are starts.
        numbers: Likewise, for numbers.
        bools: Classes of false and true, or nothing when no term asks.
    """

    fact: str
    masks: tuple[Mask, ...]
    missing: int
    empty: int
    other: int
    points: dict[str, int]
    starts: tuple[str, ...]
    spans: tuple[int, ...]
    numbers: tuple[int | float, ...]
    number_spans: tuple[int, ...]
    bools: tuple[int, ...]


class Probe(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A question that no table answers (`contains`, `ends with`, `matches`): the terms alive after no and yes."""

    fact: str
    cond: Cond
    masks: tuple[Mask, ...]


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Terms in the order of their rules; the lowest one that every look-up leaves alive decides.

    Attributes:
        rules: The rule of each term.
        columns: Looked up always. `lazy`: looked up while a term that could decide asks for them, cheapest first.
    """

    rules: tuple[int, ...]
    columns: tuple[Column, ...]
    lazy: tuple[Column | Probe, ...]


class Tree(msgspec.Struct, frozen=True, array_like=True):
    """The compiled form of a policy.

    Attributes:
        switch: The text fact whose value picks one of `cases`, or None.
        cases: Encoded blocks (`blocks_of`) by value, decoded on first use: a plan may have 100,000 of them.
        shared: Blocks asked whatever the value; the earlier rule of both finds decides.
    """

    switch: str | None
    cases: dict[str, bytes]
    shared: tuple[Block, ...]


_BLOCKS = msgspec.msgpack.Decoder(tuple[Block, ...])


def blocks_of(case: bytes) -> tuple[Block, ...]:
    """Return the blocks of one case of a switch."""
    return _BLOCKS.decode(case)


_NARROW = 64


def pack_masks(masks: Sequence[int], terms: int) -> tuple[Mask, ...]:
    """Return masks over `terms` bits as they are stored."""
    if terms < _NARROW:
        return tuple(masks)
    packed: list[Mask] = []
    for number, mask in enumerate(masks):
        # Along the values of an ordered fact, one rule begins or ends at a time.
        change = mask ^ masks[number - 1] if number else 0
        single = change.bit_count() == 1
        packed.append(change.bit_length() - 1 if single else mask.to_bytes((terms + 7) // 8, "little"))
    return tuple(packed)


def unpack_masks(packed: Sequence[Mask], terms: int) -> list[int]:
    """Return stored masks over `terms` bits as integers."""
    if terms < _NARROW:
        return cast("list[int]", list(packed))
    masks: list[int] = []
    mask = 0
    for item in packed:
        mask = int.from_bytes(item, "little") if isinstance(item, bytes) else mask ^ (1 << item)
        masks.append(mask)
    return masks


# --- the artefact ---------------------------------------------------------------------------------


class Certificate(msgspec.Struct, frozen=True):
    """What was proved of the trees when they were built.

    A decision is the lowest bit of an AND of masks, one for each fact. So it is the rules' own answer if, for
    every fact, one value of each class and every term i, bit i says what the term's conditions on that fact
    say of the value, and if the terms of a rule together are its condition. Both are checked completely.

    Attributes:
        subject: SHA-256 of the encoded program and trees that it is about, in hex.
        classes: Classes of values that were tried.
        terms: Terms they were tried on.
    """

    subject: str
    classes: int
    terms: int


class Plan(msgspec.Struct, frozen=True):
    """A policy, compiled: what is shipped and served.

    Attributes:
        compiler: Version of the compiler that made it.
        digest: SHA-256 of the sources, in hex.
        trees: By name of the policy.
    """

    format: int
    compiler: str
    digest: str
    program: Program
    trees: dict[str, Tree]
    certificate: Certificate


_CHUNK = 64
"""Rules decoded at once. A decision needs one rule's action, so 100,000 of them need not be decoded to start."""

_RULES = msgspec.msgpack.Decoder(tuple[Rule, ...])


class PackedRules(Sequence[Rule]):
    """The rules of a decoded policy, unpacked as they are asked for; equal to the tuple of them."""

    def __init__(self, count: int, chunks: tuple[bytes, ...]) -> None:
        self.chunks = chunks
        self._count = count
        self._open: dict[int, tuple[Rule, ...]] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Rule, ...]: ...
    def __getitem__(self, index: int | slice) -> Rule | tuple[Rule, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._chunk(index // _CHUNK)[index % _CHUNK]

    def __iter__(self) -> Iterator[Rule]:
        for number in range(len(self.chunks)):
            yield from self._chunk(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _chunk(self, number: int) -> tuple[Rule, ...]:
        rules = self._open.get(number)
        if rules is None:
            rules = self._open[number] = _RULES.decode(zlib.decompress(self.chunks[number]))
        return rules


def _chunks(rules: Sequence[Rule]) -> tuple[bytes, ...]:
    if isinstance(rules, PackedRules):
        # As they came: another release of zlib may pack the same rules otherwise, and the digest is of the bytes.
        return rules.chunks
    return tuple(
        zlib.compress(msgspec.msgpack.encode(rules[start : start + _CHUNK])) for start in range(0, len(rules), _CHUNK)
    )


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """Program and trees as stored: the rules apart, as (count, chunks) for each policy."""

    program: Program
    rules: tuple[tuple[int, tuple[bytes, ...]], ...]
    trees: dict[str, Tree]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a plan before its body is read."""

    compiler: str
    digest: str
    content: bytes
    certificate: Certificate


_MAGIC = b"\x89POINTSMAN\r\n"
"""First byte above 127 and a line end of each kind, as in PNG: what a text transfer would mangle."""

_FRAME = struct.Struct(">12sHIQ32s")
"""Magic, format, bytes of head and body, SHA-256 of the head."""

_HEAD = msgspec.msgpack.Decoder(_Head)
_BODY = msgspec.msgpack.Decoder(_Body)


def encode_body(program: Program, trees: dict[str, Tree]) -> bytes:
    """Return program and trees as bytes; their SHA-256 is the subject of the certificate."""
    bare = tuple(msgspec.structs.replace(policy, rules=()) for policy in program.policies)
    rules = tuple((len(policy.rules), _chunks(policy.rules)) for policy in program.policies)
    return msgspec.msgpack.encode(_Body(msgspec.structs.replace(program, policies=bare), rules, trees))


def encode(plan: Plan) -> bytes:
    """Return the plan as bytes for `decode`."""
    body = encode_body(plan.program, plan.trees)
    content = hashlib.sha256(body).digest()
    head = msgspec.msgpack.encode(_Head(plan.compiler, plan.digest, content, plan.certificate))
    return _FRAME.pack(_MAGIC, plan.format, len(head), len(body), hashlib.sha256(head).digest()) + head + body


def decode(data: bytes) -> Plan:
    """Return the plan that `encode` wrote.

    The digests are checked over every byte; what the certificate says was checked when it was built
    (`compile/certify.py`), and holds for exactly the bytes it names.

    Raises:
        PlanError: It is no plan, of another format, cut short, damaged, or its certificate is of something else.
    """
    if data[: len(_MAGIC)] != _MAGIC[: len(data)] or not data:
        raise PlanError("not a plan: it does not begin as one")
    if len(data) < _FRAME.size:
        raise PlanError(f"plan is cut short: {len(data)} bytes, not even a header")
    _, number, head_size, body_size, head_digest = _FRAME.unpack_from(data)
    if number != FORMAT:
        raise PlanError(f"plan has format {number}, this release reads format {FORMAT}: build it again")
    expected = _FRAME.size + head_size + body_size
    if len(data) != expected:
        fault = "is cut short" if len(data) < expected else "goes on behind its end"
        raise PlanError(f"plan {fault}: {len(data)} bytes, its header says {expected}")
    view = memoryview(data)
    raw_head, raw_body = view[_FRAME.size : _FRAME.size + head_size], view[_FRAME.size + head_size :]
    if hashlib.sha256(raw_head).digest() != head_digest:
        raise PlanError("plan is damaged: its header does not match its digest")
    try:
        head = _HEAD.decode(raw_head)
        content = hashlib.sha256(raw_body).digest()
        if content != head.content:
            raise PlanError("plan is damaged: its content does not match its digest")
        if content.hex() != head.certificate.subject:
            raise PlanError("plan is not certified: its certificate is about other content")
        body = _BODY.decode(raw_body)
    except msgspec.MsgspecError as error:
        raise PlanError(f"plan cannot be read: {error}".rstrip(".")) from None
    return Plan(number, head.compiler, head.digest, _whole(body), body.trees, head.certificate)


def _whole(body: _Body) -> Program:
    if len(body.rules) != len(body.program.policies):
        raise PlanError("plan cannot be read: it has rules for other policies than it names")
    policies = tuple(
        msgspec.structs.replace(policy, rules=cast("tuple[Rule, ...]", PackedRules(*rules)))
        for policy, rules in zip(body.program.policies, body.rules, strict=True)
    )
    return msgspec.structs.replace(body.program, policies=policies)
