"""The Language Server Protocol over what `router_dsl.lsp` knows: spans in, ranges out."""

from __future__ import annotations

import asyncio
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from handlers.generated import search_of
from handlers.oracle import Requests
from handlers.report import region_of
from router_dsl.codes import CODES
from router_dsl.format import format_source
from router_dsl.lsp import hover
from router_dsl.lsp.complete import Item, ItemKind, completions
from router_dsl.lsp.fixes import fixes
from router_dsl.lsp.names import Occurrence
from router_dsl.lsp.outline import Entry, Sort, outline
from router_dsl.lsp.place import place_at
from router_dsl.lsp.rename import Edit, RefusedError, refuse_unless_declared, renamed
from router_dsl.lsp.workspace import Policy, Workspace
from router_dsl.plan import Program
from router_dsl.source import Diagnostic, Source, Span

# A pause in typing: long enough that a word is one change, too short to be waited for.
PAUSE_S = 0.05
# A pause in thinking: then there is time for what takes a look at the whole policy.
LONG_PAUSE_S = 0.4
# What such a look takes, until it was measured: 0.3 s for 1,000 rules in 90 KB (benchmarks/editor.py, 2026-11).
LOOK_S_PER_CHARACTER = 3e-6

_ITEM_KINDS: dict[ItemKind, lsp.CompletionItemKind] = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "fact": lsp.CompletionItemKind.Field,
    "value": lsp.CompletionItemKind.EnumMember,
    "name": lsp.CompletionItemKind.Reference,
    "operator": lsp.CompletionItemKind.Operator,
    "rule": lsp.CompletionItemKind.Snippet,
}
_SYMBOL_KINDS: dict[Sort, lsp.SymbolKind] = {
    "provider": lsp.SymbolKind.Namespace,
    "model": lsp.SymbolKind.Class,
    "endpoint": lsp.SymbolKind.Interface,
    "pool": lsp.SymbolKind.Array,
    "fact": lsp.SymbolKind.Field,
    "let": lsp.SymbolKind.Variable,
    "guard": lsp.SymbolKind.Property,
    "limit": lsp.SymbolKind.Number,
    "policy": lsp.SymbolKind.Module,
    "rule": lsp.SymbolKind.Function,
    "test": lsp.SymbolKind.Event,
    "assert": lsp.SymbolKind.Boolean,
}


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
        texts = {path: document.text for path, document in self.workspace.documents.items()}
        expected_s = sum(self._took_s.get(path, len(text) * LOOK_S_PER_CHARACTER) for path, text in texts.items())
        if self._looking is None and expected_s <= PAUSE_S:
            self._publish_all(self._look(texts))
            return
        self._publish_all(self.workspace.findings())
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_long(texts))

    async def _look_long(self, texts: dict[Path, str]) -> None:
        await asyncio.sleep(LONG_PAUSE_S)
        now = {path: document.text for path, document in self.workspace.documents.items()}
        if now == texts:
            found = await asyncio.to_thread(self._look, texts)
            now = {path: document.text for path, document in self.workspace.documents.items()}
        self._looking = None
        if now == texts:
            self._publish_all(found)
        else:
            # Something was typed meanwhile: what was found is about another text.
            self._looking = asyncio.get_running_loop().create_task(self._look_long(now))

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
        unused = finding.code == "W503"
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
        inside = [
            occurrence
            for occurrence in policy.names.occurrences()
            if self.workspace.path(occurrence.span.source.name, root) == path
            and occurrence.span.first <= offset <= occurrence.span.last
        ]
        # Of two that touch, the one that begins here.
        found = max(inside, key=lambda occurrence: occurrence.span.first, default=None)
        return root, policy, found

    def everywhere(self, uri: str) -> list[tuple[Path, Policy]]:
        """Return the policies that a file is part of: a rename must hold in all of them."""
        reaching = self.workspace.reaching(self.path(uri))
        return [(root, self.workspace.policy(root)) for root in reaching]


