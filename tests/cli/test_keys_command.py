"""`pointsman keys`: a key is shown once, its file is the owner's alone, and writers lose nothing of each other's."""

from __future__ import annotations

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from handlers.cli.key_file import Exclusive
from handlers.cli.keys import main
from handlers.cli.main import main as command
from runtime.serve.keyfile import read


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.toml"
    monkeypatch.setenv("POINTSMAN_KEYS_FILE", str(path))
    return path


def added(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["add", *arguments]) == 0
    return capsys.readouterr().out.strip()


def test_a_key_is_printed_once_and_only_its_digest_is_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = added(
        capsys, "anna", "--set", "tenant=acme", "--set", 'motto=a "b" \\c ö', "--policy", "chat", "--model", "m"
    )
    assert re.fullmatch(r"pm-[A-Za-z0-9_-]{43}", key)
    assert key not in file.read_text()
    (kept,) = read(str(file))
    assert kept.digest == sha256(key.encode()).digest()
    assert kept.attributes == {"id": "anna", "tenant": "acme", "motto": 'a "b" \\c ö'}
    assert (kept.policies, kept.models) == ({"chat"}, {"m"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "anna  active   tenant=acme" in shown
    assert sha256(key.encode()).hexdigest() not in shown


def test_json_is_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(added(capsys, "anna", "--json", "--expires", "2027-01-01"))
    assert (told["name"], told["file"]) == ("anna", str(file))
    assert main(["list", "--json"]) == 0
    (key,) = json.loads(capsys.readouterr().out)["keys"]
    assert (key["name"], key["state"], key["expires"]) == ("anna", "active", "2027-01-01T00:00:00Z")


def test_what_people_wrote_in_the_file_stays(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = sha256(b"x").hexdigest()
    file.write_text(f'# ours\n[hand]   # by hand\nsha256 = "{digest}"  # yes\nrevoked = false')
    added(capsys, "anna")
    assert main(["revoke", "hand"]) == 0
    text = file.read_text()
    assert text.startswith("# ours\n[hand]   # by hand\nrevoked = 2")
    assert f'sha256 = "{digest}"  # yes' in text
    assert [(key.attributes["id"], key.revoked) for key in read(str(file))] == [("hand", True), ("anna", False)]


def test_a_key_is_revoked_for_good(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added(capsys, "anna@acme.com")
    added(capsys, "bert")
    for _ in range(2):
        assert main(["revoke", "anna@acme.com"]) == 0
    assert [(key.attributes["id"], key.revoked) for key in read(str(file))] == [
        ("anna@acme.com", True),
        ("bert", False),
    ]
    assert main(["list"]) == 0
    assert "anna@acme.com  revoked" in capsys.readouterr().out


def test_what_cannot_be_edited_safely_is_left_to_its_author(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f'anna = {{ sha256 = "{sha256(b"x").hexdigest()}" }}\n'
    file.write_text(text)
    assert main(["revoke", "anna"]) == 1
    assert "by hand" in capsys.readouterr().err
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", "anna"], 1, "there is a key `anna` already"),
        (["revoke", "bert"], 1, "there is no key `bert`"),
        (["add", "a b"], 2, "is no name"),
        (["add", "bert", "--set", "sha256=0"], 2, "NAME=VALUE"),
        (["add", "bert", "--set", "x"], 2, "NAME=VALUE"),
        (["add", "bert", "--set", "x=\udcff"], 2, "cannot be shown"),
        (["add", "bert", "--expires", "soon"], 2, "neither a date"),
        (["list", "--file", "/nonexistent/keys.toml"], 1, "no such file"),
        (["add", "x", "--file", "/nonexistent/keys.toml"], 1, "no such file"),
        (["add", "x", "--file", "/dev/null"], 1, "no file of keys"),
        ([], 2, "required"),
    ],
)
def test_what_goes_wrong_is_said(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    added(capsys, "anna")
    before = file.read_bytes()
    assert command(["keys", *arguments]) == code
    assert message in capsys.readouterr().err
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["keys.toml"]


def test_a_broken_file_is_not_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[anna]\nsha256 = 1\n")
    for arguments in (["add", "bert"], ["list"], ["revoke", "anna"]):
        assert main(arguments) == 1
        assert "keys.toml:2: `anna` needs its `sha256`" in capsys.readouterr().err
    assert file.read_text() == "[anna]\nsha256 = 1\n"


def test_without_a_file_it_asks_for_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POINTSMAN_KEYS_FILE", raising=False)
    assert main(["list"]) == 2
    assert "--file" in capsys.readouterr().err


def test_concurrent_writers_lose_nothing(file: Path) -> None:
    # A lock belongs to an open file, so threads keep each other out as processes do.
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: main(["add", f"key-{i}"]), range(24))) == [0] * 24
    assert {key.attributes["id"] for key in read(str(file))} == {f"key-{i}" for i in range(24)}


def test_a_link_stays_one(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = tmp_path / "real.toml"
    real.touch()
    file.symlink_to(real)
    added(capsys, "anna")
    assert file.is_symlink()
    assert len(read(str(real))) == 1


def test_whoever_waited_for_a_replaced_file_gets_its_successor(file: Path) -> None:
    with Exclusive(file) as first:
        waiting = os.open(file, os.O_RDWR)
        first.replace("# new\n")
        assert not os.path.samestat(os.fstat(waiting), os.stat(file))
        os.close(waiting)
    with Exclusive(file) as second:
        assert second.text == "# new\n"
