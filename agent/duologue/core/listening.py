"""The user's turn: opened by voice or by hand, recognised, ended by silence or commit, answered or knowingly not."""

from duologue.core import overlap, speaking
from duologue.core.actions import (
    CloseRecognition,
    FinaliseRecognition,
    OpenRecognition,
    TurnDismissed,
    TurnEnded,
)
from duologue.core.barge_in import Verdict, judge_words
from duologue.core.endpointing import PAUSE_S_MIN, PAUSES_KEPT, Completeness, completeness, required_silence_s
from duologue.core.events import (
    EndpointingChanged,
    FinalTranscript,
    ImagesShown,
    PackChanged,
    PartialTranscript,
    RecognitionFailed,
    SpeechStarted,
    SpeechStopped,
    TurnCleared,
    TurnCommitted,
    TurnOpened,
)
from duologue.core.state import Core, Phase, Reply, Timer, Trigger, Turn, Wish, joined
from duologue.core.words import normal_form, split_words
from duologue.errors import ProtocolError

# So many words of a partial are hardly all wrong. Before that only settled ones count: a hold is silent, it can wait.
UNSETTLED_WORDS_MIN = 3
IMAGES_MAX = 8  # waiting to go with a turn; older ones give way
# Voice that began so shortly before the agent's last word, and outlasts it, answers it rather than accompanies it.
EARLY_ANSWER_S = 0.7


def normal_words(text: str) -> str:
    """`text` without case, punctuation and double spaces: what decides whether a speculative reply still fits."""
    return " ".join(filter(None, map(normal_form, split_words(text))))


# --- voice --------------------------------------------------------------------------------------------------------


def speech_started(core: Core, event: SpeechStarted) -> None:
    """Voice. It opens a turn, continues one, or talks over the agent."""
    state = core.state
    if state.voice:
        raise ProtocolError("speech can't start twice")
    if state.closing or (not state.automatic and not _open_by_hand(state.turn)):
        state.voice = True  # nobody listens now; the stop must find its start all the same
        return
    _voice(core, event.since)


def _voice(core: Core, since: float) -> None:
    before = core.state.phase
    core.go(Trigger.SPEECH_STARTED)
    core.state.voice = True
    if before is Phase.LISTENING:
        open_turn(core, since)
    elif before is Phase.ENDPOINTING:
        _go_on(core, since)
    elif before in speaking.AGENT_HAS_FLOOR:
        overlap.begin(core, since)
    elif before is Phase.OVERLAP:
        overlap.voice_again(core, since)
    core.turn.voice_since = since


def _open_by_hand(turn: Turn | None) -> bool:
    return turn is not None and turn.by_hand and not turn.over


def _voice_runs_on(core: Core, turn: Turn) -> None:
    """`turn` is over, in mid-voice: it was committed, or reached its bound. What follows continues it."""
    if core.state.voice and core.state.automatic:
        _voice(core, turn.voice_until)


def speech_stopped(core: Core, event: SpeechStopped) -> None:
    """The voice paused: ask for the final at once, decide later whether the turn is over."""
    state = core.state
    if not state.voice:
        raise ProtocolError("speech can't stop before it has started")
    core.go(Trigger.SPEECH_STOPPED)
    state.voice = False
    turn = state.turn
    if turn is None or turn.over:
        return
    turn.voice_until = event.until
    turn.voiced_s += max(0.0, event.until - turn.voice_since)
    finalise(core, turn)
    if state.phase is Phase.OVERLAP:
        overlap.voice_over(core)
    else:
        arm_endpoint(core)


def open_turn(core: Core, since: float, *, by_hand: bool = False) -> Turn:
    """A new turn, recognised from `since` on."""
    state = core.state
    if core.state.phase is not Phase.OVERLAP:  # what begins over the agent may be a cough, and no turn at all
        change_pack(core)
    state.turns += 1
    state.turn = turn = Turn(state.turns, since, by_hand=by_hand, voice_since=since, voice_until=since)
    _bound_turn(core, turn)
    core.do(OpenRecognition(turn.number, since))
    return turn


def _bound_turn(core: Core, turn: Turn) -> None:
    core.arm(Timer.TURN, max(core.state.now, turn.since + core.policy.endpointing.turn_s_max))


def change_pack(core: Core) -> None:
    """A pack that was changed speaks from the next turn on."""
    if core.state.next_pack:
        core.state.pack, core.history.system = core.state.next_pack
        core.state.next_pack = None


