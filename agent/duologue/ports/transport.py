"""The realtime transport: the caller's audio in, the agent's audio out, and what the caller's side reports.

Contract:
- `run` delivers 20 ms pieces of the caller's audio (640 bytes) to the sink in order, resampled once, lost ones
  concealed or replaced by silence so that sample count is time; it returns when the caller hangs up and raises
  `TransportError` when the connection breaks. Called once.
- `send` takes one frame of the agent and never blocks. The engine paces itself: it keeps at most `LEAD_FRAMES` frames
  ahead of real time unless the transport `plays_far_side`.
- `flush` drops every frame sent but not yet played and returns how many samples that were; nothing of them is heard
  after it.
- `unplayed` is how many samples were sent and not yet heard, as near as the transport knows; 0 after `flush`.
- `aclose` is idempotent, makes `run` return, and plays nothing more.
"""

from typing import Final, Protocol

from duologue.audio import Frame
from duologue.core.events import Event

LEAD_FRAMES: Final = 3  # 60 ms: rides out a late timer, and is little to flush


class TransportSink(Protocol):
    """Where a transport delivers. Both calls are cheap and never raise for a state the caller's side can't know."""

    def audio(self, pcm: bytes) -> None:
        """The next 20 ms of the caller: 640 bytes of mono 16 kHz int16."""
        ...

    def event(self, event: Event) -> None:
        """Something the caller's side did: a typed turn, a commit, a playout report.

        `at` may be 0: it is stamped on arrival.
        """
        ...


class Transport(Protocol):
    """One connection to one caller."""

    @property
    def name(self) -> str:
        """As in `use = "name"`."""
        ...

    @property
    def plays_far_side(self) -> bool:
        """True where playout happens out of our sight and is what the far side reports (`PlayoutReported`)."""
        ...

    async def run(self, sink: TransportSink) -> None:
        """Deliver until the caller hangs up."""
        ...

    def send(self, frame: Frame) -> None:
        """Queue one frame for the caller."""
        ...

    def flush(self) -> int:
        """Drop what is queued; how many samples that were."""
        ...

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...
