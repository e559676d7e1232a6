"""Builds what Lambda runs: one zip with the code that serving reaches, its libraries for arm64, bytecode, and a policy.

`make package` calls it; `python deploy/lambda/package.py --help` says more. What goes in is not a list that somebody
keeps: it is what can be reached from `handlers.aws_lambda` by imports, less the authoring half of the language, which a
function that serves a `.plan` never calls.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

ENTRY = "handlers.aws_lambda"
OWN = ("handlers", "runtime", "router_dsl")
AUTHORING = (
    "handlers.checked", "router_dsl.analyse", "router_dsl.check", "router_dsl.compile", "router_dsl.load",
    "router_dsl.syntax",
)  # fmt: skip

# What is imported → what it is called on PyPI. `None`: an extra of pointsman (HTTP/2, Redis, …), which is not packaged.
LIBRARIES: dict[str, str | None] = {
    "msgspec": "msgspec", "httptools": "httptools", "re2": "google-re2", "cachetools": "cachetools",
    "certifi": "certifi", "starlette": "starlette", "prometheus_client": "prometheus-client",
    "httpx": None, "httpcore": None, "h11": None, "h2": None,
    "cryptography": None, "opentelemetry": None, "redis": None,
}  # fmt: skip

# What those need themselves, and what Python reads and nobody imports: the time zones.
NEEDED = {"starlette": ("anyio", "typing-extensions"), "msgspec": ("tzdata",)}

# Lambda's Python 3.13 stands on Amazon Linux 2023, glibc 2.34.
PLATFORMS = (*tuple(f"manylinux_2_{minor}_aarch64" for minor in (34, 28, 27, 26, 24, 17)), "manylinux2014_aarch64")
PYTHON = (3, 13)

# What libraries bring along that nothing reads here: what other languages need, other event loops, test clients.
# `tests/serverless/test_package.py` starts what is left and asks for every page.
LEFT_OUT = re.compile(
    r"(^|/)(tests?|testing|__pycache__|bin)/|\.(pyi|pyx|pxd|c|h|cpp|typed)$"
    r"|^tzdata/zoneinfo/(tzdata\.zi|leapseconds)$"
    r"|^anyio/(_backends/_trio|pytest_plugin)\.py$"
    r"|^starlette/(testclient|templating|schemas|staticfiles|authentication|config|endpoints|status)\.py$"
    r"|^starlette/middleware/(authentication|cors|gzip|httpsredirect|sessions|trustedhost|wsgi)\.py$"
)

# The same bytes whenever it is built: zip knows no time before 1980.
THEN = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Build the zip; 0, or 1 when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("policy", type=Path, help="a .route file, which is built, or a .plan")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "lambda" / "pointsman.zip")
    parser.add_argument("--root", type=Path, help="folder that imports of the policy may not leave")
    parser.add_argument("--add", type=Path, action="append", default=[], help="a file to put beside the policy")
    parser.add_argument("--here", action="store_true", help="for this machine and this Python, to try what is in it")
    options = parser.parse_args()
    output = options.output.resolve()
    task = output.parent / "task"
    shutil.rmtree(task, ignore_errors=True)
    task.mkdir(parents=True)
    modules, libraries = reached()
    for module in modules:
        copy(module, task)
    install(libraries, task, here=options.here)
    plan(options.policy.resolve(), options.root and options.root.resolve(), task)
    for file in (HERE / "bootstrap", ROOT / "LICENSE", *options.add):
        shutil.copy(file, task / file.name)
    compiled = compile_all(task, sys.executable if options.here else interpreter())
    write(task, output)
    size = output.stat().st_size
    rest = "" if compiled else ", no bytecode"
    print(f"{options.output}: {size / 1e6:.2f} MB, {len(modules)} modules, {len(libraries)} libraries{rest}")
    return 0


def reached() -> tuple[list[Path], list[str]]:
    """Return the files of ours that serving reaches by imports, and the libraries, by their names on PyPI."""
    modules: dict[str, Path] = {}
    libraries: set[str] = set()
    left = [ENTRY]
    while left:
        module = left.pop()
        if module in modules or any(module == other or module.startswith(f"{other}.") for other in AUTHORING):
            continue
        file = file_of(module)
        if file is None:
            continue  # a name of a module, not a module
        modules[module] = file
        left.append(module.rpartition(".")[0] or module)
        for name in imports(file):
            top = name.partition(".")[0]
            if top in OWN:
                left.append(name)
            elif top not in sys.stdlib_module_names and (library := library_of(top, module)) is not None:
                libraries |= {library, *NEEDED.get(library, ())}
    return sorted(set(modules.values())), sorted(libraries)


def library_of(name: str, module: str) -> str | None:
    """Return what a library is called on PyPI, None when it is not packaged.

    Raises:
        SystemExit: Nobody has said whether it is.
    """
    if name not in LIBRARIES:
        raise SystemExit(
            f"package: `{module}`, which serving reaches, imports `{name}`: add it to LIBRARIES, or import less"
        )
    return LIBRARIES[name]


def file_of(module: str) -> Path | None:
    """Return where a module of ours is, None when there is none of that name."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()), None)


