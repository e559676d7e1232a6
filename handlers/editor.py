"""The Language Server Protocol over what `router_dsl.lsp` knows: spans in, ranges out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from handlers.oracle import Requests
from router_dsl.lsp.names import Occurrence
from router_dsl.lsp.workspace import Policy, Workspace
from router_dsl.source import Diagnostic, Source, Span

# A pause in typing: long enough that a word is one change, too short to be waited for.
PAUSE_S = 0.05
# A pause in thinking: then there is time for what takes a look at the whole policy.
LONG_PAUSE_S = 0.4
# What such a look takes, until it was measured: 0.3 s for 1,000 rules in 90 KB (benchmarks/editor.py, 2026-11).
LOOK_S_PER_CHARACTER = 3e-6


class Editor:
    """One editor's open files, and what was last said about each of them."""

    def __init__(self, server: LanguageServer) -> None:
        """Start with no file open."""
        self.server = server
        self.workspace = Workspace()
        self._uris: dict[Path, str] = {}
        self._said: dict[Path, list[lsp.Diagnostic]] = {}
        self._found: dict[Path, list[Diagnostic]] = {}
        self._pause: asyncio.TimerHandle | None = None
        # What is slow is done in another thread, on texts of its own, by one at a time.
        self._whole = Workspace(oracle_of=Requests)
        self._looking: asyncio.Task[None] | None = None
        self._took_s: dict[Path, float] = {}

    # --- documents

    def start(self, params: lsp.InitializeParams) -> None:
        """Take in which folder the editor has open."""
        folders = [folder.uri for folder in params.workspace_folders or ()] or [params.root_uri or ""]
        root = to_fs_path(folders[0]) if folders[0] else None
        self.workspace.root = self._whole.root = Path(root).resolve() if root else None

    def take(self, uri: str, number: int | None) -> None:
        """Take in the text of a file as it is now, and say what is wrong with it after a pause."""
        path = self.path(uri)
        self._uris[path] = uri
        self.workspace.put(path, self.server.workspace.get_text_document(uri).source, number)
        self._said.pop(path, None)
        self.tell_soon()

    def close(self, uri: str) -> None:
        """Forget a file and take back what was said about it."""
        path = self.path(uri)
        self.workspace.close(path)
        self._uris.pop(path, None)
        self._said.pop(path, None)
        self._publish(uri, [], None)
        self.tell_soon()

    def path(self, uri: str) -> Path:
        """Return the file of a URI; one that has no file yet is taken for one of the root folder."""
        found = to_fs_path(uri) if uri.startswith("file:") else None
        folder = self.workspace.root or Path.cwd()
        return Path(found).resolve() if found else folder / quote(uri, safe="")

    def tell_soon(self) -> None:
        """Say what is wrong when nothing more has come for a moment."""
        if self._pause is not None:
            self._pause.cancel()
        self._pause = asyncio.get_running_loop().call_later(PAUSE_S, self._tell)

    def _tell(self) -> None:
        """Say what is seen at once, then look at the whole, at once where that is quick."""
        self._pause = None
        texts = self._texts()
        expected_s = sum(self._took_s.get(path, len(text) * LOOK_S_PER_CHARACTER) for path, text in texts.items())
        if self._looking is None and expected_s <= PAUSE_S:
            self._publish_all(self._look(texts))
            return
        self._publish_all(self.workspace.findings())
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_long())

    def _texts(self) -> dict[Path, str]:
        return {path: document.text for path, document in self.workspace.documents.items()}

    async def _look_long(self) -> None:
        """Look at the whole in another thread, again until nothing was typed meanwhile."""
        try:
            while True:
                texts = self._texts()
                await asyncio.sleep(LONG_PAUSE_S)
                if self._texts() != texts:
                    continue
                found = await asyncio.to_thread(self._look, texts)
                if self._texts() == texts:
                    self._publish_all(found)
                    return
        finally:
            self._looking = None

    def _look(self, texts: dict[Path, str]) -> dict[Path, list[Diagnostic]]:
        """Return everything wrong with the open files, dead rules and false assertions included."""
        began = time.perf_counter()
        whole = self._whole
        for path in [path for path in whole.documents if path not in texts]:
            whole.close(path)
        for path, text in texts.items():
            whole.put(path, text)
        found = whole.findings(quickly=False)
        share_s = (time.perf_counter() - began) / max(1, len(texts))
        self._took_s = dict.fromkeys(texts, share_s)
        return found

    def _publish_all(self, found: dict[Path, list[Diagnostic]]) -> None:
        self._found = found
        for path, findings in found.items():
            told = [self.diagnostic(finding) for finding in findings]
            if self._said.get(path) != told:
                self._said[path] = told
                self._publish(self._uris[path], told, self.workspace.documents[path].version)

    def _publish(self, uri: str, diagnostics: list[lsp.Diagnostic], number: int | None) -> None:
        params = lsp.PublishDiagnosticsParams(uri, diagnostics, number)
        self.server.text_document_publish_diagnostics(params)

    def diagnostic(self, finding: Diagnostic) -> lsp.Diagnostic:
        """Return a finding as editors show it."""
        is_error = finding.severity == "error"
        unused = finding.code == "W501"
        return lsp.Diagnostic(
            range=self.range(finding.span),
            message=finding.message + (f"\nhelp: {finding.help}" if finding.help else ""),
            severity=lsp.DiagnosticSeverity.Error if is_error else lsp.DiagnosticSeverity.Warning,
            code=finding.code,
            source="pointsman",
            tags=[lsp.DiagnosticTag.Unnecessary] if unused else None,
        )

    def findings(self, uri: str) -> list[Diagnostic]:
        """Return what was last said to be wrong with a file."""
        return self._found.get(self.path(uri), [])

    # --- places

    def range(self, span: Span) -> lsp.Range:
        """Return a span as the editor counts."""
        source = span.source
        return lsp.Range(self._position(source, span.start), self._position(source, span.end))

    def _position(self, source: Source, offset: int) -> lsp.Position:
        line, column = source.position(offset)
        return lsp.Position(line - 1, self._units(source.line(line)[: column - 1]))

    def _units(self, text: str) -> int:
        match self.server.workspace.position_encoding:
            case lsp.PositionEncodingKind.Utf8:
                return len(text.encode("utf-8", "surrogatepass"))
            case lsp.PositionEncodingKind.Utf32:
                return len(text)
            case _:
                return len(text.encode("utf-16-le", "surrogatepass")) // 2

    def offset(self, source: Source, position: lsp.Position) -> int:
        """Return the character offset of an editor's position; past the end of a line is its end."""
        number = position.line + 1
        if number > len(source.line_starts):
            return len(source.text)
        line, column, units = source.line(number), 0, 0
        while column < len(line) and units < position.character:
            units += self._units(line[column])
            column += 1
        return source.line_starts[number - 1] + column

    def source(self, uri: str) -> Source:
        """Return the text of an open file."""
        document = self.workspace.documents[self.path(uri)]
        return Source(document.name, document.text)

    def location(self, span: Span, root: Path) -> lsp.Location:
        """Return where a span of a policy is."""
        return lsp.Location(self._uri(span.source.name, root), self.range(span))

    def _uri(self, name: str, root: Path) -> str:
        path = self.workspace.path(name, root)
        return self._uris.get(path) or from_fs_path(str(path)) or str(path)

    # --- names

    def at(self, uri: str, position: lsp.Position) -> tuple[Path, Policy, Occurrence | None]:
        """Return the policy that a file is part of, its root file, and the name at a place."""
        path = self.path(uri)
        root, policy = self.workspace.context(path)
        source = self.source(uri)
        offset = self.offset(source, position)
        called = {file.span.source.name for file in policy.files}
        here = {name for name in called if self.workspace.path(name, root) == path}
        inside = [
            occurrence
            for occurrence in policy.names.occurrences()
            if occurrence.span.first <= offset <= occurrence.span.last and occurrence.span.source.name in here
        ]
        # Of two that touch, the one that begins here.
        found = max(inside, key=lambda occurrence: occurrence.span.first, default=None)
        return root, policy, found

    def everywhere(self, uri: str) -> list[tuple[Path, Policy]]:
        """Return the policies that a file is part of: a rename must hold in all of them."""
        reaching = self.workspace.reaching(self.path(uri))
        return [(root, self.workspace.policy(root)) for root in reaching]
