"""Files and imports: found from the importing file, read once, never outside the root, circles named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router_dsl.load import load, load_text
from router_dsl.source import Diagnostic

POLICY = "policy main { otherwise -> reject 400 }\n"


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.route"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "root.route"


def names(path: Path, root: Path | None = None) -> list[str]:
    files, found = load(path, root)
    assert found == []
    return [os.path.relpath(file.span.source.name, path.parent) for file in files]


def only(found: list[Diagnostic]) -> Diagnostic:
    assert len(found) == 1
    return found[0]


def test_the_root_file_comes_first_then_its_imports_in_order(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "b.route"\nimport "a.route"\n' + POLICY, a="", b="")
    assert names(root) == ["root.route", "b.route", "a.route"]


def test_imports_are_relative_to_the_importing_file(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "lib/a.route"', lib__a='import "b.route"\nimport "../c.route"', lib__b="", c="")
    assert names(root) == ["root.route", "lib/a.route", "lib/b.route", "c.route"]


def test_each_file_is_read_once(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        root='import "a.route"\nimport "b.route"\nimport "./a.route"',
        a='import "c.route"',
        b='import "c.route"',
        c="",
    )
    assert names(root) == ["root.route", "a.route", "c.route", "b.route"]


def test_names_are_shown_as_the_user_gave_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, root='import "lib/a.route"', lib__a="")
    monkeypatch.chdir(tmp_path)
    files, _ = load(Path("root.route"))
    assert [file.span.source.name for file in files] == ["root.route", "lib/a.route"]


def test_a_circle_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "a.route"', a='import "b.route"', b='\nimport "a.route"')
    files, found = load(root)
    finding = only(found)
    assert finding.code == "E222"
    assert finding.message == (
        f"files import each other in a circle: `{tmp_path}/a.route` → `{tmp_path}/b.route` → `{tmp_path}/a.route`"
    )
    assert (finding.span.source.name, finding.span.line) == (f"{tmp_path}/b.route", 2)
    assert len(files) == 3


def test_a_file_that_imports_itself_is_a_circle(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "root.route"')
    assert only(load(root)[1]).code == "E222"


@pytest.mark.parametrize("path", ["../out.route", "sub/../../out.route", "/etc/hostname"])
def test_nothing_is_imported_from_outside_the_root(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "inside"
    root = write(inside, root=f'import "{path}"', sub__x="")
    write(tmp_path, out="provider p {}")
    files, found = load(root)
    assert only(found).code == "E220"
    assert len(files) == 1


def test_links_are_followed_before_the_root_is_judged(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    root = write(inside, root='import "link.route"')
    write(tmp_path, out="")
    (inside / "link.route").symlink_to(tmp_path / "out.route")
    assert only(load(root)[1]).code == "E220"


def test_a_wider_root_admits_what_is_in_it(tmp_path: Path) -> None:
    root = write(tmp_path / "inside", root='import "../out.route"')
    write(tmp_path, out="")
    assert names(root, tmp_path) == ["root.route", "../out.route"]


def test_a_linked_folder_as_root_is_itself(tmp_path: Path) -> None:
    write(tmp_path / "real", root='import "a.route"', a="")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link" / "root.route") == ["root.route", "a.route"]


def test_a_missing_import_is_reported_where_it_stands(tmp_path: Path) -> None:
    root = write(tmp_path, root='\nimport "a.route"\n' + POLICY)
    finding = only(load(root)[1])
    assert (finding.code, finding.span.line, finding.span.text) == ("E219", 2, '"a.route"')
    assert finding.message == f"cannot read `{tmp_path}/a.route`: there is no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "sub"', sub__a="")
    assert only(load(root)[1]).message.endswith("it is a folder")


def test_text_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "a.route"')
    (tmp_path / "a.route").write_bytes(b"# caf\xe9")
    assert only(load(root)[1]).message.endswith("it is not UTF-8 text (byte 6)")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_root_that_cannot_be_read_gives_one_finding_at_its_first_place(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "root.route"
    if content is not None:
        path.write_bytes(content)
    files, found = load(path)
    assert files == []
    finding = only(found).to_json()
    assert (finding["file"], finding["line"], finding["column"], finding["code"]) == (str(path), 1, 1, "E219")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "root.route"
    path.write_bytes(b"\xef\xbb\xbf" + POLICY.encode())
    files, found = load(path)
    assert found == []
    assert files[0].span.source.position(0) == (1, 1)
    assert files[0].span.source.line(1) == POLICY.strip()


def test_syntax_errors_of_imports_are_reported_too(tmp_path: Path) -> None:
    root = write(tmp_path, root='import "a.route"\npolicy {', a="model {")
    _, found = load(root)
    assert {finding.span.source.name for finding in found} == {f"{tmp_path}/root.route", f"{tmp_path}/a.route"}


@pytest.mark.parametrize("path", ["\\u0000", "x" * 5000, ""])
def test_impossible_paths_are_findings(path: str) -> None:
    _, found = load_text(f'import "{path}"\n{POLICY}', "stdin")
    assert [finding.code[0] for finding in found] == ["E"]


def test_a_long_chain_of_imports_is_refused_not_crashed_on(tmp_path: Path) -> None:
    chain = {f"f{n}": f'import "f{n + 1}.route"' for n in range(200)}
    root = write(tmp_path, root='import "f0.route"', **chain)
    assert only(load(root)[1]).code == "E222"


def test_text_imports_from_the_root(tmp_path: Path) -> None:
    write(tmp_path, a="")
    files, found = load_text('import "a.route"', "stdin", tmp_path)
    assert found == []
    assert [file.span.source.name for file in files] == ["stdin", "a.route"]
