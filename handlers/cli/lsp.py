"""`pointsman lsp`: the language server, spoken to by editors over stdin and stdout."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec

from handlers.cli.output import OK, USAGE, complain


def main(argv: Sequence[str]) -> int:
    """Serve one editor until it leaves; 0 then, 2 when the extra is not installed."""
    parser = argparse.ArgumentParser(
        prog="pointsman lsp", description="Language server for .route files, over stdin and stdout; editors start it."
    )
    parser.add_argument("--stdio", action="store_true", help="what editors say; there is no other way")
    parser.parse_args(argv)
    if find_spec("pygls") is None:
        complain("the language server needs pygls", "pip install 'pointsman[lsp]'")
        return USAGE
    from handlers.language_server import serve

    serve()
    return OK
