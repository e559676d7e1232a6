"""A plan is whole or refused: every byte is under a digest, and the certificate is about those bytes."""

from __future__ import annotations

import msgspec
import pytest
from differential import sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl.compile.build import build
from router_dsl.compile.certify import UncertifiedError, verify
from router_dsl.plan import (
    And,
    Atom,
    Plan,
    PlanError,
    Reject,
    blocks_of,
    decode,
    encode,
    pack_masks,
    unpack_masks,
)
from router_dsl.strategies import policy_of, program_of

TRIAL = Atom("plan", "eq", "trial", (), "plan == trial")
CODE = Atom("task", "in", None, ("code", "math"), "task in [code, math]")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return build(program_of(policy_of([TRIAL, And((TRIAL, CODE)), CODE, None])), "ab" * 32)


def refused(data: bytes) -> str:
    with pytest.raises(PlanError) as caught:
        decode(data)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


def test_a_plan_comes_back_as_it_was(plan: Plan) -> None:
    again = decode(encode(plan))
    assert again == plan
    assert again.digest == "ab" * 32
    verify(again)


def test_rules_of_a_decoded_plan_behave_as_a_tuple() -> None:
    policy, _ = sampled(0, requests=0)
    rules = decode(encode(build(program_of(policy), ""))).program.policies[0].rules
    assert len(rules) == len(policy.rules) > 64
    assert rules[0] == policy.rules[0]
    assert rules[-1] == policy.rules[-1]
    assert rules[60:70] == policy.rules[60:70]
    assert list(rules) == list(policy.rules)
    assert rules == policy.rules
    assert policy.rules == rules
    assert hash(rules) == hash(policy.rules)
    assert policy.rules[65] in rules
    with pytest.raises(IndexError):
        rules[len(rules)]


@pytest.mark.parametrize("data", [b"", b"policy main { otherwise -> m }", b"PK\x03\x04" + b"\0" * 100, b"\x89PNG\r\n"])
def test_what_is_no_plan_is_said_to_be_none(data: bytes) -> None:
    assert refused(data) == "not a plan: it does not begin as one"


def test_a_plan_cut_anywhere_is_refused(plan: Plan) -> None:
    data = encode(plan)
    for size in range(1, len(data)):
        assert "cut short" in refused(data[:size])


def test_a_plan_with_more_behind_it_is_refused(plan: Plan) -> None:
    assert "goes on behind its end" in refused(encode(plan) + b"\0")


def test_a_plan_of_another_format_says_which(plan: Plan) -> None:
    other = encode(msgspec.structs.replace(plan, format=7))
    assert refused(other) == "plan has format 7, this release reads format 1: build it again"


@pytest.mark.slow
def test_every_changed_byte_is_noticed(plan: Plan) -> None:
    data = bytearray(encode(plan))
    for place in range(len(data)):
        data[place] ^= 0x10
        refused(bytes(data))
        data[place] ^= 0x10
    assert decode(bytes(data)) == plan


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    refused(data)
    refused(b"\x89POINTSMAN\r\n" + data)


def test_a_certificate_of_other_rules_is_refused(plan: Plan) -> None:
    policy = plan.program.policies[0]
    rules = (*policy.rules[:-1], msgspec.structs.replace(policy.rules[-1], action=Reject(451, None)))
    changed = msgspec.structs.replace(plan.program, policies=(msgspec.structs.replace(policy, rules=rules),))
    forged = msgspec.structs.replace(plan, program=changed)
    assert refused(encode(forged)) == "plan is not certified: its certificate is about other content"


def test_every_flipped_bit_of_every_mask_is_refused(plan: Plan) -> None:
    tree = plan.trees["main"]
    (block,) = tree.shared
    for kind in ("columns", "lazy"):
        for index, column in enumerate(getattr(block, kind)):
            for number, mask in enumerate(column.masks):
                for bit in range(len(block.rules)):
                    masks = (*column.masks[:number], mask ^ (1 << bit), *column.masks[number + 1 :])
                    tables = list(getattr(block, kind))
                    tables[index] = msgspec.structs.replace(column, masks=masks)
                    wrong = msgspec.structs.replace(block, **{kind: tuple(tables)})
                    trees = {"main": msgspec.structs.replace(tree, shared=(wrong,))}
                    with pytest.raises(UncertifiedError):
                        verify(msgspec.structs.replace(plan, trees=trees))


def test_a_tree_for_another_policy_is_refused(plan: Plan) -> None:
    other = build(program_of(policy_of([CODE, TRIAL, None])), "")
    with pytest.raises(UncertifiedError):
        verify(msgspec.structs.replace(plan, trees=other.trees))
    with pytest.raises(UncertifiedError):
        verify(msgspec.structs.replace(plan, trees={}))


def test_building_twice_gives_the_same_bytes() -> None:
    policy, _ = sampled(3, requests=0)
    assert encode(build(program_of(policy), "")) == encode(build(program_of(policy), ""))


@given(st.integers(1, 200), st.data())
def test_masks_come_back_as_they_were(terms: int, data: st.DataObject) -> None:
    masks = data.draw(st.lists(st.integers(0, (1 << terms) - 1), min_size=1, max_size=8))
    masks += [masks[-1] ^ (1 << bit) for bit in range(min(terms, 3))]
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(pack_masks(masks, terms)))
    assert unpack_masks(packed, terms) == masks


def test_cases_of_a_switch_are_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from router_dsl.compile import layout

    monkeypatch.setattr(layout, "BLOCK_TERMS", 2)
    conds = [And((Atom("tenant", "eq", f"t{number % 3}", (), ""), CODE)) for number in range(9)]
    tree = decode(encode(build(program_of(policy_of([*conds, None])), ""))).trees["main"]
    assert tree.switch == "tenant"
    assert {value: [block.rules for block in blocks_of(case)] for value, case in tree.cases.items()} == {
        "t0": [(0, 3), (6,)],
        "t1": [(1, 4), (7,)],
        "t2": [(2, 5), (8,)],
    }
    assert [block.rules for block in tree.shared] == [(9,)]