def finalise(core: Core, turn: Turn) -> None:
    """Ask the recogniser for its last word on the turn so far."""
    turn.mark += 1
    if turn.failed:  # nobody will answer
        turn.final_mark = turn.mark
    else:
        core.do(FinaliseRecognition(turn.number, turn.mark))


def _go_on(core: Core, since: float) -> None:
    turn = core.turn
    core.disarm(Timer.ENDPOINT, Timer.FINAL)
    if turn.over:  # a commit that is overtaken by the voice; silence ends the turn now
        turn.over = turn.by_hand = False
        _bound_turn(core, turn)
    remember_pause(core, since - turn.voice_until)


def remember_pause(core: Core, pause_s: float) -> None:
    """The user paused so long and went on: the next wait is stretched by it."""
    if pause_s >= PAUSE_S_MIN:
        core.state.pauses = [*core.state.pauses, pause_s][-PAUSES_KEPT:]


# --- words --------------------------------------------------------------------------------------------------------


def _turn_numbered(core: Core, number: int) -> Turn | None:
    turn = core.state.turn
    return turn if turn is not None and turn.number == number else None


def partial(core: Core, event: PartialTranscript) -> None:
    """A new hypothesis of the open turn; one of another turn is late and dropped."""
    if turn := _turn_numbered(core, event.turn):
        turn.text = event.text
        turn.evidence = _settled(event)
        _words_changed(core)


def _settled(event: PartialTranscript) -> str:
    """The stable words of a partial; all of them once there are several, for recognisers that settle nothing."""
    words = split_words(event.text)
    return event.text if len(words) >= UNSETTLED_WORDS_MIN else " ".join(words[: event.stable])


def _sure(core: Core, event: FinalTranscript) -> str:
    """The words of a final that the recogniser itself believes in; all of them where it does not say."""
    least = core.policy.barge_in.word_probability_min
    if all(word.probability is None or word.probability >= least for word in event.words):
        return event.text
    return " ".join(word.text for word in event.words if word.probability is None or word.probability >= least)


def final(core: Core, event: FinalTranscript) -> None:
    """The recogniser's last word up to some stop. One that was given up is welcome as long as the turn is open."""
    turn = _turn_numbered(core, event.turn)
    if turn is None or not turn.heard_mark < event.mark <= turn.mark:
        return
    turn.text, turn.heard_mark = event.text, event.mark
    turn.final_mark = max(turn.final_mark, event.mark)
    turn.evidence = _sure(core, event)
    turn.language = event.language or turn.language
    if turn.text:
        core.state.language = turn.language or core.state.language
    _words_changed(core)


def recognition_failed(core: Core, event: RecognitionFailed) -> None:
    """No more words will come: what there is must do."""
    if turn := _turn_numbered(core, event.turn):
        turn.failed = event.error
        turn.final_mark = turn.mark
        _words_changed(core)


def _words_changed(core: Core) -> None:
    state = core.state
    if state.phase is Phase.OVERLAP:
        overlap.words_changed(core)
    elif state.phase in speaking.AGENT_HAS_FLOOR:
        overlap.late_words(core)
    elif state.phase is Phase.USER_SPEAKING:
        _drop_stale_speculation(core)
    else:
        floor_is_free(core)


def floor_is_free(core: Core) -> None:
    """While endpointing, whenever something that counts has changed: count the silence anew, speculate, end."""
    if core.state.phase is Phase.ENDPOINTING:
        arm_endpoint(core)
        _speculate(core)
        try_end_turn(core)


def _drop_stale_speculation(core: Core) -> None:
    reply, turn = core.state.reply, core.state.turn
    if reply and turn and not reply.released and reply.basis != normal_words(turn.words):
        speaking.cancel(core, "continued")


def _speculate(core: Core) -> None:
    """Begin the reply before the turn is known to be over, if the words are there and sound as if they could be all."""
    state, turn, policy = core.state, core.turn, core.policy.reply
    if turn.final_mark < turn.mark or state.cutting or not turn.words:
        return
    _drop_stale_speculation(core)
    if state.reply or state.cutting or turn.alarm or turn.failed or turn.speculations >= policy.speculations_max:
        return
    wanted = policy.speculate and state.automatic and state.reply_automatically and not turn.over
    if wanted and completeness(turn.words, turn.language) is not Completeness.INCOMPLETE:
        turn.speculations += 1
        speaking.begin(core, Reply(0, turn.number, basis=normal_words(turn.words), released=False))


# --- the end of a turn --------------------------------------------------------------------------------------------


