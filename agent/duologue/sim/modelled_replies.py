"""The modelled making and playing of replies: model, synthesiser and playout of the core's world.

Each does what its port promises, at the scenario's pace, and breaks in the ways that the scenario allows. What has
really been heard is known here to the word, which is what the checkers hold the history to.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from duologue.core import actions as act
from duologue.core import events as ev

if TYPE_CHECKING:
    from duologue.sim.world import World

CHARS_A_SECOND: Final = 14.0
REMOTE_REPORT_EVERY_S: Final = 0.5
STALL_S: Final = 45.0  # as in the runtime

PIECES: Final = (
    "It opens at nine o'clock. ",
    "That depends on where you are going, of course. ",
    "There are three trains before noon, and two of them are quite cheap. ",
    "Do you want me to book one? ",
    "Once upon a time there was a keeper who counted the waves every night. ",
    "I am not sure about that. ",
    "好的 我来帮您查一下。",
    "The weather will be fine until the evening. ",
)


@dataclass(slots=True)
class Piece:
    """A chunk of a reply. `seconds`: of audio; 0 where the synthesiser failed. `in_text` False: not part of it."""

    text: str
    seconds: float
    in_text: bool = True

    def heard(self, played_s: float) -> str:
        """What the first `played_s` seconds say: words of which half was played."""
        if played_s >= self.seconds:
            return self.text
        per_char = self.seconds / len(self.text)
        end = 0
        for start_char, end_char in word_spans(self.text):
            if played_s < (start_char + end_char) / 2 * per_char:
                break
            end = end_char
        return self.text[:end]

    def word_start(self, played_s: float) -> float:
        """Seconds at which the word that `played_s` lies in begins."""
        per_char = self.seconds / len(self.text)
        for start_char, end_char in word_spans(self.text):
            if start_char * per_char <= played_s < end_char * per_char:
                return start_char * per_char
        return played_s


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of `text` begin and end; a CJK stretch counts as one."""
    spans, at = [], 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        spans.append((start, at))
    return spans


@dataclass(slots=True)
class ModelledReply:
    """A reply being made. `pieces`: synthesised so far; `waiting`: how many more are on their way, the last of
    them until `busy_until`. `complete`: no more come."""

    number: int
    turn: int
    released: bool
    scripted: bool
    pieces: list[Piece] = field(default_factory=list)
    waiting: int = 0
    busy_until: float = 0.0
    complete: bool = False
    cancelled: bool = False
    rounds: int = 0
    tts_failures: int = 0
    index: int = 0
    offset_s: float = 0.0
    heard_told: bool = False
    last_heard_at: float = 0.0

    def heard(self, offset_s: float) -> str:
        """The text that was played when `offset_s` of the piece at `index` was."""
        text = "".join(piece.text for piece in self.pieces[: self.index] if piece.in_text)
        if self.index < len(self.pieces) and self.pieces[self.index].in_text:
            text += self.pieces[self.index].heard(offset_s)
        return text

    def rest_s(self, offset_s: float) -> float:
        """Seconds that are made and not played."""
        return max(0.0, sum(piece.seconds for piece in self.pieces[self.index :]) - offset_s)


