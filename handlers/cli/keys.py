"""`pointsman keys`: make, list and revoke the keys that clients send; the file holds only their digests."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from handlers.cli.key_file import Exclusive, inserted, table
from handlers.cli.output import FOUND, OK, USAGE, complain
from runtime.serve import keyfile
from runtime.serve.keys import Key, KeyFileError

# Recognised by people, and by scanners that look for secrets where they should not be.
START = "pm-"

# 256 bits: a digest without salt or stretching gives nothing away of what nobody can guess.
KEY_BYTES = 32

_DAYS = {"d": 1, "w": 7, "y": 365}


def main(argv: Sequence[str]) -> int:
    """Change or show a key file; 1 when it cannot be used or there is no such key, 2 for wrong use."""
    options = _parser().parse_args(argv)
    where: str | None = options.file or os.environ.get("POINTSMAN_KEYS_FILE")
    if not where:
        complain("which file?", "say `--file keys.toml`, or set POINTSMAN_KEYS_FILE")
        return USAGE
    path = Path(where)
    try:
        match options.action:
            case "add":
                return _add(path, options)
            case "list":
                return _list(path, as_json=options.json)
            case _:
                return _revoke(path, options.name, as_json=options.json)
    except KeyFileError as error:
        complain(str(error))
        return FOUND
    except OSError as error:
        complain(f"`{path}`: {(error.strerror or str(error)).lower()}")
        return FOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pointsman keys", description="Make, list and revoke the keys of clients.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="add|list|revoke")
    for name, line in (
        ("add", "make a key and print it, once"),
        ("list", "show what keys there are"),
        ("revoke", "have a key open nothing any more"),
    ):
        action = actions.add_parser(name, description=line, help=line)
        action.add_argument("--file", metavar="TOML", help="the key file (default: $POINTSMAN_KEYS_FILE)")
        action.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            action.add_argument("name", metavar="NAME", type=_name, help="what the key is called")
        if name == "add":
            action.add_argument(
                "--set", metavar="NAME=VALUE", action="append", default=[], type=_setting,
                help="what policies read as `key.NAME`, such as `tenant=acme`",
            )  # fmt: skip
            action.add_argument("--expires", metavar="WHEN", type=_moment, help="a date, a time, or `30d`, `12w`, `1y`")
            action.add_argument("--policy", action="append", metavar="NAME", help="it may ask only such policies")
            action.add_argument("--model", action="append", metavar="NAME", help="it may ask only for such models")
    return parser


def _name(text: str) -> str:
    if keyfile.NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"`{text}` is no name: letters, digits and `._@+-`, 64 at most")
    return text


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name in keyfile.RESERVED or keyfile.ATTRIBUTE.fullmatch(name) is None:
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=VALUE with a name such as `tenant`")
    if not value.isprintable():
        raise argparse.ArgumentTypeError(f"the value of `{name}` has characters that cannot be shown")
    return name, value


def _moment(text: str) -> datetime:
    if text[-1:] in _DAYS and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 6:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(text[:-1]) * _DAYS[text[-1]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is neither a date such as 2027-01-01 nor `30d`") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _add(path: Path, options: argparse.Namespace) -> int:
    key = START + secrets.token_urlsafe(KEY_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    said: dict[str, object] = {"sha256": sha256(key.encode()).hexdigest(), "created": now, **dict(options.set)}
    if options.policy:
        said["policies"] = options.policy
    if options.model:
        said["models"] = options.model
    if options.expires is not None:
        said["expires"] = options.expires
    with Exclusive(path) as file:
        if options.name in {known.attributes["id"] for known in keyfile.parse(file.text, str(path))}:
            complain(f"there is a key `{options.name}` already", "revoke it, and give the new one another name")
            return FOUND
        begun = file.text if file.text.endswith("\n") or not file.text else f"{file.text}\n"
        text = begun + ("\n" if begun else "") + table(options.name, said)
        keyfile.parse(text, str(path))
        file.replace(text)
    if options.json:
        print(json.dumps({"name": options.name, "key": key, "file": str(path)}, indent=2))
    else:
        print(key)
        print(f"this is the only time that the key `{options.name}` is shown; `{path}` has its digest", file=sys.stderr)
    return OK


def _revoke(path: Path, name: str, *, as_json: bool) -> int:
    with Exclusive(path, create=False) as file:
        known = {key.attributes["id"]: key for key in keyfile.parse(file.text, str(path))}
        if name not in known:
            complain(f"there is no key `{name}` in `{path}`", "see `pointsman keys list`")
            return FOUND
        if not known[name].revoked:
            text = inserted(file.text, name, f"revoked = {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            if text is None:
                complain(f"`{path}` says `{name}` in a way of its own", f"add `revoked = true` to `{name}` by hand")
                return FOUND
            file.replace(text)
    print(json.dumps({"name": name, "revoked": True}) if as_json else f"`{name}` opens nothing any more")
    return OK


def _list(path: Path, *, as_json: bool) -> int:
    keys = keyfile.read(str(path))
    if as_json:
        print(json.dumps({"keys": [_told(key) for key in keys]}, indent=2))
        return OK
    if not keys:
        print("no keys")
    width = max((len(key.attributes["id"]) for key in keys), default=0)
    for key in keys:
        told = _told(key)
        said = [f"{name}={value}" for name, value in key.attributes.items() if name != "id"]
        said += [
            f"{name} {', '.join(names)}" for name in ("policies", "models") if isinstance(names := told[name], list)
        ]
        if key.expires_unix_s is not None:
            said.append(f"expires {told['expires']}")
        print(f"{key.attributes['id']:<{width}}  {told['state']:<7}  {'  '.join(said)}".rstrip())
    return OK


def _told(key: Key) -> dict[str, object]:
    """Return what is said of a key; neither it nor its digest."""
    expired = key.is_expired(datetime.now(UTC).timestamp())
    return {
        "name": key.attributes["id"],
        "state": "revoked" if key.revoked else "expired" if expired else "active",
        "attributes": {name: value for name, value in key.attributes.items() if name != "id"},
        "policies": None if key.policies is None else sorted(key.policies),
        "models": None if key.models is None else sorted(key.models),
        "expires": None
        if key.expires_unix_s is None
        else datetime.fromtimestamp(key.expires_unix_s, UTC).isoformat().replace("+00:00", "Z"),
    }
