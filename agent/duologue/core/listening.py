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
from duologue.core.history import UserItem
from duologue.core.state import Core, Phase, Reply, Timer, Trigger, Turn, Wish
from duologue.core.words import normal_form, split_words
from duologue.errors import ProtocolError

# So many words of a partial are hardly all wrong. Before that only settled ones count: a hold is silent, it can wait.
UNSETTLED_WORDS_MIN = 3
IMAGES_MAX = 8  # waiting to go with a turn; older ones give way
# Voice that began so shortly before the agent's last word answers it rather than accompanies it.
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
    before = state.phase
    core.go(Trigger.SPEECH_STARTED)
    state.voice = True
    if before is Phase.LISTENING:
        open_turn(core, event.since)
    elif before is Phase.ENDPOINTING:
        _go_on(core, event.since)
    elif before in speaking.AGENT_HAS_FLOOR:
        overlap.begin(core, event.since)
    elif before is Phase.OVERLAP:
        overlap.voice_again(core, event.since)
    if state.turn:
        state.turn.voice_since = event.since


def _open_by_hand(turn: Turn | None) -> bool:
    return turn is not None and turn.by_hand and not turn.over


def speech_stopped(core: Core, event: SpeechStopped) -> None:
    """The voice paused: ask for the final at once, decide later whether the turn is over."""
    state = core.state
    if not state.voice:
        raise ProtocolError("speech can't stop before it has started")
    turn = state.turn
    if turn is None or state.closing or (not state.automatic and not turn.by_hand):
        state.voice = False
        return
    core.go(Trigger.SPEECH_STOPPED)
    state.voice = False
    turn.voice_until = event.until
    turn.voiced_s += max(0.0, event.until - turn.voice_since)
    if turn.over:
        return
    finalise(core, turn)
    if state.phase is Phase.OVERLAP:
        overlap.voice_over(core)
    else:
        arm_endpoint(core)


def open_turn(core: Core, since: float, *, by_hand: bool = False) -> Turn:
    """A new turn, recognised from `since` on."""
    state = core.state
    change_pack(core)
    state.turns += 1
    turn = Turn(state.turns, since, by_hand=by_hand, voice_since=since, voice_until=since, images=state.images)
    state.turn, state.images = turn, []
    core.arm(Timer.TURN, max(state.now, since + core.policy.endpointing.turn_s_max))
    core.do(OpenRecognition(turn.number, since))
    return turn


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
    turn = core.state.turn
    core.disarm(Timer.ENDPOINT, Timer.FINAL)
    if turn:
        turn.over = False
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
    """The recogniser's last word up to some stop."""
    turn = _turn_numbered(core, event.turn)
    if turn is None or event.mark <= turn.final_mark:
        return
    turn.text, turn.final_mark, turn.heard_mark = event.text, event.mark, event.mark
    turn.evidence = _sure(core, event)
    turn.language = event.language or turn.language
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
    elif state.phase is Phase.ENDPOINTING:
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
    state, turn, policy = core.state, core.state.turn, core.policy.reply
    if turn is None or turn.final_mark < turn.mark or state.cutting or not turn.words:
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
    state, turn = core.state, core.state.turn
    if turn is None or turn.over or turn.by_hand or not state.automatic:
        return
    how = completeness(turn.words, turn.language) if turn.words else Completeness.NEUTRAL
    silence_s = required_silence_s(core.policy.endpointing, how, state.pauses)
    core.arm(Timer.ENDPOINT, max(state.now, turn.voice_until + silence_s))


def silence_long_enough(core: Core) -> None:
    """The endpoint: the turn ends as soon as its final is there."""
    turn = core.state.turn
    if turn is not None:
        turn.over = True
        core.arm(Timer.FINAL, max(core.state.now, turn.voice_until + core.policy.endpointing.final_s_max))
        try_end_turn(core)


def final_overdue(core: Core) -> None:
    """The recogniser is too late: the last partial stands; a parked turn is given up."""
    turn = core.state.turn
    if turn is None:
        return
    turn.final_mark = turn.mark
    if core.state.phase in speaking.AGENT_HAS_FLOOR:
        dismiss_parked(core, "noise")
    try_end_turn(core)


def turn_too_long(core: Core) -> None:
    """A turn at its bound is ended as if it had been committed; what follows continues it, as a turn of its own."""
    if core.state.phase in (Phase.USER_SPEAKING, Phase.ENDPOINTING):
        _commit(core)


