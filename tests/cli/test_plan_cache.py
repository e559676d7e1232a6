"""A compiled policy is taken from the cache only while it is what compiling would give."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from handlers import plan_cache
from handlers.loading import plan_of
from router_dsl.plan import Plan

MODELS = 'provider p { url "sim://p" }\nmodel m { serve p "m" }\nmodel n { serve p "n" }\n'
POLICY = 'import "models.route"\npolicy chat { a: when stream -> n  otherwise -> m }\n'


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "models.route").write_text(MODELS)
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    for file in (path, tmp_path / "models.route"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return path


def found(policy: Path) -> Plan | None:
    entry = plan_cache.find(policy, None)
    return None if entry is None else entry[0]


def test_what_was_compiled_once_is_found_with_its_files(policy: Path) -> None:
    assert found(policy) is None
    plan = plan_of(policy)
    entry = plan_cache.find(policy, None)
    assert entry is not None
    assert entry[0] == plan
    assert [file.name for file in entry[1]] == ["chat.route", "models.route"]
    assert plan_of(policy) == plan


@pytest.mark.parametrize("name", ["chat.route", "models.route"])
def test_a_file_that_changed_is_compiled_again_whatever_its_date(name: str, policy: Path) -> None:
    before = plan_of(policy)
    file = policy.parent / name
    file.write_text(file.read_text() + "# more\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert found(policy) is None
    assert plan_of(policy).digest != before.digest


def test_a_file_that_is_gone_is_no_reason_to_fail(policy: Path) -> None:
    plan_of(policy)
    (policy.parent / "models.route").unlink()
    assert found(policy) is None


def test_another_compiler_compiles_again(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_of(policy)
    monkeypatch.setattr(plan_cache, "FORMAT", plan_cache.FORMAT + 1)
    assert found(policy) is None


def test_a_policy_with_warnings_is_compiled_each_time_so_that_they_are_seen(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(POLICY + "let unused = stream\n")
    for _ in range(2):
        plan_of(policy)
        assert "W5" in capsys.readouterr().err
    assert found(policy) is None


def test_a_file_written_while_it_was_compiled_is_not_kept(policy: Path) -> None:
    plan = plan_of(policy)
    now_ns = time.time_ns()
    os.utime(policy, ns=(now_ns, now_ns))
    for entry in (policy.parent / "cache" / "pointsman" / "plans").iterdir():
        entry.unlink()
    plan_cache.keep(policy, None, plan, [policy], now_ns - 1)
    assert found(policy) is None


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x93\xa1a\x90\xc4\x00"])
def test_a_damaged_entry_is_no_entry(damage: bytes, policy: Path) -> None:
    plan = plan_of(policy)
    (entry,) = (policy.parent / "cache" / "pointsman" / "plans").iterdir()
    entry.write_bytes(damage)
    assert found(policy) is None
    assert plan_of(policy) == plan


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_cache_that_others_can_write_to_is_not_read(policy: Path) -> None:
    plan_of(policy)
    folder = policy.parent / "cache" / "pointsman" / "plans"
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    assert found(policy) is None


def test_without_a_place_for_it_policies_are_compiled(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (policy.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(policy.parent / "file"))
    assert plan_of(policy).program.name == "chat"
    assert found(policy) is None


def test_it_does_not_grow_for_ever(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "MOST_ENTRIES", 3)
    plan = plan_of(policy)
    for number in range(6):
        plan_cache.keep(policy, policy.parent / str(number), plan, [policy], time.time_ns())
    assert len(list((policy.parent / "cache" / "pointsman" / "plans").iterdir())) == 3