def arm_endpoint(core: Core) -> None:
    """Count the silence from the last voiced sample; how much is needed depends on the words."""
    state, turn = core.state, core.turn
    if turn.over or turn.by_hand:
        return
    how = completeness(turn.words, turn.language)
    silence_s = required_silence_s(core.policy.endpointing, how, state.pauses)
    core.arm(Timer.ENDPOINT, max(state.now, turn.voice_until + silence_s))


def silence_long_enough(core: Core) -> None:
    """The endpoint: the turn ends as soon as its final is there."""
    turn = core.turn
    turn.over = True
    core.arm(Timer.FINAL, max(core.state.now, turn.voice_until + core.policy.endpointing.final_s_max))
    try_end_turn(core)


def final_overdue(core: Core) -> None:
    """The recogniser is too late: the last partial stands; a parked turn is given up."""
    turn = core.turn
    turn.final_mark = turn.mark
    if core.state.phase in speaking.AGENT_HAS_FLOOR:
        dismiss_parked(core, overlap.what_it_was(core, turn))
    else:
        try_end_turn(core)


def turn_too_long(core: Core) -> None:
    """A turn at its bound is ended as if it had been committed; what follows continues it, as a turn of its own.

    While the agent can't be interrupted the bound waits.
    """
    if core.state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        _commit(core)
    else:
        core.arm(Timer.TURN, core.state.now + core.policy.endpointing.turn_s_max)


def opened(core: Core, event: TurnOpened) -> None:
    """Push-to-talk pressed: the agent falls silent and a turn is open until it is committed.

    A turn that the voice has begun, or that was just committed and is still being recognised, goes on by hand.
    """
    state = core.state
    if state.closing:
        raise ProtocolError("a turn can't be opened while the session is closing")
    if _open_by_hand(state.turn):
        raise ProtocolError("the turn is open already")
    over_agent = state.phase in (*speaking.AGENT_HAS_FLOOR, Phase.OVERLAP)
    core.go(Trigger.TURN_OPENED)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT, Timer.FINAL, Timer.ENDPOINT)
    if turn := state.turn:
        turn.by_hand, turn.alarm, turn.over = True, False, False
        _bound_turn(core, turn)
    else:
        open_turn(core, event.at, by_hand=True)
    if over_agent:
        speaking.cancel(core, "interrupted")


def committed(core: Core, event: TurnCommitted) -> None:
    """The caller says that the turn is over."""
    _commit(core)


def _commit(core: Core) -> None:
    state = core.state
    core.go(Trigger.TURN_COMMITTED)
    turn = core.turn
    if turn.over:
        return
    if state.voice:
        turn.voice_until = state.now
        turn.voiced_s += max(0.0, state.now - turn.voice_since)
    if state.voice or turn.by_hand or turn.mark == 0:
        finalise(core, turn)
    turn.over = True
    core.disarm(Timer.ENDPOINT, Timer.TURN)
    core.arm(Timer.FINAL, state.now + core.policy.endpointing.final_s_max)
    try_end_turn(core)


def cleared(core: Core, event: TurnCleared) -> None:
    """The caller takes the open turn back."""
    state = core.state
    if state.phase is Phase.OVERLAP:
        overlap.false_alarm(core, "cleared")
    elif state.phase in speaking.AGENT_HAS_FLOOR and state.turn:
        dismiss_parked(core, "cleared")
    else:
        _dismiss(core, "cleared")
        state.images = []


def try_end_turn(core: Core) -> None:
    """End the turn if it is over, its final is there, and it is known what of a cut reply was heard."""
    state, turn = core.state, core.state.turn
    if state.phase is not Phase.ENDPOINTING or turn is None or not turn.over:
        return
    if turn.final_mark < turn.mark or state.cutting:
        return
    reason = _reason_to_dismiss(core, turn)
    if reason:
        _dismiss(core, reason)
    else:
        _end(core, turn)
    _voice_runs_on(core, turn)


def _reason_to_dismiss(core: Core, turn: Turn) -> str:
    shown = turn.by_hand and core.state.images  # a picture alone is a turn if the hand says so
    if not turn.words and not shown:
        return "not recognised" if turn.failed else "noise"
    doubted = turn.final_mark == turn.heard_mark and turn.text and not turn.evidence
    if doubted and not turn.prefix and not turn.by_hand and turn.voiced_s < core.policy.barge_in.voice_s:
        return "noise"  # a short sound, made into words that the recogniser itself does not believe
    if turn.alarm and judge_words(turn.words, core.policy.barge_in) is Verdict.BACKCHANNEL:
        return "backchannel"
    return ""


