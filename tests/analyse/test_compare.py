"""Policies compared: what changes is exactly what decides otherwise, counted out over generated small policies."""

from __future__ import annotations

from random import Random

import pytest
from counted import check_changes, edited
from small import random_program


@pytest.mark.slow
def test_the_changes_of_an_edit_are_those_that_can_be_counted() -> None:
    for seed in range(2_000):
        before = random_program(seed)
        check_changes(before, edited(before, Random(-seed)), seed)


@pytest.mark.slow
def test_the_changes_between_two_policies_are_those_that_can_be_counted() -> None:
    for seed in range(500):
        check_changes(random_program(seed), random_program(seed + 700_000), seed)


@pytest.mark.long
def test_the_changes_of_an_edit_are_those_that_can_be_counted_at_length() -> None:
    for seed in range(10_000, 60_000):
        before = random_program(seed)
        check_changes(before, edited(before, Random(-seed)), seed)
