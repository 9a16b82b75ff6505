"""The checkers bite: each rule is broken on purpose, one mutant a rule, and the checker of that name catches it.

A mutant is the engine with one thing done wrong, as a slip in it would. Whether other checkers catch it too is no
matter; the one whose rule it breaks must, within so many seeds.
"""

from dataclasses import replace
from itertools import count

import pytest

from duologue.core import actions as act
from duologue.core import (
    agenda,
    conversation,
    history,
    judging,
    migration,
    overlap,
    replies,
    rules,
    tools,
    turns,
    waiting,
)
from duologue.core import events as ev
from duologue.core.conversation import HANDLERS, TIMERS, Conversation
from duologue.core.endpointing import Completeness
from duologue.core.history import History, OutputItem
from duologue.core.messages import Message
from duologue.core.state import Timer
from duologue.errors import ProtocolError
from duologue.sim import checkers, core_sim, whole_sim
from duologue.sim.checkers import CHECKERS
from duologue.sim.whole_checkers import WHOLE_CHECKERS
from sims import whole_mutants  # noqa: F401  (registers its own)
from sims.mutants import MUTANTS, around, breaks

SEEDS_MAX = {"core": 400, "whole": 40}


# --- the core -----------------------------------------------------------------------------------------------------


def forget_to_cancel(patch, when):
    def made(cancel):
        def mutant(core, reason):
            reply = core.state.reply
            cancel(core, reason)
            if reply is not None and when(reply):
                core.actions[:] = [action for action in core.actions if not isinstance(action, act.CancelReply)]

        return mutant

    around(patch, replies, "cancel", made)


@breaks("silent after the cut")
def a_cut_reply_is_not_silenced(patch):
    forget_to_cancel(patch, lambda reply: reply.released)


@breaks("one live reply")
def a_stale_speculation_is_not_cancelled(patch):
    forget_to_cancel(patch, lambda reply: not reply.released)


@breaks("speculation is unheard")
def a_speculative_reply_is_released_at_once(patch):
    def made(begin):
        def mutant(core, reply):
            begin(core, reply)
            if not reply.released:
                core.do(act.ReleaseReply(reply.number))

        return mutant

    around(patch, replies, "begin", made)


@breaks("speculation runs no tool")
def a_speculative_reply_runs_its_tools(patch):
    def mutant(core, event):
        requested(core, event)
        reply = core.state.reply
        if reply and not reply.released and reply.calls and reply.calls[-1].deadline is None:
            tools._start(core, reply, reply.calls[-1])

    requested = HANDLERS[ev.ToolRequested]
    patch.setitem(HANDLERS, ev.ToolRequested, mutant)


@breaks("history is what was heard")
def the_truncation_is_forgotten(patch):
    around(patch, rules, "confirm_cut", lambda confirm: lambda core, reply, heard: confirm(core, reply, reply.text))


@breaks("tools are answered")
def the_tools_of_a_cut_reply_run_on(patch):
    patch.setattr(tools, "abandon", lambda core, reply, reason: reply.calls.clear())


@breaks("remote tools end the reply")
def a_reply_goes_on_by_itself_after_tools_of_the_caller_s_side(patch):
    def mutant(core, reply):
        before = len(core.actions)
        go_on(core, reply)
        for index, action in enumerate(core.actions[before:], before):
            if isinstance(action, act.FinishReply):
                core.actions[index] = act.ContinueReply(action.reply)

    go_on = tools.continue_when_answered
    patch.setattr(tools, "continue_when_answered", mutant)


@breaks("remote tools end the reply")
def nobody_ends_a_reply_with_tools_of_the_caller_s_side(patch):
    def mutant(core, reply):
        go_on(core, reply)
        core.actions[:] = [action for action in core.actions if not isinstance(action, act.FinishReply)]

    go_on = tools.continue_when_answered
    patch.setattr(tools, "continue_when_answered", mutant)


@breaks("remote tools end the reply")
def a_late_result_is_lost(patch):
    around(patch, History, "awaits", lambda awaits: lambda self, call_id: False)


