"""Limits counted in DynamoDB: one item for each window of a limit, raised by conditional updates.

Windows are fixed (the minute, hour or day of UTC), since an update sees one number and not sixty. A lease counts as
spent until it is given back: the item keeps what each instance holds and the number of its last exchange.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from runtime.dispatch.aws import Aws, AwsError
from runtime.limits.lease import Answer, Exchange
from runtime.limits.window import SLOTS
from runtime.serve.stores.store import StoreError

CALL = "DynamoDB_20120810.UpdateItem"

# Of one exchange. Another instance was quicker each time; then only what is held already is granted.
MOST_TRIES = 4

# The longest that one call may take; the lease's own time-out, around all of them, is shorter.
CALL_S = 10.0

# Kept so much longer than its window, for exchanges that are repeated; then DynamoDB's TTL removes it.
KEPT_S = 3600

Item = Mapping[str, Mapping[str, str]]


class _Refused(msgspec.Struct):
    item: dict[str, dict[str, str]] = msgspec.field(default_factory=dict, name="Item")


class _Told(msgspec.Struct):
    attributes: dict[str, dict[str, str]] = msgspec.field(default_factory=dict, name="Attributes")


class DynamoStore:
    """A store in one table, whose key is the text `pk` and whose time to live is `ttl`; implements `Store`.

    Args:
        aws: Calls it.
        table: Its name.
        prefix: Of the keys.
        region: Where it is; empty is this process's own.
    """

    forgets = False

    def __init__(self, aws: Aws, table: str, prefix: str, region: str = "") -> None:
        self._aws = aws
        self._table = table
        self._prefix = prefix
        self._region = region
        # What the table counts for this process: by key, its name, the window, and how much.
        self._held: dict[str, tuple[str, int, int]] = {}
        self._heard: dict[str, float] = {}

    async def exchange(self, exchanges: Sequence[Exchange]) -> Sequence[Answer]:
        """Carry out exchanges, each for itself and each number once, and return the answers in their order.

        Raises:
            StoreError: DynamoDB did not answer, or refused.
        """
        try:
            return await asyncio.gather(*(self._one(asked) for asked in exchanges))
        except (AwsError, ValueError, KeyError) as error:
            raise StoreError(str(error)) from error

    async def hints(self, key: str, instance: str, changed: Mapping[str, float]) -> Mapping[str, Mapping[str, float]]:
        """Note until when an instance found endpoints failing, in Unix seconds; return what all say.

        Raises:
            StoreError: DynamoDB did not answer, or refused.
        """
        names = {"#u": "ttl"}
        values: dict[str, dict[str, str]] = {":until": {"N": str(int(time.time()) + KEPT_S)}}
        sets = ["#u = :until"]
        for place, (endpoint, until_s) in enumerate(changed.items()):
            names[f"#n{place}"] = f"{instance} {endpoint}"
            values[f":v{place}"] = {"N": str(round(until_s * 1000))}
            sets.append(f"#n{place} = :v{place}")
        gone = [name for name, until_s in self._heard.items() if until_s < time.time() and name not in names.values()]
        for place, name in enumerate(gone):
            names[f"#g{place}"] = name
        call = {
            "TableName": self._table,
            "Key": {"pk": {"S": f"{self._prefix}{key}"}},
            "UpdateExpression": f"SET {', '.join(sets)}"
            + (f" REMOVE {', '.join(f'#g{place}' for place in range(len(gone)))}" if gone else ""),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }
        try:
            answer = await self._aws.json("dynamodb", CALL, call, within_s=CALL_S, region=self._region, version="1.0")
            said = msgspec.json.decode(answer, type=_Told).attributes
            self._heard = {name: int(value["N"]) / 1000 for name, value in said.items() if " " in name}
        except (AwsError, ValueError, KeyError) as error:
            raise StoreError(str(error)) from error
        found: dict[str, dict[str, float]] = {}
        for name, until_s in self._heard.items():
            who, _, endpoint = name.partition(" ")
            if until_s > time.time():
                found.setdefault(endpoint, {})[who] = until_s
        return found

    def drop(self) -> None:
        """Forget the credentials: they are another copy's."""
        self._aws.forget()

    async def aclose(self) -> None:
        """Do nothing: connections are the transport's."""

    async def _one(self, asked: Exchange) -> Answer:
        now_s = time.time()
        window = int(now_s // asked.per_s)
        left_s = (window + 1) * asked.per_s - now_s
        spent = sum(delta for slot, delta in asked.deltas if slot // SLOTS >= window)
        instance, held_in, held = self._held.get(asked.key, ("", 0, 0))
        if (instance, held_in) != (asked.instance, window):
            held = 0
        granted = asked.most
        for count in range(MOST_TRIES):
            is_last = count == MOST_TRIES - 1
            done, found = await self._raise(
                asked, window, spent + granted - held, granted, is_sure=granted == 0 or is_last
            )
            known = _number(found, "spent")
            is_repeated = not done and _number(found, f"n_{asked.instance}") >= asked.number
            if is_repeated:  # and the answer was lost
                granted = _number(found, f"g_{asked.instance}")
            if done or is_repeated:
                self._hold(asked, window, granted)
                return Answer(granted, max(0, known - granted), left_s, left_s)
            room = max(0, asked.amount - (known + spent - held))
            granted = min(asked.most, room) if room >= asked.least else min(asked.keep, room)
            if count == MOST_TRIES - 2:
                granted = min(asked.keep, held, room)
        raise AssertionError("the last try is made whatever the room")

    async def _raise(self, asked: Exchange, window: int, by: int, granted: int, *, is_sure: bool) -> tuple[bool, Item]:
        """Raise what is spent and note the lease; return whether that was done, and the item as it is.

        It is not done when there is no room, unless it `is_sure`, and when it was done before.
        """
        values = {":by": by, ":number": asked.number, ":granted": granted, ":until": self._until(asked, window)}
        condition = f"(attribute_not_exists(n_{asked.instance}) OR n_{asked.instance} < :number)"
        if not is_sure:
            values[":room"] = asked.amount - by
            fits = "spent <= :room" if by > asked.amount else "(attribute_not_exists(spent) OR spent <= :room)"
            condition = f"{condition} AND {fits}"
        mine = f"n_{asked.instance} = :number, g_{asked.instance} = :granted"
        call = {
            "TableName": self._table,
            "Key": {"pk": {"S": f"{self._prefix}{asked.key}:{window}"}},
            "UpdateExpression": f"ADD spent :by SET {mine}, #u = :until",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#u": "ttl"},
            "ExpressionAttributeValues": {name: {"N": str(value)} for name, value in values.items()},
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            answer = await self._aws.json("dynamodb", CALL, call, within_s=CALL_S, region=self._region, version="1.0")
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            return False, msgspec.json.decode(error.answer, type=_Refused).item
        return True, msgspec.json.decode(answer, type=_Told).attributes

    def _hold(self, asked: Exchange, window: int, granted: int) -> None:
        if granted:
            self._held[asked.key] = (asked.instance, window, granted)
        else:
            self._held.pop(asked.key, None)

    def _until(self, asked: Exchange, window: int) -> int:
        return int((window + 1) * asked.per_s) + KEPT_S


def _number(item: Item, name: str) -> int:
    return int(item[name]["N"]) if name in item else 0
