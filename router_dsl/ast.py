"""What an author wrote, as frozen values: the syntax tree of a `.route` file.

Nothing here is resolved or checked: names are names, numbers keep their unit. Every node knows its
span; spans take no part in equality, so `parse(format(x)) == parse(x)` compares meaning alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from router_dsl.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the text."""

    span: Span = field(compare=False, repr=False, kw_only=True)


# --- leaves ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name, written bare or as a string (`quoted` says which; both mean the same)."""

    text: str
    quoted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A string literal, escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number with its suffix as written.

    Attributes:
        value: The digits before the suffix, as a decimal string (`24`, `0.90`, `-1`).
        unit: `""`, `k M G Ki Mi Gi`, `ms s m h d`, `$` or `%`; anything else is for the checker to refuse.
    """

    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Regex(Node):
    """`/…/` or `/…/i`."""

    pattern: str
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class Path(Node):
    """A fact as written: `prompt.tokens`, `header."X-A.B"`, `time.hour@"Europe/Berlin"`, `healthy(fast)`.

    Attributes:
        parts: The dotted names, in order; at least one.
        argument: The pool of `healthy(POOL)` and `load(POOL)`, else None.
        zone: The text behind `@`, else None.
    """

    parts: tuple[Name, ...]
    argument: Name | None = None
    zone: Text | None = None

    @property
    def text(self) -> str:
        """The dotted name without argument and zone."""
        return ".".join(part.text for part in self.parts)


LiteralValue = Name | Text | Number


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`LOW..HIGH`, both ends included."""

    low: LiteralValue
    high: LiteralValue


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """`[a, "b c", 1..3]`."""

    items: tuple[LiteralValue | Range, ...]


# --- conditions -----------------------------------------------------------------------------------

