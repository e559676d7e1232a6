"""A language client that speaks JSON-RPC over the pipes of a real `pointsman lsp`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

POLICY = """\
provider fireworks { url "https://fireworks.invalid/v1"  key env.FIREWORKS_API_KEY  region us }
provider vllm-eu   { url "http://vllm.invalid/v1"        region eu }
model llama-70b {
  context 128k
  aka     "gpt-4o-mini"
  serve fireworks "a"  price $0.90 in $0.90 out
  serve vllm-eu   "c"  price $3 in $3 out
}
model llama-8b { context 128k  serve fireworks as fast "d"  price $0.20 in $0.20 out }
pool both = llama-70b, llama-8b @ fireworks/fast
fact plan: one of trial, pro from key.plan
let eu = [de, fr]
let long = prompt.tokens > 24k
limit spend: $200 per day by tenant soft
guard residency: when header.x-country in eu require provider in [vllm-eu, fireworks]
policy chat {
  broke: when over spend and plan == trial -> llama-8b
  long:  when long -> llama-70b @ vllm-eu
  otherwise        -> requested else both by price
}
policy other { otherwise -> policy chat }
test "broke" {
  given plan trial
  over spend
  policy chat
  expect rule broke
}
"""


class Client:
    """One editor with one language server of its own."""

    def __init__(self, folder: Path, encodings: tuple[str, ...] = ("utf-16",)) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "handlers.cli.main", "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._number = 0
        self._noticed: list[dict[str, Any]] = []
        self.folder = folder
        self.capabilities = self.ask(
            "initialize",
            {
                "processId": None,
                "rootUri": folder.as_uri(),
                "capabilities": {"general": {"positionEncodings": list(encodings)}},
            },
        )["capabilities"]
        self.tell("initialized", {})

    def leave(self) -> int:
        """Say goodbye and return the server's exit code."""
        self.ask("shutdown", None)
        self.tell("exit", None)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(20)
        self._process.stdout.close()
        return code

    def tell(self, method: str, params: Any) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, params: Any) -> Any:
        answer = self.answer(method, params)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                return message
            self._noticed.append(message)

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str) -> list[dict[str, Any]]:
        """Open a file and return what is wrong with it."""
        document = {"uri": self.uri(name), "languageId": "route", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return self.findings(name, 1)

    def close(self, name: str) -> None:
        self.tell("textDocument/didClose", {"textDocument": {"uri": self.uri(name)}})

    def change(self, name: str, version: int, *changes: dict[str, Any]) -> list[dict[str, Any]]:
        document = {"uri": self.uri(name), "version": version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": list(changes)})
        return self.findings(name, version)

    def findings(self, name: str, version: int) -> list[dict[str, Any]]:
        """Wait for the findings about a version of a file."""
        while True:
            for i, message in enumerate(self._noticed):
                params = message.get("params") or {}
                if message.get("method") == "textDocument/publishDiagnostics" and params["uri"] == self.uri(name):
                    del self._noticed[i]
                    if params.get("version") == version:
                        return list(params["diagnostics"])
                    break
            else:
                self._noticed.append(self._receive())

    def codes_with(self, name: str, version: int, code: str) -> list[str]:
        """Wait until a finding with this code is among those about a version, and return the codes of all."""
        while code not in (codes := [one["code"] for one in self.findings(name, version)]):
            pass
        return codes

    def at(self, name: str, text: str, word: str, shift: int = 0) -> dict[str, Any]:
        """Return the parameters of a question about the first place of `word` in a text."""
        before = text[: text.index(word) + shift]
        line = before.count("\n")
        column = len(before[before.rfind("\n") + 1 :].encode("utf-16-le")) // 2
        return {"textDocument": {"uri": self.uri(name)}, "position": {"line": line, "character": column}}

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        # A server that says nothing is ended, so that a test fails instead of waiting.
        patience = Timer(60, self._process.kill)
        patience.start()
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the server has left"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        patience.cancel()
        return message


def applied(text: str, edits: list[dict[str, Any]]) -> str:
    """Return a text with an editor's edits made."""
    lines = text.splitlines(keepends=True) or [""]

    def offset(position: dict[str, int]) -> int:
        if position["line"] >= len(lines):
            return len(text)
        line = lines[position["line"]].encode("utf-16-le")[: position["character"] * 2]
        return sum(map(len, lines[: position["line"]])) + len(line.decode("utf-16-le"))

    for edit in sorted(edits, key=lambda edit: offset(edit["range"]["start"]), reverse=True):
        text = text[: offset(edit["range"]["start"])] + edit["newText"] + text[offset(edit["range"]["end"]) :]
    return text
