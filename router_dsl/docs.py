"""The generated parts of the public docs: fact tables, the index of codes, one page for each code.

`python -m router_dsl.docs` rewrites them under `docs/`; a test holds them in step.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from router_dsl.codes import CODES, Code
from router_dsl.fields import ENDPOINT_FIELDS, OPERATORS, REQUEST_FIELDS, Field


def pages() -> dict[str, str]:
    """Return the page of every code, by path under `docs/`."""
    index = "# Errors and warnings\n\nErrors begin with `E`, warnings with `W`; each has a page.\n\n" + code_table("")
    return {
        "errors/README.md": index + "\n",
        **{f"errors/{code}.md": _page(code, page) for code, page in CODES.items()},
    }


def _page(code: str, page: Code) -> str:
    kind = "warning" if code.startswith("W") else "error"
    text = f"# {code}: {page.title}\n\n*{kind}*\n\n{page.explanation}\n"
    if page.example:
        text += f"\n## Example\n\n```route\n{page.example}\n```\n"
    if page.mended:
        text += f"\n## Mended\n\n```route\n{page.mended}\n```\n"
    return text


def code_table(folder: str = "errors/") -> str:
    """Return the index of all codes, linking to their pages in `folder`."""
    rows = [f"| [{code}]({folder}{code}.md) | {page.title} |" for code, page in CODES.items()]
    return "\n".join(["| code | means |", "|---|---|", *rows])


def fact_table(fields: Sequence[Field]) -> str:
    """Return the facts of the scheme as a table, in the order of the scheme."""
    rows = [f"| `{_name(field)}` | {_type(field)} | {field.origin} | {_doc(field)} |" for field in fields]
    return "\n".join(["| fact | type | from | is |", "|---|---|---|---|", *rows])


def _name(field: Field) -> str:
    if field.name in ("healthy", "load"):
        return f"{field.name}(POOL)"
    return field.name.replace(".*", ".NAME")


def _type(field: Field) -> str:
    return f"one of {', '.join(field.values)}" if field.values else field.type


def _doc(field: Field) -> str:
    return field.doc.replace("|", "\\|")


def operator_table() -> str:
    """Return which operators each type admits."""
    rows = [f"| {kind} | {' '.join(f'`{op}`' for op in ops)} |" for kind, ops in OPERATORS.items()]
    return "\n".join(["| type | operators |", "|---|---|", *rows])


def tables() -> Mapping[str, str]:
    """Return the tables of the language reference by the name of their place in it."""
    return {
        "request facts": fact_table(REQUEST_FIELDS),
        "endpoint facts": fact_table(ENDPOINT_FIELDS),
        "operators": operator_table(),
        "codes": code_table(),
    }


def filled(reference: str) -> str:
    """Return the language reference with its tables up to date."""
    for name, table in tables().items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        reference = place.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", reference)  # type: ignore[misc]
    return reference


def write(docs: Path) -> None:
    """Write the generated parts under a `docs` folder."""
    for path, text in pages().items():
        (docs / path).write_text(text, encoding="utf-8")
    reference = docs / "language.md"
    reference.write_text(filled(reference.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