@breaks("each reply is over once")
def a_cut_reply_is_never_over(patch):
    def made(confirm):
        def mutant(core, reply, heard, **how):
            before = len(core.actions)
            confirm(core, reply, heard, **how)
            core.actions[before:] = [done for done in core.actions[before:] if not isinstance(done, act.ReplyOver)]

        return mutant

    around(patch, rules, "confirm_cut", made)


@breaks("each reply is over once")
def a_reply_is_over_when_it_is_cut_and_again_when_that_is_confirmed(patch):
    def made(cancel):
        def mutant(core, reason):
            reply = core.state.reply
            cancel(core, reason)
            if reply is not None and reply.released:
                core.do(act.ReplyOver(reply.number, reply.tag, reply.heard_text, reason))

        return mutant

    around(patch, replies, "cancel", made)


@breaks("each reply is over once")
def a_tag_is_lost(patch):
    around(patch, waiting, "say", lambda say: lambda core, event: say(core, replace(event, tag="")))
    patch.setitem(HANDLERS, ev.ReplyRequested, lambda core, event: reply_wanted(core, replace(event, tag="")))
    reply_wanted = waiting.reply_wanted


@breaks("items keep their addresses")
def an_item_is_put_one_place_too_far(patch):
    around(
        patch, History, "place_after", lambda place: lambda self, after: min(place(self, after) + 1, len(self.items))
    )


@breaks("items keep their addresses")
def an_id_is_given_twice(patch):
    def mutant(core, event):
        core.state.inserted = 0
        item_inserted(core, event)

    item_inserted = HANDLERS[ev.ItemInserted]
    patch.setattr(History, "insert", lambda self, item, after=None: self._put(item, self.place_after(after)) or 0)
    patch.setitem(HANDLERS, ev.ItemInserted, mutant)


@breaks("prompt prefix is stable")
def the_newest_item_comes_first(patch):
    around(patch, History, "_put", lambda put: lambda self, item, place=None: put(self, item, place or 0))


@breaks("prompts are well formed")
def a_call_stands_in_the_prompt_without_its_result(patch):
    def made(item_messages):
        return lambda items: [message for message in item_messages(items) if message.role != "tool"]

    around(patch, conversation, "item_messages", made)


@breaks("prompts are well formed")
def a_late_result_stands_where_it_came(patch):
    """Not behind its call."""

    def mutant(items):
        messages = [one for item in items for one in item_messages([item]) if not isinstance(item, OutputItem)]
        late = [Message("tool", item.output, call_id=item.call_id) for item in items if isinstance(item, OutputItem)]
        return [message for message in messages if message.role != "tool"] + late

    item_messages = history.item_messages
    patch.setattr(history, "item_messages", mutant)


@breaks("holds end")
def nobody_waits_for_the_verdict(patch):
    patch.setitem(TIMERS, Timer.VERDICT, lambda core: None)


@breaks("goes on from a word")
def a_reply_taken_over_goes_on_in_mid_word(patch):
    patch.setattr(migration, "unheard", lambda text, heard: text[len(heard) + 2 :])


@breaks("recognition is paired")
def the_recogniser_is_not_closed(patch):
    def made(close_turn):
        def mutant(core, turn):
            close_turn(core, turn)
            core.actions[:] = [action for action in core.actions if not isinstance(action, act.CloseRecognition)]

        return mutant

    around(patch, turns, "close_turn", made)


@breaks("turns are answered")
def a_turn_whose_answer_was_cut_unheard_is_forgotten(patch):
    patch.setattr(turns, "merge_unanswered", lambda core, reply: None)


@breaks("turns end")
def silence_ends_no_turn(patch):
    patch.setitem(TIMERS, Timer.ENDPOINT, lambda core: None)


@breaks("words are kept")
def a_final_loses_its_last_letters(patch):
    final = HANDLERS[ev.FinalTranscript]
    patch.setitem(HANDLERS, ev.FinalTranscript, lambda core, event: final(core, replace(event, text=event.text[:-3])))


@breaks("the invariant holds")
def a_timer_outlives_its_turn(patch):
    def mutant(core, turn):
        at = core.state.timers.get(Timer.TURN)
        close_turn(core, turn)
        if at is not None:
            core.arm(Timer.TURN, at)

    close_turn = turns.close_turn
    patch.setattr(turns, "close_turn", mutant)


