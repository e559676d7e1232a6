"""The pytest plugin: `pytest rules/` collects the `test` blocks of `.route` files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from router_dsl.plan import Test
    from runtime.decision.book import Book


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    """Collect every `.route` file below the folders given, and those named."""
    if file_path.suffix != ".route":
        return None
    collector: pytest.Collector = RouteFile.from_parent(parent, path=file_path)
    return collector


class RouteFile(pytest.File):
    """A policy; that it compiles is the first test of it."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item for the check and one for each `test` block of this very file."""
        from handlers.compiled import compile_file
        from router_dsl.source import render
        from runtime.decision.book import Book

        if not _is_policy(self.path):
            return
        compiled = compile_file(self.path, self._root(), proving=False)
        errors = [render(d) for d in compiled.diagnostics if d.severity == "error"]
        yield CheckItem.from_parent(self, name="check", errors=errors)
        if compiled.plan is None:
            return
        book = Book(compiled.plan)
        for test in book.program.tests:
            if Path(test.file).name == self.path.name:
                yield TestItem.from_parent(self, name=test.name, test=test, book=book)

    def _root(self) -> Path:
        """Imports may reach what lies beside the policy, up to the folder pytest was started for."""
        return self.config.rootpath if self.path.is_relative_to(self.config.rootpath) else self.path.parent


def _is_policy(path: Path) -> bool:
    """Whether a file has a policy or a test of its own: one of declarations alone is checked where it is imported."""
    from router_dsl import ast
    from router_dsl.load import load_text

    files, found = load_text(path.read_text(encoding="utf-8", errors="replace"), path.name, path.parent)
    own = files[0].items if files else ()
    return any(d.severity == "error" for d in found) or any(isinstance(item, ast.Policy | ast.Test) for item in own)


class CheckItem(pytest.Item):
    """The policy compiles without errors."""

    def __init__(self, *, errors: list[str], **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.errors = errors

    def runtest(self) -> None:
        """Fail with the rendered diagnostics."""
        if self.errors:
            raise PolicyFailure("\n\n".join(self.errors))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show what was found, not where in the plugin."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the item by its file."""
        return self.path, 0, f"{self.path.name}::{self.name}"


class TestItem(pytest.Item):
    """One `test` block."""

    def __init__(self, *, test: Test, book: Book, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.test = test
        self.book = book

    def runtest(self) -> None:
        """Decide the request and hold the expectations against it."""
        from handlers import trial
        from router_dsl.testing import run_one

        result = run_one(self.book.program, self.test, lambda test, draw: trial.decide(self.book, test, draw)[0])
        if not result.passed:
            raise PolicyFailure(f"{result.test.file}:{result.line}: {result.message}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show what happened instead, not where in the plugin."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the item by its file and line."""
        return self.path, self.test.line - 1, f"{self.path.name}::{self.name}"


class PolicyFailure(AssertionError):  # noqa: N818 - pytest shows its text as the failure, it is no error of ours
    """A policy that does not compile, or a `test` block that does not hold."""
