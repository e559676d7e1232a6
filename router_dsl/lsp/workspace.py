"""The files an editor has open, over those on disk: parsed as they are typed, checked as whole policies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from router_dsl import ast
from router_dsl.check.memo import Memo
from router_dsl.check.program import OracleOf, check
from router_dsl.load import Parsed, imported_name, load_parsed, read
from router_dsl.lsp.names import Names, Occurrence
from router_dsl.lsp.pieces import Pieces
from router_dsl.plan import Program
from router_dsl.source import Diagnostic, Source, in_order
from router_dsl.syntax import parse

# A file for `import` has no policy of its own, and the check that says so is not about it.
_NO_POLICY = "E403"
# Enough for any project; a whole disk opened as a folder is not searched.
_MOST_FILES = 2000


@dataclass(slots=True)
class Document:
    """A file that is open.

    Attributes:
        name: How findings call it: its path from the root folder.
        version: The editor's number for this text.
    """

    path: Path
    name: str
    text: str
    version: int | None = None
    parsed: Parsed | None = None
    memo: Memo = field(default_factory=Memo)
    _pieces: Pieces = field(default_factory=Pieces)

    def tree(self) -> Parsed:
        """Return its tree and syntax errors, parsed once for each text, and then only what changed."""
        if self.parsed is None:
            self.parsed = self._pieces.parse(self.name, self.text)
        return self.parsed


@dataclass(frozen=True, slots=True)
class Policy:
    """A root file with all its imports.

    Attributes:
        program: What it means, None with an error.
        findings: About all of its files; of one that is looked at quickly, without what takes a look at the whole.
    """

    files: list[ast.File]
    findings: list[Diagnostic]
    program: Program | None

    @property
    def names(self) -> Names:
        """The names it declares."""
        return Names(self.files)


@dataclass(slots=True)
class Workspace:
    """The open files of one editor, by resolved path.

    Attributes:
        root: Folder that imports may not leave, where a file lies in it; else the file's own folder is.
        oracle_of: Gives what judges assertions and confirms requests; without it neither is done.
    """

    root: Path | None = None
    oracle_of: OracleOf | None = None
    documents: dict[Path, Document] = field(default_factory=dict)
    _on_disk: dict[tuple[Path, str], tuple[tuple[int, int], Parsed]] = field(default_factory=dict)
    _policies: dict[tuple[Path, bool], Policy] = field(default_factory=dict)

    def put(self, path: Path, text: str, version: int | None = None) -> Document:
        """Take in the text of an open file, as it is now."""
        path = path.resolve()
        document = self.documents.get(path)
        if document is None:
            document = self.documents[path] = Document(path, self.name(path), text, version)
        elif document.text != text:
            document.text, document.parsed = text, None
        document.version = version
        self._policies.clear()
        return document

    def close(self, path: Path) -> None:
        """Forget an open file; from now on it is what is on disk."""
        self.documents.pop(path.resolve(), None)
        self._policies.clear()

    def changed_on_disk(self) -> None:
        """Forget what was concluded from files on disk; which of them changed is seen when they are asked for."""
        self._policies.clear()

    def name(self, path: Path) -> str:
        """Return how findings call a file."""
        return os.path.relpath(path, self.folder(path))

    def path(self, name: str, beside: Path) -> Path:
        """Return the file that findings about a policy call so.

        Args:
            beside: The policy's root file.
        """
        return (self.folder(beside) / name).resolve()

    def folder(self, path: Path) -> Path:
        """Return the folder that a file's imports may not leave."""
        return self.root if self.root is not None and path.is_relative_to(self.root) else path.parent

    def policy(self, path: Path, *, quickly: bool = True) -> Policy:
        """Return the policy that a file is the root of, with what is wrong with it.

        Args:
            quickly: Find errors only, and what is seen where it stands: for an answer between two letters.
        """
        path = path.resolve()
        known = self._policies.get((path, quickly))
        if known is None:
            files, found = self._load(path)
            document = self.documents.get(path)
            memo = (Memo() if document is None else document.memo) if quickly else None
            program, more = check(files, found, memo=memo, oracle_of=None if quickly else self.oracle_of)
            findings = in_order([*found, *more])
            if not any(isinstance(item, ast.Policy) for item in files[0].items):
                findings = [finding for finding in findings if finding.code != _NO_POLICY]
            known = self._policies[path, quickly] = Policy(files, findings, program)
        return known

    def _load(self, path: Path) -> tuple[list[ast.File], list[Diagnostic]]:
        document = self.documents.get(path)
        name = self.name(path)
        parsed = document.tree() if document is not None else self._known(path, name) or parse(Source(name, ""))
        return load_parsed(parsed, path, self.folder(path), self._known)

    def _known(self, path: Path, name: str) -> Parsed | None:
        """Return an imported file as it is open, or as it was parsed before when it has not changed on disk."""
        document = self.documents.get(path)
        if document is not None and document.name == name:
            return document.tree()
        if document is not None:
            return parse(Source(name, document.text))
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._on_disk.get((path, name))
        if known is not None and known[0] == stamp:
            return known[1]
        text, _ = read(path)
        if text is None:
            return None
        parsed = parse(Source(name, text))
        self._on_disk[path, name] = (stamp, parsed)
        return parsed

    def findings(self, *, quickly: bool = True) -> dict[Path, list[Diagnostic]]:
        """Return the findings of every open file: its own as a root, and those of open policies that import it."""
        found: dict[Path, list[Diagnostic]] = {path: [] for path in self.documents}
        imported = {other for path in self.documents for other in self._imported(path)}
        for path in self.documents:
            policy = self.policy(path, quickly=quickly)
            is_part = path in imported and not any(isinstance(item, ast.Policy) for item in policy.files[0].items)
            for finding in policy.findings if not is_part else ():
                owner = self.path(finding.span.source.name, path)
                if owner in found:
                    found[owner].append(finding)
        return {path: in_order(findings) for path, findings in found.items()}

    def _imported(self, path: Path) -> Iterator[Path]:
        for file in self.policy(path).files[1:]:
            yield self.path(file.span.source.name, path)

    def context(self, path: Path) -> tuple[Path, Policy]:
        """Return the policy in which a file is best understood, with its root: an open one that imports it, or its own.

        A file that has policies is understood by itself.
        """
        path = path.resolve()
        own = self.policy(path)
        if not any(isinstance(item, ast.Policy) for item in own.files[0].items):
            for other in self.documents:
                if other != path and path in self._imported(other):
                    return other, self.policy(other)
        return path, own

    def reaching(self, path: Path) -> list[Path]:
        """Return every root file that a file is a part of: open ones, and those of the root folder."""
        path = path.resolve()
        found = [path]
        for other in self._every_file(path):
            if other != path and path in self._imported(other):
                found.append(other)
        return found

    def _every_file(self, path: Path) -> list[Path]:
        files = dict.fromkeys(self.documents)
        for count, other in enumerate(self.folder(path).rglob("*.route")):
            if count >= _MOST_FILES:
                break
            files[other.resolve()] = None
        return list(files)

    def imported(self, occurrence: Occurrence, root: Path) -> Path:
        """Return the file that an `import` names."""
        return self.path(imported_name(occurrence.span.source.name, occurrence.name), root)
