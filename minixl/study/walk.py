"""Move through the events of a recording: one op at a time, into the ops that an op calls, out of a block of the model."""
from __future__ import annotations

from minixl.study.events import OpCall, Recording, UpdateRecord


def is_named(event: OpCall | UpdateRecord, name: str) -> bool:
    """Whether all words of the name are in the event's place, op, pass or loss."""
    text = f"{event.kind} {event.site} {event.op}" if isinstance(event, OpCall) else f"update {event.loss}"
    words = name.lower().split()
    return bool(words) and all(word in text.lower() for word in words)


def names_of(event: OpCall | UpdateRecord) -> list[str]:
    """Return what an event can be called: its op and its place, or its loss."""
    return [event.op, event.site] if isinstance(event, OpCall) else [event.loss]


class Walk:
    """A position in a recording.  A move returns a message, "" if there is nothing to say."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.depths = [event.depth if isinstance(event, OpCall) else 0 for event in recording.events]
        self.position = next((i for i, depth in enumerate(self.depths) if not depth), 0)

    @property
    def event(self) -> OpCall | UpdateRecord:
        """Where it is."""
        return self.recording.events[self.position]

    def next(self) -> str:
        """Go to the next op; inside an op, after the last one to the op itself."""
        depth = self.depths[self.position]
        return self._go(next((i for i in range(self.position + 1, len(self.depths)) if self.depths[i] <= depth), None),
                        "this is the last one")

    def back(self) -> str:
        """Go to the op before."""
        depth = self.depths[self.position]
        return self._go(next((i for i in range(self.position - 1, -1, -1) if self.depths[i] <= depth), None),
                        "this is the first one")

    def into(self) -> str:
        """Go to the first op that this one calls."""
        depth, first = self.depths[self.position], None
        for i in range(self.position - 1, -1, -1):
            if self.depths[i] <= depth:
                break
            first = i if self.depths[i] == depth + 1 else first
        return self._go(first, "this calls no other op")

    def out(self) -> str:
        """Go to the op that calls this one, or past the block of the model that this op is in."""
        depth = self.depths[self.position]
        if depth:
            return self._go(next(i for i in range(self.position, len(self.depths)) if self.depths[i] < depth), "")
        if isinstance(self.event, UpdateRecord):
            return self.next()
        block = self.event.site.rpartition(".")[0]
        for i in range(self.position + 1, len(self.depths)):
            if not self.depths[i] and not (block and self._is_in(i, block)):
                return self._go(i, "")
        return "nothing comes after this block"

    def jump(self, name: str) -> str:
        """Go to the next event, from here on around, with all words of the name in its place, op, pass or loss."""
        count = len(self.depths)
        for i in [(self.position + 1 + step) % count for step in range(count)]:
            if is_named(self.recording.events[i], name):
                return self._go(i, "")
        return f"nothing has {name.strip()!r} in its name"

    def _is_in(self, number: int, block: str) -> bool:
        event = self.recording.events[number]
        return isinstance(event, OpCall) and f"{event.site}.".startswith(f"{block}.")

    def _go(self, number: int | None, otherwise: str) -> str:
        if number is None:
            return otherwise
        self.position = number
        return ""
