"""The features of `pointsman lsp`: each question of an editor, and who answers it."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path

from handlers.editor import Editor
from handlers.generated import search_of
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
from router_dsl.plan import Program
from router_dsl.source import Span

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