CompareOp = Literal["==", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with", "matches"]


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`FACT OP VALUE`."""

    fact: Path
    op: CompareOp
    value: LiteralValue | Regex


@dataclass(frozen=True, slots=True)
class In(Node):
    """`FACT [not] in LIST|RANGE|NAME`; a Name is a `let` list."""

    fact: Path
    among: ListOf | Range | Name
    negated: bool


@dataclass(frozen=True, slots=True)
class Alone(Node):
    """A bool fact or a `let` condition standing alone."""

    fact: Path


@dataclass(frozen=True, slots=True)
class Has(Node):
    """`has FACT`: present and neither empty nor zero."""

    fact: Path


@dataclass(frozen=True, slots=True)
class Missing(Node):
    """`missing FACT`."""

    fact: Path


@dataclass(frozen=True, slots=True)
class Over(Node):
    """`over LIMIT`."""

    limit: Name


@dataclass(frozen=True, slots=True)
class Not(Node):
    """`not CONDITION`."""

    item: Condition


@dataclass(frozen=True, slots=True)
class And(Node):
    """`A and B and …`, at least two, flattened."""

    items: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    """`A or B or …`, at least two, flattened."""

    items: tuple[Condition, ...]


Condition = Compare | In | Alone | Has | Missing | Over | Not | And | Or


# --- targets and actions --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ref(Node):
    """A model or pool by name, or an endpoint `MODEL @ PROVIDER[/LABEL]`."""

    name: Name
    provider: Name | None = None
    label: Name | None = None


@dataclass(frozen=True, slots=True)
class Requested(Node):
    """`requested`: the model the client named."""


@dataclass(frozen=True, slots=True)
class Share(Node):
    """One arm of a split: a percentage and where it goes."""

    percent: Number
    target: Ref | Requested


@dataclass(frozen=True, slots=True)
class Split(Node):
    """`split 95% A, 5% B by FACT`."""

    shares: tuple[Share, ...]
    by: Path


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`policy NAME`."""

    policy: Name


Target = Ref | Requested | Split | Call


@dataclass(frozen=True, slots=True)
class By(Node):
    """`by price` or `by price 70%, latency 30%`: metric names with a share, or None for the single one."""

    metrics: tuple[tuple[Name, Number | None], ...]


@dataclass(frozen=True, slots=True)
class Where(Node):
    """`where ENDPOINT_CONDITION`."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Sticky(Node):
    """`sticky by FACT`."""

    by: Path


@dataclass(frozen=True, slots=True)
class PreferCache(Node):
    """`prefer cache`."""


@dataclass(frozen=True, slots=True)
class Deadline(Node):
    """`within D`, `first token D` or `stall D`."""

    kind: Literal["within", "first token", "stall"]
    duration: Number


@dataclass(frozen=True, slots=True)
class Retry(Node):
    """`retry N [on 429, 5xx, timeout, …]`; `on` is None when unsaid."""

    count: Number
    on: tuple[Name | Number, ...] | None


@dataclass(frozen=True, slots=True)
class Hedge(Node):
    """`hedge after D|p95 [at most P%]`."""

    after: Number | Name
    at_most: Number | None


@dataclass(frozen=True, slots=True)
class Escalate(Node):
    """`escalate to T when truncated | refused | invalid json | empty`."""

    target: Ref
    when: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Shadow(Node):
    """`shadow P% T`."""

    percent: Number
    target: Ref


@dataclass(frozen=True, slots=True)
class Cap(Node):
    """`cap PARAM N`."""

    param: Name
    value: Number


@dataclass(frozen=True, slots=True)
class Set(Node):
    """`set PARAM VALUE`."""

    param: Name
    value: LiteralValue


@dataclass(frozen=True, slots=True)
class Drop(Node):
    """`drop PARAM`."""

    param: Name


@dataclass(frozen=True, slots=True)
class Cache(Node):
    """`cache D`."""

    duration: Number


@dataclass(frozen=True, slots=True)
class Tag(Node):
    """`tag NAME`."""

    name: Name


Option = (
    By | Where | Sticky | PreferCache | Deadline | Retry | Hedge | Escalate | Shadow | Cap | Set | Drop | Cache | Tag
)


@dataclass(frozen=True, slots=True)
class Use(Node):
    """`TARGET else TARGET … OPTIONS`."""

    targets: tuple[Target, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Reject(Node):
    """`reject STATUS ["message"]`."""

    status: Number
    message: Text | None


Action = Use | Reject


# --- declarations ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import "other.route"`."""

    path: Text


@dataclass(frozen=True, slots=True)
class Prop(Node):
    """One option of a provider, model or endpoint: its keyword and its values, in the order written.

    `key env.X` is `("env", "X")`, `key secret "x"` is `("secret", "x")`, `auth bearer`, `limit 8`,
    `price $1 in $2 out $3 cached` is three numbers (the third absent when unsaid), `zdr` has none.
    """

    keyword: Name
    values: tuple[Name | Text | Number, ...]


@dataclass(frozen=True, slots=True)
class Provider(Node):
    """`provider NAME { … }`."""

    name: Name
    props: tuple[Prop, ...]


@dataclass(frozen=True, slots=True)
class Serve(Node):
    """`serve PROVIDER [as LABEL] "upstream id" …`: one endpoint."""

    provider: Name
    label: Name | None
    upstream: Text
    props: tuple[Prop, ...]


@dataclass(frozen=True, slots=True)
class Model(Node):
    """`model NAME { … }`."""

    name: Name
    props: tuple[Prop, ...]
    serves: tuple[Serve, ...]


@dataclass(frozen=True, slots=True)
class Pool(Node):
    """`pool NAME = a, b @ p, c`."""

    name: Name
    members: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Fact(Node):
    """`fact NAME: TYPE from SOURCE`; `values` are those of `one of`."""

    name: Name
    type: Name
    values: tuple[Name, ...]
    source: Path


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let NAME = CONDITION` or `let NAME = [ … ]`."""

    name: Name
    value: Condition | ListOf


@dataclass(frozen=True, slots=True)
class Defaults(Node):
    """`defaults { OPTIONS }`."""

    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Guard(Node):
    """`guard NAME: [when C] require E`."""

    name: Name
    when: Condition | None
    require: Condition


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """`limit NAME: [when C] N requests|tokens|$ per UNIT by FACT, … [soft]`.

    `$200 per day` has `unit.text == "$"`.
    """

    name: Name
    when: Condition | None
    amount: Number
    unit: Name
    per: Name
    by: tuple[Path, ...]
    soft: bool


@dataclass(frozen=True, slots=True)
class Rule(Node):
    """`LABEL: when CONDITION -> ACTION`; `when` is None for `otherwise`, whose label is `otherwise`."""

    label: Name
    when: Condition | None
    action: Action


@dataclass(frozen=True, slots=True)
class Policy(Node):
    """`policy NAME { rules }`."""

    name: Name
    rules: tuple[Rule, ...]


# --- tests and assertions -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given(Node):
    """`given FACT VALUE, …`; a bare value `missing` removes the fact."""

    facts: tuple[tuple[Path, LiteralValue], ...]


@dataclass(frozen=True, slots=True)
class Fault(Node):
    """`down X`, `slow X D` or `full X`; X is a provider, a model or an endpoint."""

    kind: Literal["down", "slow", "full"]
    subject: Ref
    duration: Number | None = None


@dataclass(frozen=True, slots=True)
class GivenOver(Node):
    """`over LIMIT` in a test."""

    limit: Name


@dataclass(frozen=True, slots=True)
class UsePolicy(Node):
    """`policy NAME` in a test."""

    policy: Name


@dataclass(frozen=True, slots=True)
class ExpectRule(Node):
    """`expect rule LABEL`."""

    label: Name


@dataclass(frozen=True, slots=True)
class ExpectTarget(Node):
    """`expect TARGET` (first choice) or `expect not TARGET` (nowhere in the plan)."""

    target: Ref
    negated: bool


@dataclass(frozen=True, slots=True)
class ExpectReject(Node):
    """`expect reject N`."""

    status: Number


@dataclass(frozen=True, slots=True)
class ExpectOrder(Node):
    """`expect order A, B, C`."""

    targets: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class ExpectBound(Node):
    """`expect cost <= $N` or `expect attempts <= N`."""

    what: Literal["cost", "attempts"]
    limit: Number


Step = Given | Fault | GivenOver | UsePolicy | ExpectRule | ExpectTarget | ExpectReject | ExpectOrder | ExpectBound


@dataclass(frozen=True, slots=True)
class Test(Node):
    """`test "name" { steps }`."""

    name: Text
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class AssertNever(Node):
    """`assert never E [when C]`."""

    never: Condition
    when: Condition | None


@dataclass(frozen=True, slots=True)
class AssertBound(Node):
    """`assert attempts|cost|wait <= N [when C]`."""

    what: Literal["attempts", "cost", "wait"]
    limit: Number
    when: Condition | None


@dataclass(frozen=True, slots=True)
class AssertReachable(Node):
    """`assert reachable LABEL`."""

    label: Name


Assertion = AssertNever | AssertBound | AssertReachable

Declaration = Import | Provider | Model | Pool | Fact | Let | Defaults | Guard | Limit | Policy | Test | Assertion


@dataclass(frozen=True, slots=True)
class File(Node):
    """One `.route` file: its declarations in the order written.

    Attributes:
        broken: Names and rule labels whose declaration did not parse: a reference to one is no second mistake.
    """

    items: tuple[Declaration, ...]
    broken: tuple[Name, ...] = field(default=(), compare=False)