def _end(core: Core, turn: Turn) -> None:
    state = core.state
    wanted = state.reply_automatically
    core.go(Trigger.TURN_ENDED if wanted else Trigger.TURN_DISMISSED)
    _close_turn(core, turn)
    images, state.images = tuple(state.images), []
    core.do(TurnEnded(turn.number, turn.words, images, turn.merged))
    core.history.extend_user(turn.number, turn.merged, turn.words, images)
    speaking.answering(core, turn.number, turn.voice_until)
    reply, basis = state.reply, normal_words(turn.words)
    if not wanted:
        speaking.cancel(core, "no reply wanted")
        core.do(TurnDismissed(turn.number, "no reply wanted", turn.words))
    elif reply and reply.basis == basis:
        speaking.release(core, reply)
    else:
        speaking.cancel(core, "superseded")
        speaking.begin(core, Reply(0, turn.number, basis=basis))


def _close_turn(core: Core, turn: Turn) -> None:
    core.state.turn = None
    core.disarm(Timer.ENDPOINT, Timer.FINAL, Timer.TURN, Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    core.do(CloseRecognition(turn.number))


def _dismiss(core: Core, reason: str) -> None:
    core.go(Trigger.TURN_DISMISSED)
    turn = core.turn
    _close_turn(core, turn)
    speaking.cancel(core, reason)
    core.do(TurnDismissed(turn.number, reason, turn.words))
    if reason == "not recognised":
        speaking.apologise(core)
    elif (owed := turn.owed or turn.merged) and reason != "closing":  # it silenced an answer for nothing
        core.state.wishes.insert(0, Wish("reply", turn=owed))


def dismiss_parked(core: Core, reason: str) -> None:
    """Give up a turn that began over the agent and was not judged in time."""
    if turn := core.state.turn:
        _close_turn(core, turn)
        core.do(TurnDismissed(turn.number, reason, turn.words))


def dismiss_for_closing(core: Core) -> None:
    """The session closes: nobody answers the open turn any more."""
    phase = core.state.phase
    if phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        _dismiss(core, "closing")
    elif phase is Phase.OVERLAP:
        overlap.false_alarm(core, "closing")
    elif phase in speaking.AGENT_HAS_FLOOR:
        dismiss_parked(core, "closing")


# --- between the agent's reply and the user's turn ----------------------------------------------------------------


def take_floor(core: Core, reply: Reply | None) -> None:
    """The reply that the turn began over is gone. If it went by itself, was that an answer or only company to it?"""
    turn = core.turn
    change_pack(core)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if reply is None or reply.asks or core.state.now - turn.voice_since <= EARLY_ANSWER_S:
        turn.alarm = False
    floor_is_free(core)


def merge_unanswered(core: Core, reply: Reply) -> None:
    """`reply` was cut before a word of it was heard: the open turn continues the one that it was to answer.

    If that is too long ago the turn is one of its own; but if it comes to nothing, the earlier one is owed an answer.
    """
    turn, history = core.state.turn, core.history
    if turn is None or not reply.turn:
        return
    earlier = history.user_item(reply.turn)
    gap_s = turn.since - core.state.answered_until
    if earlier is None or earlier is not history.items[-1] or gap_s > core.policy.endpointing.merge_s:
        turn.owed = reply.turn
        return
    turn.merged = reply.turn
    turn.prefix = joined(earlier.text, turn.prefix)
    remember_pause(core, gap_s)


# --- settings that the caller changes on the way ------------------------------------------------------------------


def images_shown(core: Core, event: ImagesShown) -> None:
    """Images for the open turn, or for the next one. A reply that was begun without them is begun anew."""
    show(core, event.images)
    floor_is_free(core)


def show(core: Core, images: tuple[str, ...]) -> None:
    """Keep `images` until a turn ends that they can go with."""
    if images:
        core.state.images = [*core.state.images, *images][-IMAGES_MAX:]
        reply = core.state.reply
        if reply and not reply.released:
            speaking.cancel(core, "continued")


def pack_changed(core: Core, event: PackChanged) -> None:
    """Another pack, from the next turn on."""
    core.state.next_pack = (event.name, event.system)


def endpointing_changed(core: Core, event: EndpointingChanged) -> None:
    """Turns end by silence or by commit from now on. An open turn waits for a commit as soon as one is asked for."""
    core.state.automatic = event.automatic
    core.state.reply_automatically = event.reply_automatically
    if not event.automatic and core.state.turn:
        core.state.turn.by_hand = True
        core.disarm(Timer.ENDPOINT)
