"""What of a provider's stream reaches the client: whole events, as they come, up to the provider's end or its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.wire import interface, sse

if TYPE_CHECKING:
    from runtime.wire.translate.translation import Passage


class Relay:
    """Passes a stream on and watches it.

    Whole events only: a half one in front of our own last event would spoil both. What a provider says after an error,
    after nonsense or after `[DONE]` is dropped.

    Args:
        choices: How many answers were asked for.
        wants_usage: Whether the client asked for the usage chunk; the router always does, and otherwise keeps it.
        spoken: The interface in which the provider was asked.
        passage: What turns its events into those of the client's interface, where that is another.

    Attributes:
        watch: What the stream has said so far.
        last: What the event that ended it says to the client.
    """

    def __init__(
        self, choices: int, *, wants_usage: bool, spoken: str = "chat", passage: Passage | None = None
    ) -> None:
        self.watch: interface.Watch = interface.watch(spoken, choices)
        self.last = b""
        self._splitter = sse.Splitter()
        self._wants_usage = wants_usage
        self._spoken = spoken
        self._passage = passage

    @property
    def is_broken(self) -> bool:
        """Whether the stream turned into an error or into nonsense."""
        return self.watch.error is not None or self.watch.malformed

    @property
    def is_over(self) -> bool:
        """Whether nothing more of the stream matters."""
        return self.watch.done_seen or self.is_broken

    def is_everyday(self, chunk: bytes) -> bool:
        """Whether the next bytes can pass as they are, and nothing needs to be noted of them."""
        return self._splitter.is_empty and self._passage is None and self.watch.is_everyday(chunk)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return what they complete for the client."""
        if self.is_everyday(chunk):
            return chunk
        block = self._splitter.feed(chunk)
        if self._splitter.is_overlong:
            self.watch.malformed = True
        return self._pass(block) if block else b""

    def end(self) -> bytes:
        """Take the end of the body and return what is left for the client: a last event may lack its empty line."""
        rest = self._splitter.rest().strip(b"\r\n")
        if not rest:
            return b""
        passed = self._pass(rest + b"\n\n")
        self.watch.malformed = False  # half an event is the mark of a cut, not nonsense
        return passed

    def _pass(self, block: bytes) -> bytes:
        passed = []
        for event in sse.events(block):
            self.watch.feed(event)
            if self.is_over:
                if self._spoken in interface.NAMED and not self.is_broken:  # their last event says more than `[DONE]`
                    self.last = event if self._passage is None else self._passage.feed(sse.data(event) or b"")
                break
            if self._passage is not None:
                found = sse.data(event)
                # A comment is a sign of life in any interface.
                passed.append(self._passage.feed(found) if found is not None else b":\n\n")
            elif self._wants_usage or not sse.is_usage_only(event):
                passed.append(event)
        whole = b"".join(passed)
        return whole if self._spoken == "messages" or self._passage is not None else sse.clean(whole)

    def ending(self, api: str) -> bytes:
        """Return what ends the stream of a client that speaks `api`, once its answer is complete."""
        if self._passage is not None:
            return self.last + self._passage.end()
        return self.last or interface.ending(api)

    @property
    def head(self) -> sse.Head | None:
        """What every chunk that the client gets repeats."""
        return self.watch.head if self._passage is None else self._passage.head
