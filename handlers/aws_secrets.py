"""Secrets by reference: the environment names where they are kept at AWS, their values are read when serving starts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from runtime.dispatch.aws import Aws, AwsError

# INIT has 10 s. The first call may be slow to find its way out of a VPC, or be throttled with many others that start.
CALL_S = 3.0
TRIES = 2

# No second try makes these better.
FINAL = ("AccessDeniedException", "ResourceNotFoundException", "ParameterNotFound", "no_credentials")


class SecretError(Exception):
    """A secret that cannot be had; the message names it and never shows one."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept.

    Attributes:
        name: What it is called here; empty when its value is a JSON object, each field a secret of its own.
        arn: Of Secrets Manager's secret or of Systems Manager's parameter.
    """

    name: str
    arn: str

    @property
    def service(self) -> str:
        """The service that keeps it: `secretsmanager` or `ssm`."""
        return self.arn.split(":")[2]

    @property
    def region(self) -> str:
        """The region it is kept in."""
        return self.arn.split(":")[3]


def references(text: str) -> tuple[Reference, ...]:
    """Return what a comma-separated list of `ARN` and `NAME=ARN` names.

    Raises:
        SecretError: An entry is neither.
    """
    return tuple(_reference(entry.strip()) for entry in text.split(",") if entry.strip())


def _reference(entry: str) -> Reference:
    name, _, arn = entry.rpartition("=")
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] not in ("secretsmanager", "ssm") or not parts[3]:
        raise SecretError(f"`{entry}` is neither the arn of a secret or a parameter nor NAME=ARN")
    return Reference(name.strip(), arn)


async def fetch(aws: Aws, wanted: tuple[Reference, ...]) -> dict[str, str]:
    """Return the secrets by name.

    Raises:
        SecretError: One cannot be had.
    """
    found: dict[str, str] = {}
    for values in await asyncio.gather(*(_values(aws, reference) for reference in wanted)):
        found.update(values)
    return found


async def _values(aws: Aws, reference: Reference) -> Mapping[str, str]:
    try:
        text = await _patiently(aws, reference)
    except AwsError as error:
        raise SecretError(f"`{reference.arn}`: {error}") from error
    if reference.name:
        return {reference.name: text}
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise SecretError(f"`{reference.arn}` has no name here, and is no json object of texts") from error


async def _patiently(aws: Aws, reference: Reference) -> str:
    for _ in range(TRIES - 1):
        try:
            return await _value(aws, reference)
        except AwsError as error:
            if error.code in FINAL:
                raise
    return await _value(aws, reference)


class _Secret(msgspec.Struct, rename="pascal"):
    secret_string: str


class _Value(msgspec.Struct, rename="pascal"):
    value: str


class _Parameter(msgspec.Struct, rename="pascal"):
    parameter: _Value


async def _value(aws: Aws, reference: Reference) -> str:
    target = "AmazonSSM.GetParameter"
    body: dict[str, object] = {"Name": reference.arn, "WithDecryption": True}
    if reference.service == "secretsmanager":
        target, body = "secretsmanager.GetSecretValue", {"SecretId": reference.arn}
    answer = await aws.json(reference.service, target, body, within_s=CALL_S, region=reference.region)
    try:
        if reference.service == "secretsmanager":
            return msgspec.json.decode(answer, type=_Secret).secret_string
        return msgspec.json.decode(answer, type=_Parameter).parameter.value
    except msgspec.MsgspecError as error:
        raise AwsError("no_text", "the answer holds no text") from error