@breaks("the invariant holds")
def a_turn_that_becomes_the_hand_s_still_waits_to_be_judged(patch):
    """Seed 4789."""

    def mutant(core, event):
        unjudged = bool(core.state.turn and core.state.turn.unjudged)
        changed(core, event)
        if core.state.turn:
            core.state.turn.unjudged = unjudged

    changed = HANDLERS[ev.PolicyChanged]
    patch.setitem(HANDLERS, ev.PolicyChanged, mutant)


@breaks("deadlines progress")
def advance_meets_one_deadline_only(patch):
    def mutant(self, until):
        deadline = self.deadline
        if deadline is not None and deadline <= until:
            self.core.state.now = max(self.core.state.now, deadline)
            self._meet(deadline)
            agenda.settle(self.core)

    patch.setattr(Conversation, "_meet_deadlines", mutant)


@breaks("queues are bounded")
def any_number_of_images_is_kept(patch):
    patch.setattr(turns, "IMAGES_MAX", 10_000)


@breaks("closed is over")
def timers_run_on_after_the_end(patch):
    def mutant(core):
        core.state.closed = True
        core.do(act.CloseSession(core.state.closing))

    patch.setattr(agenda, "_close", mutant)


@breaks("snapshots round trip")
def a_restored_session_forgets_how_it_paused(patch):
    def mutant(cls, policy, snapshot):
        restored = restore(policy, snapshot)
        restored.core.state.replies += 1
        return restored

    restore = Conversation.restore
    patch.setattr(Conversation, "restore", classmethod(mutant))


@breaks("replays the same")
def a_decision_hangs_on_something_outside(patch):
    calls = count()
    patch.setattr(judging, "completeness", lambda text, language: list(Completeness)[next(calls) % len(Completeness)])
    patch.setattr(checkers.ReplaysTheSame, "every", 1)


@breaks("only hands are refused")
def a_first_sound_is_refused(patch):
    def mutant(core, event):
        raise ProtocolError("not now")

    patch.setitem(HANDLERS, ev.ReplyHeard, mutant)


@breaks("a refusal changes nothing")
def a_refused_commit_leaves_a_mark(patch):
    def mutant(core, event):
        core.state.false_alarms.append(event.at)
        committed(core, event)

    committed = HANDLERS[ev.TurnCommitted]
    patch.setitem(HANDLERS, ev.TurnCommitted, mutant)


@breaks("late results are dropped")
def results_of_an_earlier_turn_are_taken(patch):
    patch.setattr(turns, "numbered", lambda core, number: core.state.turn)


@breaks("ends")
def nobody_hangs_up(patch):
    patch.setitem(HANDLERS, ev.CloseRequested, lambda core, event: None)
    patch.setitem(TIMERS, Timer.IDLE, lambda core: core.arm(Timer.IDLE, core.state.now + 1.0))
    patch.setitem(TIMERS, Timer.SESSION, lambda core: None)


@breaks("nothing raises")
def a_hold_divides_by_zero(patch):
    def mutant(core):
        raise ZeroDivisionError("a slip")

    patch.setattr(overlap, "hold", mutant)


# --- the proof ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.depth}: {mutant.rule}")
def test_a_broken_rule_is_caught_by_its_checker(mutant, monkeypatch):
    mutant.does_wrong(monkeypatch)
    simulate = {"core": core_sim.simulate, "whole": whole_sim.simulate}[mutant.depth]
    for seed in range(SEEDS_MAX[mutant.depth]):
        if mutant.rule in {violation.rule for violation in simulate(seed).violations}:
            return
    pytest.fail(f"{SEEDS_MAX[mutant.depth]} conversations and {mutant.rule!r} was not seen to be broken")


def test_each_rule_has_its_mutant():
    core = {checker.name for checker in CHECKERS}
    whole = {checker.name for checker in WHOLE_CHECKERS}
    assert {mutant.rule for mutant in MUTANTS if mutant.depth == "core"} == core
    assert {mutant.rule for mutant in MUTANTS if mutant.depth == "whole"} == whole
    assert all(checker.rule.endswith(".") for checker in (*CHECKERS, *WHOLE_CHECKERS))