def serve() -> None:
    """Serve one editor over stdin and stdout until it says exit."""
    # Streams of its own: the server closes them, and what anyone prints by mistake must not get between messages.
    with os.fdopen(os.dup(0), "rb") as asked, os.fdopen(os.dup(1), "wb") as answered:
        os.dup2(2, 1)
        server_of().start_io(asked, answered)


def server_of() -> LanguageServer:
    """Return a language server with all its features."""
    server = LanguageServer("pointsman", _version(), text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental)
    editor = Editor(server)
    _documents(server, editor)
    _answers(server, editor)
    _changes(server, editor)
    return server


def _version() -> str:
    try:
        return version("pointsman")
    except PackageNotFoundError:
        return "0"


def _documents(server: LanguageServer, editor: Editor) -> None:
    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        editor.start(params)

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        editor.take(params.text_document.uri, params.text_document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        editor.take(params.text_document.uri, params.text_document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        editor.close(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: lsp.DidSaveTextDocumentParams) -> None:
        editor.workspace.changed_on_disk()
        editor.tell_soon()

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_files(params: lsp.DidChangeWatchedFilesParams) -> None:
        editor.workspace.changed_on_disk()
        editor.tell_soon()


def _answers(server: LanguageServer, editor: Editor) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        uri = params.text_document.uri
        _, policy, found = editor.at(uri, params.position)
        source = editor.source(uri)
        offset = editor.offset(source, params.position)
        parts = [] if found is None else [hover.told(found, policy.names)]
        if found is not None and found.kind == "rule" and policy.program is not None:
            parts.append(_region(policy.program, found))
        if found is None:
            parts.append(hover.keyword(_word(source.text, offset)))
        for finding in editor.findings(uri):
            if finding.span.first <= offset < finding.span.last:
                page = CODES[finding.code]
                parts.append(f"*{finding.code}, {page.title}*: {page.explanation}")
        text = "\n\n---\n\n".join(part for part in parts if part)
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text)) if text else None

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[".", "@", "/", "[", "(", ",", '"'])
    )
    def completed(params: lsp.CompletionParams) -> lsp.CompletionList:
        uri = params.text_document.uri
        source = editor.source(uri)
        place = place_at(source, editor.offset(source, params.position))
        if place is None:
            return lsp.CompletionList(False, [])
        _, policy = editor.workspace.context(editor.path(uri))
        offered = completions(place, policy.names)
        range_ = editor.range(offered.replaced)
        return lsp.CompletionList(False, [_item(item, range_, i) for i, item in enumerate(offered.items)])

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def defined(params: lsp.DefinitionParams) -> list[lsp.Location]:
        root, policy, found = editor.at(params.text_document.uri, params.position)
        if found is None:
            return []
        if found.kind == "file":
            start = lsp.Position(0, 0)
            target = editor.workspace.imported(found, root)
            return [lsp.Location(from_fs_path(str(target)) or str(target), lsp.Range(start, start))]
        return [
            editor.location(place.span, root)
            for place in policy.names.occurrences()
            if place.declares and place.identity == found.identity
        ]

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def referred(params: lsp.ReferenceParams) -> list[lsp.Location]:
        uri = params.text_document.uri
        found = editor.at(uri, params.position)[2]
        if found is None or found.kind == "file":
            return []
        with_declaration = params.context.include_declaration
        locations: list[lsp.Location] = []
        for root, policy in editor.everywhere(uri):
            for place in policy.names.occurrences():
                if place.identity == found.identity and (with_declaration or not place.declares):
                    location = editor.location(place.span, root)
                    locations += [] if location in locations else [location]
        return locations

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def outlined(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        document = editor.workspace.documents[editor.path(params.text_document.uri)]
        return [_symbol(entry, editor) for entry in outline(document.tree()[0])]


def _changes(server: LanguageServer, editor: Editor) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatted(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        source = editor.source(params.text_document.uri)
        text, findings = format_source(source)
        whole = Span(source, 0, len(source.text))
        return [] if findings or text == source.text else [lsp.TextEdit(editor.range(whole), text)]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def mended(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        actions = []
        for finding in editor.findings(uri):
            told = editor.diagnostic(finding)
            if _touches(told.range, params.range):
                for fix in fixes(finding):
                    edit = lsp.WorkspaceEdit({uri: [lsp.TextEdit(editor.range(fix.span), fix.text)]})
                    actions.append(lsp.CodeAction(fix.title, lsp.CodeActionKind.QuickFix, [told], edit=edit))
        return actions

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def asked(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        _, policy, found = editor.at(params.text_document.uri, params.position)
        if found is None:
            return None
        places = [place for place in policy.names.occurrences() if place.identity == found.identity]
        try:
            refuse_unless_declared(found, places)
        except RefusedError as error:
            raise JsonRpcException(str(error), lsp.LSPErrorCodes.RequestFailed) from None
        return editor.range(found.span)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        uri = params.text_document.uri
        found = editor.at(uri, params.position)[2]
        if found is None:
            return None
        changes: dict[str, list[lsp.TextEdit]] = {}
        for root, policy in editor.everywhere(uri):
            try:
                edits = renamed(policy.files, found, params.new_name)
            except RefusedError as error:
                raise JsonRpcException(str(error), lsp.LSPErrorCodes.RequestFailed) from None
            for edit in edits:
                _add(changes, edit, editor, root)
        return lsp.WorkspaceEdit(changes)


def _add(changes: dict[str, list[lsp.TextEdit]], edit: Edit, editor: Editor, root: Path) -> None:
    location = editor.location(edit.span, root)
    edits = changes.setdefault(location.uri, [])
    change = lsp.TextEdit(location.range, edit.text)
    if change not in edits:
        edits.append(change)


def _item(item: Item, range_: lsp.Range, place: int) -> lsp.CompletionItem:
    is_snippet = bool(item.snippet)
    return lsp.CompletionItem(
        label=item.label,
        kind=_ITEM_KINDS[item.kind],
        detail=item.detail or None,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, item.doc) if item.doc else None,
        # Editors sort by this, so that names come before keywords, each in the order of the policy.
        sort_text=f"{place:05}",
        insert_text_format=lsp.InsertTextFormat.Snippet if is_snippet else lsp.InsertTextFormat.PlainText,
        text_edit=lsp.TextEdit(range_, item.snippet or item.label),
    )


def _symbol(entry: Entry, editor: Editor) -> lsp.DocumentSymbol:
    return lsp.DocumentSymbol(
        name=entry.name or " ",
        kind=_SYMBOL_KINDS[entry.sort],
        range=editor.range(entry.whole),
        selection_range=editor.range(entry.name_span),
        detail=entry.detail or None,
        children=[_symbol(inner, editor) for inner in entry.inside],
    )


def _touches(one: lsp.Range, other: lsp.Range) -> bool:
    return one.start <= other.end and other.start <= one.end


def _region(program: Program, rule: Occurrence) -> str:
    """Return what is known of the requests that a rule takes."""
    policy = next(policy for policy in program.policies if policy.name == rule.owner)
    index = next(i for i, one in enumerate(policy.rules) if one.label == rule.name)
    # A hover is waited for: of a rule with many before it only an example is shown.
    search = search_of(program, tries=300)
    region = region_of(policy, index, program, search, with_behind=index <= 60)
    behind = ", ".join(f"`{label}`" for label in region.behind)
    told = [f"Of what it asks for, {behind} take{'' if len(region.behind) > 1 else 's'} a part."] if behind else []
    if region.example is None:
        told.append("No request was found that it decides.")
    else:
        told.append(f"Such as `given {region.example}`." if region.example else "Such as the baseline request.")
    return "\n\n".join(told)


def _word(text: str, offset: int) -> str:
    """Return the bare word at an offset."""
    start = end = offset
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return text[start:end]
