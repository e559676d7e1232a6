"""A `.route` file and its imports as a source of plans: compiled by a process of its own, away from requests."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from runtime.serve.source import Fetched, SourceError, UnusableError, files_tag, settled_tag


class _Finding(msgspec.Struct):
    file: str
    line: int
    column: int
    severity: str
    code: str
    message: str


class _Built(msgspec.Struct):
    findings: list[_Finding]
    sources: list[str]
    failed_tests: list[str] = []


class RouteSource:
    """The plan of a policy's source.

    Args:
        path: The root file.
        root: Folder that imports may not leave; the file's own when None.

    Attributes:
        files: What it was compiled from last, the root file first.
    """

    def __init__(self, path: Path, root: Path | None) -> None:
        self.name = str(path)
        self._path = path
        self._root = root
        self.files: tuple[Path, ...] = (path,)

    def tag(self, began_ns: int) -> str | None:
        """Return the mark of the files as they are, or None when one was written since `began_ns`, or is gone."""
        return settled_tag(self.files, began_ns)

    async def fetch(self, known: str | None) -> Fetched | None:
        """Return the plan, compiled anew, when a file has changed.

        Raises:
            SourceError: The root file cannot be read.
            UnusableError: It does not compile, or fails its own tests.
        """
        try:
            tag = await asyncio.to_thread(files_tag, self.files)
        except OSError as error:
            raise SourceError((error.strerror or str(error)).lower()) from error
        return None if tag == known else await self._build()

    async def _build(self) -> Fetched:
        from tempfile import TemporaryDirectory  # most policies never change while they are served

        began_ns = time.time_ns()
        with TemporaryDirectory(prefix="pointsman-") as folder:
            output = Path(folder) / "policy.plan"
            root = () if self._root is None else ("--root", str(self._root))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "handlers.cli.main", "build", str(self._path), "-o", str(output), "--json", *root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                said, _ = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            try:
                built = msgspec.json.decode(said, type=_Built)
            except msgspec.MsgspecError as error:
                raise SourceError(f"the compiler ended with {process.returncode} and gave no result") from error
            self.files = tuple(map(Path, built.sources)) or (self._path,)
            tag = self.tag(began_ns) or ""
            if process.returncode:
                raise UnusableError(_why(built), tag)
            return Fetched(output.read_bytes(), tag)


def _why(built: _Built) -> str:
    errors = [finding for finding in built.findings if finding.severity == "error"]
    if errors:
        first = errors[0]
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        return f"{first.file}:{first.line}:{first.column}: {first.code} {first.message}{more}"
    names = ", ".join(f"`{name}`" for name in built.failed_tests[:3])
    return f"{len(built.failed_tests)} of its own tests fail: {names}" if built.failed_tests else "it gives no plan"
