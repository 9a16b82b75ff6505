"""The realtime transport: the caller's audio in, the agent's audio out, and what the caller's side reports.

A transport is one of two, and says which by `reports_playout`. A `LocalTransport` plays in our sight: it counts what
was sent and not yet heard, and falls silent in the same call. A `RemoteTransport` plays elsewhere: neither count nor
silence can be had at once there, so none is asked for, and what was heard comes as a report.

Incoming, of both:
- `run` delivers 20 ms pieces of the caller's audio (640 bytes of 16 kHz) to the sink in order, resampled once. Sample
  count is time: what is lost, and a caller who is silent, muted or stalled, is delivered as concealment or as frames of
  silence, at the pace of the clock; a turn ends by silence, and silence that is not delivered never ends one. What
  comes later than the silence that took its place is dropped.
- `run` is called once. It returns when the caller hangs up and raises `TransportError` when the connection breaks.
- The session calls `aclose` when it is over, whoever ended it and however `run` did. It is idempotent, makes `run`
  return, and nothing is heard after it; what is played or told after it harms nobody.

Outgoing, of both:
- `play` takes 20 ms of a reply (mono int16 at the sink's `output_rate_hz`, a whole frame, the last one filled up with
  silence) and never blocks. Replies come one after the other.
- `end_reply`: all of the reply was given to `play`. A hold may take some of it back; then that is played again, and
  ended again.
- `cut_reply`: silence, now; nothing of the reply that was not heard yet is heard after it. If it is for good
  `end_reply` follows; if it is a hold, the reply goes on with `play`, from the word that was cut.
- Both do nothing for a reply of which nothing was played.
- What waits to be played is bounded. The engine keeps `LEAD_FRAMES` ahead of a local player, and pauses for one that
  stalls; a remote one gets up to `AHEAD_SECONDS_MAX` at once. A caller who reads so slowly that more than
  `WAITING_SECONDS_MAX` would wait is lost: `play` raises `TransportError`, or `run` does, and the session ends.

A transport may have `accompany(session)`, a coroutine that is started with the session and ended with it.
"""

from typing import Final, Protocol

from duologue.core.events import Event

LEAD_FRAMES: Final = 3  # 60 ms: rides out a late timer, and is little to take back
AHEAD_SECONDS_MAX: Final = 12.0  # made and not yet heard: what is cut was not worth making
WAITING_SECONDS_MAX: Final = 30.0  # that a transport holds; a caller who is so far behind hears another conversation
REPORT_SECONDS_MAX: Final = 1.0  # between two reports of a remote player that plays


class TransportSink(Protocol):
    """Where a transport delivers. The calls are cheap and never raise for a state the caller's side can't know."""

    @property
    def output_rate_hz(self) -> int:
        """Rate of the agent's audio in this session, one of `OUTPUT_RATES_HZ`. A transport that can't play it resamples
        it once, or raises `ConfigurationError` out of `run`."""
        ...

    def audio(self, pcm: bytes) -> None:
        """The next 20 ms of the caller: 640 bytes of mono 16 kHz int16."""
        ...

    def event(self, event: Event) -> None:
        """Something the caller's side did: a typed turn, a commit.

        `at` may be 0: it is stamped on arrival.
        """
        ...

    def played(self, reply: int, samples: int) -> None:
        """The remote player has played `samples` of `reply` until now.

        It counts what it was sent, at `output_rate_hz`; what it was sent twice, after a hold, it counts twice. A report
        that can't be true (of a reply never sent, beyond its end, backwards) is noted and dropped.
        """
        ...


class Transport(Protocol):
    """One connection to one caller: what local and remote players have in common."""

    @property
    def name(self) -> str:
        """As in `use = "name"`."""
        ...

    @property
    def reports_playout(self) -> bool:
        """True for a `RemoteTransport`: playout happens out of our sight and is what the remote player reports."""
        ...

    async def run(self, sink: TransportSink) -> None:
        """Deliver until the caller hangs up."""
        ...

    def play(self, pcm: bytes, reply: int) -> None:
        """Play 20 ms of `reply` behind what was played before."""
        ...

    def end_reply(self, reply: int) -> None:
        """No more of `reply` comes."""
        ...

    def cut_reply(self, reply: int) -> int | None:
        """Silence `reply` now."""
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


class LocalTransport(Transport, Protocol):
    """A player in our sight: a sound card, a file, a connection whose buffer we hold.

    `unplayed` is counted to the ear: with what the operating system or a jitter buffer has queued, as near as it can be
    known. It never grows by itself, and is 0 after a cut: what could not be taken back counts as heard.
    """

    def unplayed(self) -> int:
        """Samples sent and not yet heard."""
        ...

    def cut_reply(self, reply: int) -> int:
        """Silence `reply` now; how many samples of it will never be heard."""
        ...


class RemoteTransport(Transport, Protocol):
    """A player out of our sight, which tells the sink by `played` how far it is: every `REPORT_SECONDS_MAX` at least
    while it plays, when it has played all, and where it fell silent at a cut or a hold.

    One that never reports is taken to play in real time. One that has reported and falls silent is taken at its last
    report.
    """

    @property
    def can_hold(self) -> bool:
        """Whether the remote player can fall silent and go on by itself; else a hold is a cut, and the rest is sent
        again."""
        ...

    def cut_reply(self, reply: int) -> None:
        """Tell the remote player to drop what it has not played of `reply`."""
        ...

    def hold_reply(self, reply: int) -> None:
        """Tell it to fall silent and keep everything. Only where `can_hold`; the same holds for `resume_reply`."""
        ...

    def resume_reply(self, reply: int) -> None:
        """Tell it to go on with the sample at which it was held."""
        ...
