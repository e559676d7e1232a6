"""Text → syntax tree, or what is wrong with it: the only module that knows Lark.

Lark reads `grammar.lark` and makes the LALR(1) tables; the loop that runs over them is ours (`reading.py`),
because it chooses each word's terminal by what can stand there, mends small mistakes, and is twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from lark import Lark
from lark.grammar import Rule
from lark.parsers.lalr_analysis import Shift

from router_dsl import ast
from router_dsl.lex import MAX_FINDINGS, lex
from router_dsl.reading import Production, Tables, Value, read
from router_dsl.recover import Recovery
from router_dsl.source import Diagnostic, Source, Span, in_order
from router_dsl.transform import Transform


def parse(source: Source) -> tuple[ast.File, list[Diagnostic]]:
    """Return the file's tree and every independent syntax error, in order.

    With errors the tree holds what is sound, and `File.broken` the names of what is not.
    """
    lexed = lex(source)
    whole = Span(source, 0, len(source.text))
    if not lexed.diagnostics:
        if not lexed.tokens:
            return ast.File((), span=whole), []
        file = read(tables(), lexed.tokens)
        if file is not None:
            return replace(file, span=whole), []
    recovery = Recovery(tables())
    if len(lexed.diagnostics) < MAX_FINDINGS:
        recovery.file(lexed.tokens)
    file = ast.File(tuple(recovery.items), tuple(recovery.broken), span=whole)
    return file, in_order([*lexed.diagnostics, *recovery.findings])[:MAX_FINDINGS]


@cache
def tables() -> Tables:
    """Return the grammar's tables, made once a process."""
    grammar = (Path(__file__).parent / "grammar.lark").read_text("utf-8")
    lark = Lark(grammar, start="file", parser="lalr", keep_all_tokens=True, maybe_placeholders=False)
    conf = lark.parse_interactive(start="file").parser_state.parse_conf
    transform = Transform()
    productions = {rule: _production(rule, transform) for rule in conf.callbacks if isinstance(rule, Rule)}
    actions: list[dict[str, int | Production]] = [{} for _ in conf.states]
    gotos: list[dict[str, int]] = [{} for _ in conf.states]
    symbols = [""] * len(conf.states)
    for state, row in conf.states.items():
        for symbol, (action, target) in row.items():
            if action is not Shift:
                actions[state][symbol] = productions[target]
            elif symbol.isupper():
                actions[state][symbol] = target
                symbols[target] = symbol
            else:
                gotos[state][str(symbol)] = target
                symbols[target] = str(symbol)
    keywords = {str(t.pattern.value): t.name for t in lark.terminals if t.pattern and t.pattern.value.isalpha()}
    return Tables(actions, gotos, conf.start_state, conf.end_state, keywords, symbols)


def _production(rule: Rule, transform: Transform) -> Production:
    origin = str(rule.origin.name)
    name = rule.alias or origin
    # Lists (`_names`, and what Lark makes of `*`) are spliced into what holds them.
    spliced = tuple(i for i, symbol in enumerate(rule.expansion) if symbol.name.startswith("_") and not symbol.is_term)
    method = None if origin.startswith("_") else getattr(transform, name, None)
    single = rule.options.expand1 and not rule.alias
    size = len(rule.expansion)
    if single and size == 1 and not spliced:
        return Production(size, origin, None)
    return Production(size, origin, _builder(spliced, method, single=bool(single)))


def _builder(
    spliced: tuple[int, ...], method: Callable[[list[Value]], Value] | None, *, single: bool
) -> Callable[[list[Value]], Value]:
    def splice(values: list[Value]) -> list[Value]:
        flat: list[Value] = []
        for i, value in enumerate(values):
            if i not in spliced or not isinstance(value, list):
                flat.append(value)
            elif flat:
                flat += value
            else:
                # The list is this rule's alone: growing it keeps long files linear.
                flat = value
        return flat

    def build(values: list[Value]) -> Value:
        if spliced:
            values = splice(values)
        if single and len(values) == 1:
            return values[0]
        return values if method is None else method(values)

    return method if method is not None and not spliced and not single else build