class ModelledReplies:
    """Model, synthesiser and playout: what the runtime's reply player is, modelled."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._made: dict[int, ModelledReply] = {}
        self.playing: ModelledReply | None = None  # released; heard, held or waiting for audio
        self.held = False
        self._since: float | None = None  # when the piece at hand went on sounding
        self._play_number = 0  # a later one makes scheduled ends of pieces void

    # --- the core's actions ---

    def begin(self, action: act.BeginReply) -> None:
        """Make a reply, and play it unless it is speculative."""
        made = ModelledReply(action.reply, action.turn, not action.speculative, action.text is not None)
        self._made[made.number] = made
        if made.released:
            self._play(made)
        if action.text is not None:
            self._world.later(0.0, self._recite, made, action.text)
        else:
            self._generate(made, tools=True)

    def release(self, number: int) -> None:
        """It may be heard from now on."""
        made = self._made[number]
        made.released = True
        self._play(made)

    def go_on(self, number: int, *, tools: bool) -> None:
        """The model is asked again."""
        self._generate(self._made[number], tools=tools)

    def finish(self, number: int) -> None:
        """No more text comes."""
        made = self._made[number]
        made.complete = True
        self._wake_or_end(made)

    def fill(self, number: int, text: str) -> None:
        """Something to hear while one waits."""
        made = self._made[number]
        self._synthesise(made, text, in_text=False)

    def revive(self, number: int, heard: str, rest: str) -> None:
        """A reply that waits for its tools goes on here: `heard` was heard in another process, `rest` is said now."""
        made = self._made[number] = ModelledReply(number, 0, True, False)
        made.pieces.append(Piece(heard, 0.0))
        if rest.strip():
            self._synthesise(made, rest)
        self._play(made)

    def hold(self, number: int) -> None:
        """Silence at once."""
        if self.playing and self.playing.number == number and not self.held:
            self._stop()
            self.held = True
        self.report()

    def resume(self, number: int) -> None:
        """On from the start of the held word."""
        made = self.playing
        if made and made.number == number and self.held:
            self.held = False
            if made.index < len(made.pieces) and made.pieces[made.index].seconds:
                made.offset_s = made.pieces[made.index].word_start(made.offset_s)
            self._wake()

    def cancel(self, number: int) -> None:
        """Silence for good, and a word on how much was heard, from here or from the remote player."""
        world = self._world
        made = self._made.pop(number, None)
        heard = ""
        if made:
            made.cancelled = True
        if made and self.playing is made:
            self._stop()
            heard = made.heard(made.offset_s)
            self.playing = None
        if made and world.scenario.remote and made.heard_told:
            self._remote_confirms(made, heard)
        else:
            world.post(ev.ReplyEnded(world.now, number, heard, cut=True))

    def _remote_confirms(self, made: ModelledReply, heard: str) -> None:
        world = self._world
        if world.strikes("remote mute"):
            return
        delay_s = 2 * world.scenario.network_s
        if world.strikes("remote late"):
            delay_s += world.rng.uniform(1.0, 3.0)
        event = ev.ReplyEnded if world.rng.random() < 0.8 or delay_s < 1.0 else None
        if event:
            world.plan(delay_s, lambda: world.post(ev.ReplyEnded(world.now, made.number, heard, cut=True)))
        else:
            world.plan(delay_s, lambda: world.post(ev.HeardCorrected(world.now, made.number, heard)))

    def silence(self) -> None:
        """The session, or its process, is over."""
        self._stop()
        self.playing = None
        for made in self._made.values():
            made.cancelled = True
        self._made.clear()

    # --- what is known of it ---

    @property
    def audible(self) -> int:
        """Number of the reply that sounds now, 0 for none."""
        return self.playing.number if self.playing and self._since is not None else 0

    def report(self) -> None:
        """Tell the core how far the reply was heard until now."""
        made, world = self.playing, self._world
        if made and made.heard_told:
            at = self._position(made)
            world.post(ev.HeardSoFar(world.now, made.number, made.heard(at), made.rest_s(at)))

    def last_heard_at(self, number: int) -> float | None:
        """When the reply being played, if that is its number, was audible last."""
        made = self.playing
        return made.last_heard_at if made and made.number == number else None

    def _position(self, made: ModelledReply) -> float:
        return made.offset_s + (self._world.now - self._since if self._since is not None else 0.0)

    # --- text ---

    def _generate(self, made: ModelledReply, *, tools: bool) -> None:
        world = self._world
        made.rounds += 1
        made.complete = False
        first_s = world.rng.uniform(*world.scenario.first_token_s)
        if world.strikes("llm slow"):
            first_s += world.rng.uniform(1.0, 8.0)
        count = 0 if world.strikes("llm empty") else world.rng.choice((1, 1, 2, 3, 5))
        calls = 0
        if world.rng.random() < world.scenario.tools and tools:
            calls = world.rng.randint(1, 24) if world.strikes("llm wild") else world.rng.choice((1, 1, 2, 3))
            count = min(count, 1)
        fails_at = world.rng.randint(0, count) if world.strikes("llm failing") else -1
        if world.strikes("llm hanging"):
            world.later(STALL_S, self._text, made, 0, 0, 0)  # the runtime's guard
        else:
            world.later(first_s, self._text, made, count, calls, fails_at)

    def _text(self, made: ModelledReply, left: int, calls: int, fails_at: int) -> None:
        """The next chunk of the model's text, or its end."""
        world = self._world
        if made.cancelled:
            return
        if fails_at == left:
            world.post(ev.ReplyFailed(world.now, made.number, "llm", "the stream broke"))
            calls = left = 0
        if left:
            self._hand_over(made, world.rng.choice(PIECES))
            world.later(world.rng.uniform(*world.scenario.chunk_s), self._text, made, left - 1, calls, fails_at)
            return
        for index in range(calls):
            if made.cancelled:
                return
            world.post(world.tools.request(made.number, f"{'m' * world.life}{made.number}.{made.rounds}.{index}"))
        if not made.cancelled:
            self._generated(made, more=calls > 0)

    def _recite(self, made: ModelledReply, text: str) -> None:
        if not made.cancelled:
            if text:
                self._hand_over(made, text)
            self._generated(made, more=False)

    def _hand_over(self, made: ModelledReply, text: str) -> None:
        world = self._world
        world.post(ev.ReplyText(world.now, made.number, text))
        self._synthesise(made, text)

    def _generated(self, made: ModelledReply, *, more: bool) -> None:
        made.complete = not more
        self._world.post(ev.ReplyGenerated(self._world.now, made.number))
        self._wake_or_end(made)

    # --- speech ---

    def _synthesise(self, made: ModelledReply, text: str, *, in_text: bool = True) -> None:
        """One chunk after the other."""
        world = self._world
        delay_s = world.rng.uniform(*world.scenario.tts_s)
        if world.strikes("tts slow"):
            delay_s += world.rng.uniform(0.3, 3.0)
        made.waiting += 1
        made.busy_until = max(world.now, made.busy_until) + delay_s
        world.later(made.busy_until - world.now, self._spoken, made, text, in_text)

    def _spoken(self, made: ModelledReply, text: str, in_text: bool) -> None:
        """A chunk is synthesised, or was not to be; two failures in a row end the reply."""
        world = self._world
        if made.cancelled:
            return
        made.waiting -= 1
        if made.tts_failures < 2:
            failed = world.strikes("tts failing") or (made.tts_failures > 0 and "tts failing" in world.scenario.faults)
            made.tts_failures = made.tts_failures + 1 if failed else 0
            seconds = 0.0 if failed else max(0.2, len(text) / CHARS_A_SECOND)
            made.pieces.append(Piece(text, seconds, in_text and not failed))
            if made.tts_failures == 2:
                world.post(ev.ReplyFailed(world.now, made.number, "tts", "it broke"))
                made.complete = True
        if not made.cancelled:
            self._wake_or_end(made)

    # --- playout ---

    def _play(self, made: ModelledReply) -> None:
        self._stop()
        self.playing, self.held = made, False
        self._world.later(0.0, self._wake_or_end, made)

    def _wake_or_end(self, made: ModelledReply) -> None:
        if made is self.playing:
            self._wake()

    def _stop(self) -> None:
        made = self.playing
        self._play_number += 1
        if made and self._since is not None:
            made.offset_s = self._position(made)
            made.last_heard_at = self._world.now
            self._world.caller.agent_paused()
        self._since = None

    def _wake(self) -> None:
        """Sound the next piece if there is one; end if there will be none."""
        world, made = self._world, self.playing
        if made is None or self.held or self._since is not None:
            return
        while made.index < len(made.pieces) and made.pieces[made.index].seconds == 0.0:
            made.index += 1
        if made.index >= len(made.pieces):
            if made.complete and not made.waiting:
                self._end(made)
            return
        self._since = world.now
        self._play_number += 1
        left_s = made.pieces[made.index].seconds - made.offset_s
        world.later(left_s, self._piece_over, made, self._play_number)
        if not made.heard_told:
            made.heard_told = True
            if world.scenario.remote:
                world.later(REMOTE_REPORT_EVERY_S, self._remote_reports, made)
            world.caller.agent_heard(made.number, made.turn)
            world.post(ev.ReplyHeard(world.now, made.number))
        if made is self.playing and made.complete and not made.waiting:
            world.caller.end_foreseen(made.number, made.rest_s(made.offset_s))

    def _piece_over(self, made: ModelledReply, play_number: int) -> None:
        if play_number != self._play_number or made is not self.playing:
            return
        made.index, made.offset_s = made.index + 1, 0.0
        made.last_heard_at = self._world.now
        self._since = None
        self._wake()

    def _end(self, made: ModelledReply) -> None:
        world = self._world
        self.playing = None
        self._made.pop(made.number, None)
        world.caller.agent_over(made.number)
        world.post(ev.ReplyEnded(world.now, made.number, made.heard(0.0)))

    def _remote_reports(self, made: ModelledReply) -> None:
        """Reports reach us with the network's delay: they tell of a moment that is over."""
        world = self._world
        if made.cancelled or made is not self.playing:
            return
        if not world.strikes("remote mute"):
            at = self._position(made)
            heard, rest_s = made.heard(at), made.rest_s(at)
            world.later(world.scenario.network_s, self._report_arrives, made, heard, rest_s)
        world.later(REMOTE_REPORT_EVERY_S, self._remote_reports, made)

    def _report_arrives(self, made: ModelledReply, heard: str, rest_s: float) -> None:
        if made is self.playing:
            self._world.post(ev.HeardSoFar(self._world.now, made.number, heard, rest_s))
