"""The rules about the caller's turns: recognised, ended, answered or knowingly not."""

from collections.abc import Mapping
from typing import Any, Final

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.machines import Phase, TurnState
from duologue.sim.watch import Checker, Hook, Step

AHEAD_S_MAX: Final = 0.12  # the runtime's audio clock may run ahead so far, and a frame
SLACK_S: Final = 1.5  # a cut that must be confirmed, and a late loop
# A reply that was cut for these reasons left its turn unanswered knowingly: somebody wanted it so.
WANTED: Final = ("stopped", "closing", "no reply wanted", "superseded", "cleared")


class RecognitionIsPaired(Checker):
    """A recogniser a turn."""

    name = "recognition is paired"
    rule = "Each turn opens its recognition once, asks it for finals in order, and closes it once; one is open at most."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open = self._last = self._mark = 0

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.OpenRecognition: self._opened,
            act.FinaliseRecognition: self._finalised,
            act.CloseRecognition: self._closed,
        }

    def _opened(self, action: act.OpenRecognition) -> None:
        if self._open:
            self.blame(f"{action} while that of turn {self._open} is open")
        if action.turn <= self._last:
            self.blame(f"{action} after that of turn {self._last}")
        if action.since > self.watch.world.conversation.now + AHEAD_S_MAX:
            self.blame(f"{action} lies in the future")
        self._open = self._last = action.turn
        self._mark = 0

    def _finalised(self, action: act.FinaliseRecognition) -> None:
        if action.turn != self._open or action.mark <= self._mark:
            self.blame(f"{action} and turn {self._open} is open at mark {self._mark}")
        self._mark = action.mark

    def _closed(self, action: act.CloseRecognition) -> None:
        if action.turn != self._open:
            self.blame(f"{action} and turn {self._open} is open")
        self._open = 0

    def taken_over(self) -> None:
        self._open = 0

    def settled(self, step: Step) -> None:
        turn = self.watch.world.conversation.turn
        if turn != self._open:
            self.blame(f"turn {turn} is open and turn {self._open} is recognised")
            self._open = turn


class TurnsAreAnswered(Checker):
    """Every user turn is answered or knowingly not."""

    name = "turns are answered"
    rule = "Every turn ends once; whatever it said is answered, continued by the next turn, or dismissed with a reason."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[int] = set()
        self._over: set[int] = set()
        self._waiting: dict[int, str] = {}
        self._replies: dict[int, int] = {}
        self._heard: set[int] = set()

    def hears(self) -> Mapping[type, Hook]:
        return {
            act.OpenRecognition: lambda action: self._open.add(action.turn),
            act.TurnEnded: self._ended,
            act.TurnDismissed: self._dismissed,
            act.BeginReply: self._begun,
            act.ReleaseReply: self._released,
            act.CancelReply: self._cancelled,
            ev.ReplyHeard: lambda event: self._heard.add(event.reply),
        }

    def _ended(self, action: act.TurnEnded) -> None:
        if action.turn in self._over:
            self.blame(f"turn {action.turn} ended twice")
        self._open.discard(action.turn)
        self._over.add(action.turn)
        self._waiting.clear()  # the next reply answers them all
        self._waiting[action.turn] = "ended"

    def _dismissed(self, action: act.TurnDismissed) -> None:
        self.watch.world.tally.dismissed += 1
        if not action.reason:
            self.blame(f"turn {action.turn} was dismissed without a reason")
        if action.turn in self._over and action.turn not in self._waiting:
            self.blame(f"turn {action.turn} was dismissed after its end")
        self._open.discard(action.turn)
        self._over.add(action.turn)
        self._waiting.pop(action.turn, None)

    def _begun(self, action: act.BeginReply) -> None:
        self._replies[action.reply] = action.turn
        if not action.speculative:
            self._waiting.clear()

    def _released(self, action: act.ReleaseReply) -> None:
        self._waiting.pop(self._replies.get(action.reply, 0), None)

    def _cancelled(self, action: act.CancelReply) -> None:
        turn = self._replies.get(action.reply, 0)
        unheard = action.reply not in self._heard and turn in self._over
        if turn and unheard and action.reason not in WANTED:
            self._waiting[turn] = f"its reply {action.reply} was cut unheard ({action.reason})"

    def taken_over(self) -> None:
        turn = self.state.turn
        self._open = set()
        if turn is not None:
            self._over.discard(turn.number)

    def settled(self, step: Step) -> None:
        state = self.state
        quiet = self.phase is Phase.LISTENING and not state.cutting and not state.queue and not state.closing
        if self._waiting and quiet:
            self.blame(f"nobody answers: {self._waiting}")
            self._waiting.clear()

    def over(self) -> None:
        if self._open and self.watch.world.closed:
            self.blame(f"turns {sorted(self._open)} neither ended nor were dismissed")


