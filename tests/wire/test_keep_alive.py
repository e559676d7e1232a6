"""Signs of life: what is asked for, and that they say nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.keep_alive import LEAST_S, MOST_S, KeepAlive, beat, parse
from runtime.wire.sse import Head, Watch, clean

HEAD = Head("id-1", "chat.completion.chunk", 7, "m")


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("off", None),
        ("0", None),
        (" Off ", None),
        ("5", KeepAlive(5.0)),
        ("5s", KeepAlive(5.0)),
        ("1.5s", KeepAlive(1.5)),
        ("2500ms", KeepAlive(2.5)),
        ("10m", KeepAlive(600.0)),
        ("5s chunk", KeepAlive(5.0, "chunk")),
        ("5s; mode=chunk", KeepAlive(5.0, "chunk")),
        ("5S, Comment", KeepAlive(5.0)),
    ],
)
def test_a_wish_is_read(text: str, wish: KeepAlive | None) -> None:
    assert parse(text) == wish


@given(st.one_of(st.text(), st.from_regex(r"\d+(\.\d+)?(ms|s|m)?( chunk)?", fullmatch=True)))
def test_what_is_no_wish_is_refused_and_a_wish_is_in_range(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert found is None or LEAST_S <= found.every_s <= MOST_S


@pytest.mark.parametrize("text", ["", "on", "0.5s", "11m", "5h", "5s ping", "-5s", "5s5s", "nan", "1e3"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a keep-alive is"):
        parse(text)


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("mode", ["comment", "chunk"])
def test_a_sign_of_life_says_nothing_and_passes_whole(api: str, mode: str) -> None:
    sign = beat(KeepAlive(5.0, mode), api, HEAD)  # type: ignore[arg-type]
    watch = Watch()
    watch.feed(sign)
    assert (watch.content_seen, watch.finished, watch.malformed) == (False, False, False)
    assert clean(sign) == sign
    assert sign.endswith(b"\n\n")


def test_a_chunk_is_one_that_a_client_can_index() -> None:
    chunk = json.loads(beat(KeepAlive(5.0, "chunk"), "chat", HEAD)[6:])
    assert (chunk["id"], chunk["model"], chunk["created"]) == ("id-1", "m", 7)
    assert chunk["choices"][0] == {"index": 0, "delta": {"content": ""}, "finish_reason": None}


@pytest.mark.parametrize("mode", ["comment", "chunk"])
def test_other_interfaces_have_signs_of_their_own(mode: str) -> None:
    keep = KeepAlive(5.0, mode)  # type: ignore[arg-type]
    assert beat(keep, "messages", HEAD) == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert beat(keep, "responses", HEAD).startswith(b":")
