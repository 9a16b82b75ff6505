"""The user's turn: opened, recognised, counted out, ended or dismissed. What it does to the agent's reply, and the
other way round, is `overlap`'s and `floor`'s.
"""

from duologue.core import replies, waiting
from duologue.core.actions import CloseRecognition, FinaliseRecognition, OpenRecognition, TurnDismissed, TurnEnded
from duologue.core.barge_in import Verdict, judge_words
from duologue.core.endpointing import PAUSE_S_MIN, PAUSES_KEPT, Completeness, required_silence_s
from duologue.core.events import CallerChanged, FinalTranscript, KeyPressed, PartialTranscript, PersonaChanged
from duologue.core.history import UserItem
from duologue.core.judging import SURE, how_complete, sound
from duologue.core.machines import TurnState, TurnStep
from duologue.core.state import Core, QueuedReply, Reply, Timer, Turn, joined
from duologue.core.words import normal_form, split_words

# So many words of a partial are hardly all wrong. Before that only settled ones count: a hold is silent, it can wait.
UNSETTLED_WORDS_MIN = 3
IMAGES_MAX = 8  # waiting to go with a turn; older ones give way


def normal_words(text: str) -> str:
    """`text` without case, punctuation and double spaces: what decides whether a speculative reply still fits."""
    return " ".join(filter(None, map(normal_form, split_words(text))))


def open_by_hand(turn: Turn | None) -> bool:
    """Whether the hand holds `turn` open."""
    return turn is not None and turn.by_hand and turn.state is not TurnState.OVER


def open_turn(core: Core, since: float, *, by_hand: bool = False) -> Turn:
    """A new turn, recognised from `since` on."""
    state = core.state
    core.turn_to(TurnStep.OPEN if by_hand else TurnStep.VOICE)
    state.turns += 1
    state.turn = turn = Turn(state.turns, since, by_hand=by_hand, voice_since=since, voice_until=since)
    bound(core, turn)
    core.do(OpenRecognition(turn.number, since))
    return turn


def bound(core: Core, turn: Turn) -> None:
    """No turn is longer than the policy allows."""
    core.arm(Timer.TURN, max(core.state.now, turn.since + core.policy.endpointing.turn_s_max))


def change_persona(core: Core) -> None:
    """A persona that was changed speaks from the next turn or reply on: never in the middle of one."""
    if core.state.next_persona:
        core.state.persona, core.history.system = core.state.next_persona
        core.state.next_persona = None


def caller_name(core: Core) -> str:
    """Who of several users speaks, or empty."""
    identity, name = core.state.caller
    return name or identity


def finalise(core: Core, turn: Turn) -> None:
    """Ask the recogniser for its last word on the turn so far."""
    turn.mark += 1
    if turn.failed:  # nobody will answer
        turn.final_mark = turn.mark
    else:
        core.do(FinaliseRecognition(turn.number, turn.mark))


def remember_pause(core: Core, pause_s: float) -> None:
    """The user paused so long and went on: the next wait is stretched by it."""
    if pause_s >= PAUSE_S_MIN:
        core.state.pauses = [*core.state.pauses, pause_s][-PAUSES_KEPT:]


def numbered(core: Core, number: int) -> Turn | None:
    """The open turn, if that is its number; results of any other are late and dropped."""
    turn = core.state.turn
    return turn if turn is not None and turn.number == number else None


def settled_words(event: PartialTranscript) -> str:
    """The stable words of a partial; all of them once there are several, for recognisers that settle nothing."""
    words = split_words(event.text)
    return event.text if len(words) >= UNSETTLED_WORDS_MIN else " ".join(words[: event.stable])


def sure_words(core: Core, event: FinalTranscript) -> str:
    """The words of a final that the recogniser itself believes in; all of them where it does not say."""
    least = core.policy.barge_in.word_probability_min
    if all(word.probability is None or word.probability >= least for word in event.words):
        return event.text
    return " ".join(word.text for word in event.words if word.probability is None or word.probability >= least)


def drop_stale_speculation(core: Core) -> None:
    """The words have changed: a reply that was begun to others answers nobody."""
    reply, turn = core.state.reply, core.state.turn
    if reply and turn and not reply.released and reply.basis != normal_words(turn.words):
        replies.cancel(core, "continued")


def speculate(core: Core) -> None:
    """Begin the reply before the turn is known to be over, if the words are there and sound as if they could be all."""
    state, turn, policy = core.state, core.turn, core.policy.reply
    if turn.final_mark < turn.mark or state.cutting or not turn.words:
        return
    drop_stale_speculation(core)
    if state.reply or state.cutting or turn.unjudged or turn.failed or turn.speculations >= policy.speculations_max:
        return
    wanted = policy.speculate and core.automatic and core.policy.reply.automatic and turn.state is not TurnState.OVER
    if wanted and how_complete(turn)[0] is not Completeness.INCOMPLETE:
        turn.speculations += 1
        replies.begin(core, Reply(0, turn.number, basis=normal_words(turn.words), released=False))