def opened(core: Core, event: TurnOpened) -> None:
    """Push-to-talk pressed: the agent falls silent and a turn is open until it is committed."""
    state = core.state
    over_agent = state.phase in (*speaking.AGENT_HAS_FLOOR, Phase.OVERLAP)
    core.go(Trigger.TURN_OPENED)
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT, Timer.FINAL)
    if state.turn:
        state.turn.by_hand, state.turn.alarm = True, False
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
    turn = state.turn
    if turn is None or turn.over:
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
    if core.state.phase is Phase.OVERLAP:
        overlap.false_alarm(core, "cleared")
    else:
        _dismiss(core, "cleared")


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


def _reason_to_dismiss(core: Core, turn: Turn) -> str:
    if not turn.words and not turn.images:
        return "not recognised" if turn.failed else "noise"
    doubted = turn.final_mark == turn.heard_mark and turn.text and not turn.evidence
    if doubted and not turn.prefix and not turn.images and turn.voiced_s < core.policy.barge_in.voice_s:
        return "noise"  # a short sound, made into words that the recogniser itself does not believe
    if turn.alarm and judge_words(turn.words, core.policy.barge_in) is Verdict.BACKCHANNEL:
        return "backchannel"
    return ""


def _end(core: Core, turn: Turn) -> None:
    state = core.state
    wanted = state.reply_automatically
    core.go(Trigger.TURN_ENDED if wanted else Trigger.TURN_DISMISSED)
    _close_turn(core, turn)
    core.do(TurnEnded(turn.number, turn.words, tuple(turn.images), turn.merged))
    core.history.extend_user(turn.number, turn.merged, turn.words, turn.images)
    state.answered_turn, state.answered_until = turn.number, turn.voice_until
    state.idle_prompts_said = 0
    if not wanted:
        speaking.cancel(core, "no reply wanted")
        core.do(TurnDismissed(turn.number, "no reply wanted", turn.words))
        return
    reply = state.reply
    if reply and not turn.images and reply.basis == normal_words(turn.words):
        speaking.release(core, reply)
    else:
        speaking.cancel(core, "superseded")
        speaking.begin(core, Reply(0, turn.number, basis=normal_words(turn.words)))
    if state.voice and state.automatic:  # the turn reached its bound in mid-voice: what follows continues it
        core.go(Trigger.SPEECH_STARTED)
        overlap.begin(core, state.now)


def _close_turn(core: Core, turn: Turn) -> None:
    core.state.turn = None
    core.disarm(Timer.ENDPOINT, Timer.FINAL, Timer.TURN, Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    core.do(CloseRecognition(turn.number))


def _dismiss(core: Core, reason: str) -> None:
    core.go(Trigger.TURN_DISMISSED)
    turn = core.state.turn
    if turn is None:
        return
    _close_turn(core, turn)
    speaking.cancel(core, reason)
    core.do(TurnDismissed(turn.number, reason, turn.words))
    if reason == "noise":
        core.state.images = turn.images
    if reason == "not recognised" and not core.state.closing:
        core.state.wishes.insert(0, Wish("apology", core.policy.reply.apology, in_history=False))


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
    state, turn = core.state, core.state.turn
    core.disarm(Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    if turn is None:
        return
    asked = reply is None or reply.text.rstrip().endswith(("?", "？"))
    if asked or state.now - turn.voice_since <= EARLY_ANSWER_S:
        turn.alarm = False
    floor_is_free(core)


def merge_unanswered(core: Core, reply: Reply) -> None:
    """`reply` was cut before a word of it was heard: the open turn continues the one that it was to answer."""
    state, turn, history = core.state, core.state.turn, core.history
    last = history.items[-1] if history.items else None
    if turn is None or not reply.turn or turn.merged or not isinstance(last, UserItem) or last.turn != reply.turn:
        return
    gap_s = turn.since - state.answered_until
    if gap_s <= core.policy.endpointing.merge_s:
        turn.merged = reply.turn
        turn.prefix = f"{last.text} {turn.prefix}".strip()
        remember_pause(core, gap_s)


# --- settings that the caller changes on the way ------------------------------------------------------------------


def images_shown(core: Core, event: ImagesShown) -> None:
    """Images for the open turn, or for the next one."""
    state = core.state
    if state.turn and not state.turn.alarm:
        state.turn.images = [*state.turn.images, *event.images][-IMAGES_MAX:]
    else:
        state.images = [*state.images, *event.images][-IMAGES_MAX:]


def pack_changed(core: Core, event: PackChanged) -> None:
    """Another pack, from the next turn on."""
    core.state.next_pack = (event.name, event.system)


def endpointing_changed(core: Core, event: EndpointingChanged) -> None:
    """Turns end by silence or by commit from now on; an open turn keeps the way it was opened."""
    core.state.automatic = event.automatic
    core.state.reply_automatically = event.reply_automatically
    if not event.automatic and core.state.turn:
        core.state.turn.by_hand = True
        core.disarm(Timer.ENDPOINT)