class TurnsEnd(Checker):
    """A turn does not hang."""

    name = "turns end"
    rule = "Once the voice is over, a turn ends within the silence and the final that the policy waits for."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._since: float | None = None
        self._over = False
        policy = self.watch.world.scenario.policy.endpointing
        silence_s = max(policy.silence_s_max, max(policy.patience, 2.0) * policy.incomplete_s)
        self._bound_s = silence_s + policy.final_s_max + SLACK_S
        self._by_hand_s = policy.turn_s_max + policy.final_s_max + SLACK_S

    def settled(self, step: Step) -> None:
        state = self.state
        if self.phase is not Phase.ENDPOINTING or state.turn is None or isinstance(step.payload, ev.SpeechStarted):
            self._since = None
            return
        if self._since is None or (state.turn.state is TurnState.OVER) != self._over:
            self._since, self._over = step.at, (state.turn.state is TurnState.OVER)
        bound_s = self._by_hand_s if state.turn.by_hand and state.turn.state is not TurnState.OVER else self._bound_s
        if step.at - self._since > bound_s:
            self.blame(f"turn {state.turn.number} has waited for its end for {step.at - self._since:.1f} s")
            self._since = None


class WordsAreKept(Checker):
    """Nothing that was recognised is lost."""

    name = "words are kept"
    rule = "A turn ends with the newest words recognised of it, behind those of the unanswered turn that it continues."

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._newest: dict[int, str] = {}
        self._marks: dict[int, int] = {}
        self._ended: dict[int, str] = {}
        self._turn = 0

    def hears(self) -> Mapping[type, Hook]:
        return {
            ev.PartialTranscript: self._partial,
            ev.FinalTranscript: self._final,
            act.OpenRecognition: self._opened,
            act.TurnEnded: self._turn_ended,
        }

    def _opened(self, action: act.OpenRecognition) -> None:
        self._turn = action.turn
        self._newest[action.turn] = ""

    def _partial(self, event: ev.PartialTranscript) -> None:
        if event.turn == self._turn:
            self._newest[event.turn] = event.text

    def _final(self, event: ev.FinalTranscript) -> None:
        if event.turn == self._turn and event.mark > self._marks.get(event.turn, 0):
            self._marks[event.turn] = event.mark
            self._newest[event.turn] = event.text

    def _turn_ended(self, action: act.TurnEnded) -> None:
        text = self._newest.get(action.turn)
        if text is not None and not action.text.endswith(text.strip()):
            self.blame(f"turn {action.turn} was recognised as {text!r} and ended with {action.text!r}")
        earlier = self._ended.get(action.merged)
        if earlier is not None and not action.text.startswith(earlier):
            self.blame(f"turn {action.turn} continues {earlier!r} and ended with {action.text!r}")
        self._ended[action.turn] = action.text


CHECKERS: Final[tuple[type[Checker], ...]] = (RecognitionIsPaired, TurnsAreAnswered, TurnsEnd, WordsAreKept)