def arm_endpoint(core: Core) -> None:
    """Count the silence from the last voiced sample; how much is needed depends on the words."""
    state, turn = core.state, core.turn
    if turn.state is TurnState.OVER or turn.by_hand:
        return
    how, turn.decided_by = how_complete(turn)
    silence_s = required_silence_s(core.policy.endpointing, how, state.pauses)
    core.arm(Timer.ENDPOINT, max(state.now, turn.voice_until + silence_s))


def reason_to_dismiss(core: Core, turn: Turn) -> str:
    """Why a turn that is over gets no answer; empty if it does."""
    shown = turn.by_hand and core.state.images  # a picture alone is a turn if the hand says so
    if not turn.words and not shown:
        return "not recognised" if turn.failed else "noise"
    doubted = turn.final_mark == turn.heard_mark and turn.text and not turn.evidence
    if doubted and not turn.prefix and not turn.by_hand and turn.voiced_s < core.policy.barge_in.voice_s:
        return "noise"  # a short sound, made into words that the recogniser itself does not believe
    echo = sound(turn).echo
    if turn.unjudged and echo is not None and echo >= SURE:
        return "echo"
    if turn.unjudged and judge_words(turn.words, core.policy.barge_in) is Verdict.BACKCHANNEL:
        return "backchannel"
    return ""


def end(core: Core, turn: Turn) -> None:
    """The turn becomes history, and is answered."""
    state = core.state
    wanted = core.policy.reply.automatic
    close_turn(core, turn)
    images, state.images = tuple(state.images), []
    author = caller_name(core)
    core.do(TurnEnded(turn.number, turn.words, images, turn.merged, author, turn.decided_by))
    item = UserItem(turn.number, turn.words, images, turn.text, author)
    core.shifted(core.history.extend_user(item, turn.merged))
    answering(core, turn.number, turn.voice_until)
    reply, basis = state.reply, normal_words(turn.words)
    if not wanted:
        replies.cancel(core, "no reply wanted")
        core.do(TurnDismissed(turn.number, "no reply wanted", turn.words))
    elif reply and reply.basis == basis:
        replies.release(core, reply)
    else:
        replies.cancel(core, "superseded")
        replies.begin(core, Reply(0, turn.number, basis=basis))


def close_turn(core: Core, turn: Turn) -> None:
    """No turn is open any more."""
    core.turn_to(TurnStep.CLOSE)
    core.state.turn = None
    core.disarm(Timer.ENDPOINT, Timer.FINAL, Timer.TURN, Timer.HOLD, Timer.VOICE, Timer.VERDICT)
    core.do(CloseRecognition(turn.number))


def dismiss(core: Core, reason: str) -> None:
    """The turn had the floor and comes to nothing."""
    turn = core.turn
    close_turn(core, turn)
    replies.cancel(core, reason)
    core.do(TurnDismissed(turn.number, reason, turn.words))
    if reason == "not recognised":
        waiting.apologise(core)
    elif (owed := turn.owed or turn.merged) and reason != "closing":  # it silenced an answer for nothing
        core.state.queue.insert(0, QueuedReply("reply", turn=owed))


def dismiss_parked(core: Core, reason: str) -> None:
    """Give up a turn that began over the agent and was not judged in time."""
    turn = core.turn
    close_turn(core, turn)
    core.do(TurnDismissed(turn.number, reason, turn.words))


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


def show(core: Core, images: tuple[str, ...]) -> None:
    """Keep `images` until a turn ends that they can go with."""
    if images:
        core.state.images = [*core.state.images, *images][-IMAGES_MAX:]
        reply = core.state.reply
        if reply and not reply.released:
            replies.cancel(core, "continued")


def persona_changed(core: Core, event: PersonaChanged) -> None:
    """Another persona, from the next turn or reply on; it begins with its greeting."""
    state = core.state
    state.next_persona = (event.name, event.instructions)
    state.queue = [queued for queued in state.queue if queued.kind != "greeting"]
    if event.greeting and not state.closing:
        state.queue.insert(0, QueuedReply("greeting", event.greeting))


def caller_changed(core: Core, event: CallerChanged) -> None:
    """Turns are somebody else's from here on."""
    core.state.caller = (event.identity, event.name)


def key_pressed(core: Core, event: KeyPressed) -> None:
    """Somebody is there. What the key means is the program's business."""
    core.state.idle_prompts_said = 0
    core.disarm(Timer.IDLE)


def answering(core: Core, turn: int, until: float) -> None:
    """Turn `turn`, whose voice ended at `until`, is the one to be answered now.

    Apologies for earlier ones are late, and so is a greeting.
    """
    state = core.state
    state.answered_until = until
    state.idle_prompts_said = 0
    state.queue = [queued for queued in state.queue if queued.kind not in ("apology", "greeting")]


def end_typed(core: Core, wanted: QueuedReply) -> int:
    """A typed turn becomes history; its number."""
    state = core.state
    state.turns += 1
    show(core, wanted.images)
    images, state.images = tuple(state.images), []
    answering(core, state.turns, state.now)
    author = wanted.author or caller_name(core)
    core.history.add_user(state.turns, wanted.text, images, author=author)
    core.do(TurnEnded(state.turns, wanted.text, images, author=author))
    return state.turns
