"""Pictures: well formed, self-contained, readable whatever the names, and never where requests are served."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.cli.main import main
from handlers.pictures.decision import WIDE
from handlers.pictures.drawing import COLORS, DARK_COLORS, Drawing, columns, shortened, width, wrapped

RULES = Path(__file__).parents[2] / "rules"
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = "<script>alert(1)</script>&\"'🚂 日本語 очень длинное имя которое никуда не помещается и не кончается"


def policy(rules: int = 3, name: str = HOSTILE) -> str:
    quoted = '"' + name.replace('"', '\\"') + '"'
    lines = [f"  r{i}: when user == u{i} or metadata.x == {quoted} and tools > {i} -> {quoted}" for i in range(rules)]
    return f"""\
provider p {{ url "sim://" region eu }}
model {quoted} {{ context 1k  serve p "m" price $1 in $2 out }}
model small {{ context 128k  serve p "s" price $1 in $2 out  serve p as two "t" price $3 in $4 out }}
guard {quoted}: when images > 0 require region == us
policy main {{
{chr(10).join(lines)}
  {quoted}: when files > 0 -> reject 415 {quoted}
  calls: when audio > 0 -> policy other
  otherwise -> small else {quoted}
}}
policy other {{ never: when tools > 5 -> small  otherwise -> small }}
test {quoted} {{ given user u1  expect rule r1 }}
test "fails" {{ expect rule r1 }}
"""


def drawn(tmp_path: Path, text: str, *options: str) -> ElementTree.Element:
    file, out = tmp_path / "x.route", tmp_path / "x.svg"
    file.write_text(text, encoding="utf-8")
    assert main(["explain", str(file), "--svg", str(out), *options]) == 0
    return ElementTree.fromstring(out.read_text("utf-8"))


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def assert_nothing_sticks_out(svg: ElementTree.Element) -> None:
    high = float(svg.attrib["height"])
    for element in svg.iter(f"{SVG}text"):
        size = 18 if element.attrib["class"] == "title" else 13
        assert float(element.attrib["x"]) + width(element.text or "", size) <= WIDE - 8, element.text
        assert float(element.attrib["y"]) < high


@pytest.mark.parametrize(
    ("options", "some"),
    [
        ((), ["policy main: rule otherwise decides", "otherwise", "1", "small@p"]),
        (("--set", "user=u1"), ["policy main: rule r1 decides", "not asked any more"]),
        (("--set", "files=1"), ["the request is refused"]),
        (("--set", "images=1"), ["left out"]),
        (("--set", "audio=1"), ["it calls policy other, where 1 of 2 rules are passed over"]),
        (("--set", "request.tokens=2000"), ["left out"]),
    ],
)
def test_a_decision_is_drawn_whole(tmp_path: Path, options: tuple[str, ...], some: list[str]) -> None:
    svg = drawn(tmp_path, policy(), *options)
    found = texts(svg)
    assert [text for text in some if text not in found] == []
    assert_nothing_sticks_out(svg)


def test_a_picture_tells_its_story_in_words_too(tmp_path: Path) -> None:
    svg = drawn(tmp_path, policy(), "--set", "user=u1")
    assert svg.attrib["role"] == "img"
    assert svg.findtext(f"{SVG}title") == "policy main: rule r1 decides"
    assert "rule r1 decides, because" in (svg.findtext(f"{SVG}desc") or "")


def test_hundreds_of_rules_stay_a_picture(tmp_path: Path) -> None:
    svg = drawn(tmp_path, policy(300))
    assert float(svg.attrib["height"]) < 3000
    assert "⋮  242 more that do not hold" in texts(svg)
    assert_nothing_sticks_out(svg)


class Page(HTMLParser):
    """A page read strictly: every element closed in its order."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(tmp_path: Path, text: str, code: int = 0) -> Page:
    file, out = tmp_path / "x.route", tmp_path / "x.html"
    file.write_text(text, encoding="utf-8")
    assert main(["check", str(file), "--html", str(out)]) == code
    read = out.read_text("utf-8")
    assert "http" not in read.replace('http-equiv="', "")
    return Page(read)


def test_a_policy_is_drawn_with_its_rules_tests_endpoints_and_guards(tmp_path: Path) -> None:
    found = page(tmp_path, policy())
    words = "".join(found.words)
    assert "script" not in found.seen
    assert HOSTILE in words
    assert "1 passed, 1 failed" in words
    for told in ("decides a test", "no test", "→ reject 415", "small@p/two", "How it is looked up", "whenever"):
        assert told in words


def test_a_rule_that_nothing_reaches_is_marked_and_what_comes_before_it_named(tmp_path: Path) -> None:
    text = policy().replace("  calls:", "  dead: when files > 0 and images > 0 -> small\n  calls:")
    words = "".join(page(tmp_path, text).words)
    assert "no request found" in words
    assert "what is left by r0, r1, r2" in words


def test_a_policy_with_errors_is_a_page_of_findings(tmp_path: Path) -> None:
    found = page(tmp_path, "policy main { otherwise -> nobody }\n", code=1)
    assert "E206" in "".join(found.words)
    assert "table" not in found.seen


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((RULES / "examples").glob("*.route")), ids=lambda path: path.stem)
def test_the_examples_are_drawn(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    assert main(["check", "--root", str(RULES), str(path), "--html", str(out)]) == 0
    words = "".join(Page(out.read_text("utf-8")).words)
    assert "no request found" not in words


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.route"
    file.write_text(policy(), encoding="utf-8")
    nowhere = str(tmp_path / "no" / "x")
    assert main(["explain", str(file), "--svg", nowhere]) == 2
    assert main(["check", str(file), "--html", nowhere]) == 2
    assert main(["check", "-", "--html", nowhere]) == 2
    assert "Traceback" not in capsys.readouterr().err


@given(st.text(), st.floats(20, 500))
def test_a_shortened_text_fits_its_room(text: str, room: float) -> None:
    assert width(shortened(text, room)) <= room
    assert all(width(line) <= room for line in wrapped(text, room))


@given(st.text())
def test_any_text_makes_well_formed_xml(text: str) -> None:
    drawing = Drawing(100)
    drawing.text(0, 10, text, room=60)
    ElementTree.fromstring(drawing.svg(20, text, text))


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert (columns("abc"), columns("日本"), columns("e\u0301"), columns("\u200d")) == (3, 4, 1, 0)


@pytest.mark.parametrize("colors", [COLORS, DARK_COLORS], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(colors: str) -> None:
    named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", colors))

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    pairs = [(ink, ground) for ink in ("ink", "soft", "good", "bad", "warn", "note") for ground in ("paper", "fill")]
    pairs += [("faint", "paper"), *((tone, f"{tone}-fill") for tone in ("good", "bad", "warn", "note"))]
    for ink, ground in pairs:
        low, high = sorted((luminance(named[ink]), luminance(named[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
