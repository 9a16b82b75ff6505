"""The kit passes honest transports, local and remote, and catches one that breaks each promise."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from duologue.audio import FRAME_SECONDS
from duologue.errors import ConfigurationError, TransportError
from duologue.ports.transport import WAITING_SECONDS_MAX, Transport, TransportSink
from duologue.testing.contracts import transport as kit
from duologue.testing.memory_transport import MemoryTransport, RemoteMemoryTransport
from duologue.testing.virtual_time import pass_time, run

Kind = Callable[..., Transport]


def made(kind: Kind, **options: Any) -> kit.MakeTransport:
    """A factory as the kit wants it: a caller in memory who stalls says nothing more and does not hang up."""
    return lambda caller, *, stalls=False: kind(caller, hang_up=not stalls, **options)


def passes(check: kit.Check, make: kit.MakeTransport) -> None:
    async def main() -> None:
        await check(make)

    run(main(), tasks_left="cancel")


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.check_name)
def test_the_memory_transport_keeps_the_contract(check: kit.Check) -> None:
    passes(check, made(MemoryTransport))


@pytest.mark.parametrize("can_hold", [False, True])
@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.check_name)
def test_the_remote_memory_transport_keeps_the_contract(check: kit.Check, can_hold: bool) -> None:
    passes(check, made(RemoteMemoryTransport, report_every_s=0.1, can_hold=can_hold))


def test_one_that_plays_at_one_rate_alone_says_so() -> None:
    class Telephone(MemoryTransport):
        async def run(self, sink: TransportSink) -> None:
            if sink.output_rate_hz != 8000:
                raise ConfigurationError("a telephone plays at 8000 Hz", hint="Set output_rate_hz = 8000")
            await super().run(sink)

    passes(kit.plays_at_every_rate, made(Telephone))


# --- the caller's audio ---------------------------------------------------------------------------------------------


class Nameless(MemoryTransport):
    name = ""


class Undecided(MemoryTransport):
    reports_playout = None  # type: ignore[assignment]


class UndecidedRemote(RemoteMemoryTransport):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.can_hold = "perhaps"  # type: ignore[assignment]


class Passing:
    """A sink that hands everything on."""

    def __init__(self, sink: TransportSink) -> None:
        self.sink = sink
        self.output_rate_hz = sink.output_rate_hz
        self.event, self.played = sink.event, sink.played

    def audio(self, pcm: bytes) -> None:
        self.sink.audio(pcm)


class HalfFrames(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        class Halving(Passing):
            def audio(self, pcm: bytes) -> None:
                sink.audio(pcm[:320])
                sink.audio(pcm[320:])

        await super().run(Halving(sink))


class Hasty(MemoryTransport):
    """Delivers all there is at once."""

    async def run(self, sink: TransportSink) -> None:
        for offset in range(0, 640 * 25, 640):
            sink.audio(kit.caller_speech()[offset : offset + 640])
        await pass_time(0)


class Backwards(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        class Reversing(Passing):
            frames = 25

            def audio(self, pcm: bytes) -> None:
                self.frames -= 1
                sink.audio(kit.caller_speech()[max(0, self.frames) * 640 :][:640])

        await super().run(Reversing(sink))


class Never(MemoryTransport):
    def __init__(self, caller: bytes, **options: Any) -> None:
        super().__init__(caller, hang_up=False)


class Mute(MemoryTransport):
    """Delivers no frame while the caller sends none."""

    async def run(self, sink: TransportSink) -> None:
        class Gating(Passing):
            def audio(self, pcm: bytes) -> None:
                if any(pcm):
                    sink.audio(pcm)

        await super().run(Gating(sink))


class Looping(MemoryTransport):
    """Conceals a caller who stalls by his last words, for ever."""

    async def run(self, sink: TransportSink) -> None:
        class Repeating(Passing):
            last = b""

            def audio(self, pcm: bytes) -> None:
                self.last = pcm if any(pcm) else self.last
                sink.audio(self.last)

        await super().run(Repeating(sink))


class Fickle(MemoryTransport):
    """Takes a caller who stalls for one who hung up."""

    def __init__(self, caller: bytes, **options: Any) -> None:
        super().__init__(caller)


# --- a player in our sight ------------------------------------------------------------------------------------------


class Forgetful(MemoryTransport):
    def cut_reply(self, reply: int) -> int:
        return 0


class Hoarder(MemoryTransport):
    def cut_reply(self, reply: int) -> int:
        return super().unplayed()


class Swallower(MemoryTransport):
    def play(self, pcm: bytes, reply: int) -> None:
        pass


class Growing(MemoryTransport):
    def unplayed(self) -> int:
        return int(self.now * 1000)


class Racing(MemoryTransport):
    """Plays ten times too fast."""

    def unplayed(self) -> int:
        return max(0, super().unplayed() - int((self.now - FRAME_SECONDS) * 240_000))


class Stalled(MemoryTransport):
    """Counts what was sent and nothing else."""

    sent = 0

    def play(self, pcm: bytes, reply: int) -> None:
        self.sent += len(pcm) // 2

    def unplayed(self) -> int:
        return self.sent


class Unbounded(MemoryTransport):
    def play(self, pcm: bytes, reply: int) -> None:
        self._loudspeaker.send(pcm, self._now_sample())


class Timid(MemoryTransport):
    """Has room for one frame."""

    def play(self, pcm: bytes, reply: int) -> None:
        if self.unplayed():
            raise TransportError("one frame waits already")
        super().play(pcm, reply)


class OneRate(MemoryTransport):
    """Takes every frame for one of 24 kHz."""

    async def run(self, sink: TransportSink) -> None:
        class Deaf(Passing):
            def __init__(self, sink: TransportSink) -> None:
                super().__init__(sink)
                self.output_rate_hz = 24_000

        await super().run(Deaf(sink))


# --- a player out of our sight --------------------------------------------------------------------------------------


class Silent(RemoteMemoryTransport):
    """Never reports."""

    def report_playout(self, reply: int, samples: int) -> None:
        pass


class Lying(RemoteMemoryTransport):
    """Reports something else than what it played. `lie`: (transport, samples) → samples."""

    lie: Callable[[Any, Any], Any] = staticmethod(lambda self, samples: samples)

    def report_playout(self, reply: int, samples: int) -> None:
        super().report_playout(reply, self.lie(self, samples))


class Eager(Lying):
    """Takes for played what was sent."""

    lie = staticmethod(lambda self, samples: sum(self._sent.values()))


class Zigzag(Lying):
    lie = staticmethod(lambda self, samples: samples if int(self.now * 10) % 2 else samples // 2)


class Overcounting(Lying):
    """Counts the silence behind a reply too."""

    lie = staticmethod(lambda self, samples: int((self.now - 2 * FRAME_SECONDS) * 24_000))

    async def _report_all_the_time(self, every_s: float) -> None:
        while True:
            await pass_time(every_s)
            self.report_playout(kit.REPLY, 0)


class Fractional(Lying):
    lie = staticmethod(lambda self, samples: float(samples))


class Half(Lying):
    """Counts at a rate of its own."""

    lie = staticmethod(lambda self, samples: samples // 2)


class Mistaken(Lying):
    def report_playout(self, reply: int, samples: int) -> None:
        super().report_playout(reply + 1, samples)


class Rare(RemoteMemoryTransport):
    """Reports when all is over, no earlier."""

    async def _report_all_the_time(self, every_s: float) -> None:
        await pass_time(1.45)
        while True:
            await super()._report_all_the_time(every_s)


class Unstoppable(RemoteMemoryTransport):
    """Plays on after a cut."""

    def cut_reply(self, reply: int) -> None:
        self._report_now()


class Restarting(RemoteMemoryTransport):
    """Begins to count anew after a cut."""

    before = 0

    def cut_reply(self, reply: int) -> None:
        super().cut_reply(reply)
        self.before = self.played_of(reply) if reply == kit.REPLY else 0

    def report_playout(self, reply: int, samples: int) -> None:
        super().report_playout(reply, samples - self.before if samples > self.before else samples)


class Secretive(RemoteMemoryTransport):
    """Does not say where it fell silent."""

    silent = False

    def cut_reply(self, reply: int) -> None:
        self.silent = reply == kit.REPLY
        super().cut_reply(reply)

    def hold_reply(self, reply: int) -> None:
        self.silent = True
        super().hold_reply(reply)

    async def _report_all_the_time(self, every_s: float) -> None:
        await pass_time(0)

    def report_playout(self, reply: int, samples: int) -> None:
        if not self.silent:
            super().report_playout(reply, samples)


class Restless(RemoteMemoryTransport):
    """Does not hold, though it says so."""

    def hold_reply(self, reply: int) -> None:
        self._report_now()


class Dropping(RemoteMemoryTransport):
    """Holds by throwing everything away."""

    def hold_reply(self, reply: int) -> None:
        self.cut_reply(reply)


class Cramped(RemoteMemoryTransport):
    """Has room for a second."""

    def play(self, pcm: bytes, reply: int) -> None:
        if self._loudspeaker.unplayed(self._now_sample()) > 24_000:
            raise TransportError("a second waits already")
        super().play(pcm, reply)


class Fainting(RemoteMemoryTransport):
    """Takes a burst, and dies of it."""

    def play(self, pcm: bytes, reply: int) -> None:
        super().play(pcm, reply)
        if self._loudspeaker.unplayed(self._now_sample()) > 24_000:
            self.break_off("too much at once")


class UnboundedRemote(RemoteMemoryTransport):
    def play(self, pcm: bytes, reply: int) -> None:
        self._loudspeaker.send(pcm, self._now_sample())


# --- the end --------------------------------------------------------------------------------------------------------


class Unclosable(MemoryTransport):
    async def aclose(self) -> None:
        pass


class Lively(MemoryTransport):
    """Speaks from beyond the grave."""

    async def run(self, sink: TransportSink) -> None:
        await super().run(sink)
        asyncio.get_running_loop().call_later(0.01, sink.audio, bytes(640))


class Ghost(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        sink.audio(bytes(640))
        await super().run(sink)


class Rerunnable(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        self._sink = None
        await super().run(sink)


class RerunHangs(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        if self._sink is not None:
            await pass_time(100)
        await super().run(sink)


class Stuck(MemoryTransport):
    async def run(self, sink: TransportSink) -> None:
        await pass_time(100)


BROKEN: list[tuple[kit.Check, Kind, str]] = [
    (kit.says_what_it_is, Nameless, "name must be a word"),
    (kit.says_what_it_is, Undecided, "reports_playout must be a bool"),
    (kit.says_what_it_is, UndecidedRemote, "can_hold must be a bool"),
    (kit.delivers_the_caller_in_frames, HalfFrames, "pieces must be 640 bytes"),
    (kit.delivers_the_caller_in_frames, Backwards, "get louder"),
    (kit.delivers_the_caller_in_frames, Never, "although the caller hung up"),
    (kit.sample_count_is_time, Hasty, "before its last sample"),
    (kit.a_stalled_caller_is_silence, Mute, "must come as 50 frames, 0 came"),
    (kit.a_stalled_caller_is_silence, Looping, "must be silence, it peaks at"),
    (kit.a_stalled_caller_is_silence, Fickle, "run ended although the caller is still on the line"),
    (kit.counts_what_is_unplayed_and_cuts_at_once, Forgetful, "were unplayed, the cut says 0"),
    (kit.counts_what_is_unplayed_and_cuts_at_once, Hoarder, "after a cut 4800 samples are unplayed"),
    (kit.counts_what_is_unplayed_and_cuts_at_once, Swallower, "unplayed says 0"),
    (kit.playout_takes_its_time, Growing, "unplayed grew"),
    (kit.playout_takes_its_time, Racing, "played in the time of"),
    (kit.playout_takes_its_time, Stalled, "are still unplayed long after"),
    (kit.reports_what_was_played, Silent, "nothing was reported"),
    (kit.reports_what_was_played, Eager, "samples were reported in the time of"),
    (kit.reports_what_was_played, Zigzag, "a report fell from"),
    (kit.reports_what_was_played, Overcounting, "samples were reported, 36000 were sent"),
    (kit.reports_what_was_played, Fractional, "must be a whole number of samples, got 1920.0"),
    (kit.reports_what_was_played, Half, "of 36000 samples sent 18000 were told"),
    (kit.reports_what_was_played, Mistaken, "a report on reply 8, played was 7"),
    (kit.reports_what_was_played, Rare, "must come every 1 s while it plays, once it took 1.53 s"),
    (kit.a_remote_cut_is_silence_and_is_reported, Unstoppable, "it plays on"),
    (kit.a_remote_cut_is_silence_and_is_reported, Restarting, "what comes behind counts on"),
    (kit.a_remote_cut_is_silence_and_is_reported, Secretive, "a cut must be followed by a report"),
    (kit.a_remote_hold_keeps_everything, Secretive, "a hold must be followed by a report"),
    (kit.a_remote_hold_keeps_everything, Restless, "it plays on"),
    (kit.a_remote_hold_keeps_everything, Dropping, "of 19200 samples sent 9600 were told"),
    (kit.takes_a_burst, Timid, "0.06 s at once must be taken, it said: one frame waits"),
    (kit.takes_a_burst, Cramped, "13 s at once must be taken, it said: a second waits"),
    (kit.takes_a_burst, Fainting, "13 s at once ended the call"),
    (kit.a_slow_reader_is_bounded, Unbounded, rf"600 s wait: {WAITING_SECONDS_MAX:g} may"),
    (kit.a_slow_reader_is_bounded, UnboundedRemote, "beyond 30 s play or run must raise TransportError"),
    (kit.plays_at_every_rate, OneRate, "half of 0.4 s at 8000 Hz was played"),
    (kit.plays_at_every_rate, Half, "3200 samples at 8000 Hz were sent, 1600 were told"),
    (kit.close_ends_the_call, Unclosable, "did not return after aclose"),
    (kit.close_ends_the_call, Lively, "after aclose"),
    (kit.close_before_the_call, Ghost, "from a closed transport"),
    (kit.close_before_the_call, Stuck, "closed before"),
    (kit.runs_once, Rerunnable, "second run"),
    (kit.runs_once, RerunHangs, "second run"),
]


@pytest.mark.parametrize(("check", "broken", "complaint"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_caught(check: kit.Check, broken: Kind, complaint: str) -> None:
    is_remote = isinstance(broken, type) and issubclass(broken, RemoteMemoryTransport)
    options = {"report_every_s": 0.1, "can_hold": True} if is_remote else {}
    with pytest.raises(AssertionError, match=complaint):
        passes(check, made(broken, **options))


def test_every_check_is_bitten() -> None:
    assert {check for check, _, _ in BROKEN} == set(kit.CHECKS)