def imports(file: Path) -> Iterator[str]:
    """Give every name that a file imports, at its top or inside a function, but not for type checkers alone."""
    left: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def copy(file: Path, task: Path) -> None:
    """Put a file of ours where it is imported from."""
    target = task / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def install(libraries: list[str], task: Path, *, here: bool) -> None:
    """Put libraries beside the code, as the lock file has them: built for Lambda, or for this machine."""
    wanted = task.parent / "requirements.txt"
    wanted.write_text("".join(locked(libraries)))
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-compile",
        "--require-hashes", "--only-binary", ":all:", "--target", str(task), "-r", str(wanted),
    ]  # fmt: skip
    if not here:
        command += ["--implementation", "cp", "--python-version", ".".join(map(str, PYTHON))]
        for platform in PLATFORMS:
            command += ["--platform", platform]
    subprocess.run(command, check=True)
    for path in sorted(task.rglob("*"), reverse=True):
        name = path.relative_to(task).as_posix()
        is_metadata = ".dist-info/" in name and not re.search(r"(LICEN[CS]E|NOTICE|COPYING)", name)
        if path.is_file() and (LEFT_OUT.search(name) or is_metadata) and not name.startswith(OWN):
            path.unlink()
        elif path.suffix == ".so":
            path.write_bytes(bare(path.read_bytes()))
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def bare(library: bytes) -> bytes:
    """Return a shared library without what only debuggers and linkers read: two thirds of httptools'.

    What is loaded is what the program headers name; sections, symbols for debuggers and the table that lists them are
    not. Source: System V ABI, "Object Files". Anything but a 64-bit little-endian ELF file is returned as it is.
    """
    if library[:6] != b"\x7fELF\x02\x01":
        return library
    (first,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    end = first + size * count
    for at in range(first, end, size):
        offset, _, _, file_bytes = struct.unpack_from("<QQQQ", library, at + 8)
        end = max(end, offset + file_bytes)
    header = bytearray(library[:end])
    struct.pack_into("<Q", header, 40, 0)  # where the sections are listed
    struct.pack_into("<HHH", header, 58, 0, 0, 0)  # how they are
    return bytes(header)


def locked(libraries: list[str]) -> Iterator[str]:
    """Give the entries of the lock file for these libraries, hashes included.

    Raises:
        SystemExit: One is not locked.
    """
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements.lock").read_text("utf-8"))
    found = {entry.partition("==")[0]: entry for entry in entries}
    for library in libraries:
        if library not in found:
            raise SystemExit(f"package: requirements.lock has no `{library}`")
        version, *hashes = re.findall(r"^\S+==[^\s\\]+|--hash=\S+", found[library], re.M)
        yield f"{version} {' '.join(hashes)}\n"


def plan(policy: Path, root: Path | None, task: Path) -> None:
    """Put the policy into the folder as `policy.plan`."""
    target = task / "policy.plan"
    if policy.suffix == ".plan":
        shutil.copyfile(policy, target)
        return
    command = [sys.executable, "-m", "handlers.cli.main", "build", str(policy), "-o", str(target)]
    if root is not None:
        command += ["--root", str(root)]
    subprocess.run(command, check=True, cwd=ROOT)


def compile_all(task: Path, python: str | None) -> bool:
    """Leave bytecode in the place of every module; without a Python to compile with, say so and leave the sources.

    The folder is read-only on Lambda: what is not compiled here is compiled at every cold start. Sources beside
    bytecode would make the zip a fifth larger and each import look for two files; traces name files and lines anyway.
    """
    if python is None:
        wanted = ".".join(map(str, PYTHON))
        print(
            f"package: there is no Python {wanted} here to compile with, so the zip holds sources, and its cold start "
            f"takes several times as long; install one, or name it in PYTHON{PYTHON[0]}{PYTHON[1]}",
            file=sys.stderr,
        )
        return False
    compiling = [python, "-m", "compileall", "-q", "-b", "-j", "0", "-s", str(task), "-p", "/var/task", str(task)]
    subprocess.run([*compiling, "--invalidation-mode", "unchecked-hash"], check=True)
    for source in task.rglob("*.py"):
        source.unlink()
    return True


def interpreter() -> str | None:
    """Return a Python of Lambda's minor version: `PYTHON313`, this one, one on the PATH, or one of pyenv's."""
    name = f"python{PYTHON[0]}.{PYTHON[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        os.environ.get(f"PYTHON{PYTHON[0]}{PYTHON[1]}"), sys.executable, shutil.which(name),
        *map(str, sorted(pyenv.glob(f"{PYTHON[0]}.{PYTHON[1]}*/bin/python3"))),
    ]  # fmt: skip
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if asked.stdout.split() == [str(part) for part in PYTHON]:
            return candidate
    return None


def write(task: Path, output: Path) -> None:
    """Zip a folder, the same bytes for the same files."""
    output.unlink(missing_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(path for path in task.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(task).as_posix(), THEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Readable for everyone, whatever the umask here: Lambda runs as a user of its own.
            entry.external_attr = (0o100755 if path.name == "bootstrap" or path.suffix == ".so" else 0o100644) << 16
            packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
