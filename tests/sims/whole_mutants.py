"""Mutants of the whole runtime, each caught by the checker of its rule."""

import asyncio

from duologue.core import actions as act
from duologue.runtime import speech_input
from duologue.runtime.playout import local
from duologue.runtime.playout.base import Playout
from duologue.runtime.playout.local import LocalPlayout
from duologue.runtime.playout.remote import RemotePlayout
from duologue.runtime.playout.track import Chunk, Track
from duologue.runtime.reply_player import ReplyPlayer
from duologue.runtime.session import Session
from duologue.runtime.trace import Trace
from sims.mutants import breaks


@breaks("silent after the cut", "whole")
def a_cut_takes_nothing_back(patch):
    for kind in (LocalPlayout, RemotePlayout):
        patch.setattr(kind, "_cut_short", lambda self, track: self.count())


@breaks("speculation is unheard", "whole")
def a_speculative_reply_is_played(patch):
    def mutant(self, action):
        begin(self, action)
        if action.speculative:
            self._play(self._runs[action.reply])
            self._playout._told_heard = True  # without a word to the core, which would refuse it

    begin = ReplyPlayer.begin
    patch.setattr(ReplyPlayer, "begin", mutant)


@breaks("one live reply", "whole")
def what_was_cut_comes_back(patch):
    cut, start = Playout.cut, Playout.start

    def keeps(self):
        self._kept = (self._track.reply, bytes(self._track._pcm[:6400])) if self._track else (0, b"")
        return cut(self)

    def plays_it_later(self, track):
        def again():
            for at in range(0, len(kept) - track._frame_bytes + 1, track._frame_bytes):
                self._player.play(kept[at : at + track._frame_bytes], reply)

        (reply, kept), self._kept = getattr(self, "_kept", (0, b"")), (0, b"")
        start(self, track)
        self._loop.call_later(2.0, again)

    patch.setattr(Playout, "cut", keeps)
    patch.setattr(Playout, "start", plays_it_later)


@breaks("history is what was heard", "whole")
def all_of_a_chunk_counts_as_heard(patch):
    patch.setattr(Chunk, "heard", lambda self, played: self.text)


@breaks("words are told as they are heard", "whole")
def a_word_that_a_hold_repeats_is_told_again(patch):
    def mutant(self, count):
        rewind(self, count)
        self.told = self.heard(self.sent)

    rewind = Track.rewind
    patch.setattr(Track, "rewind", mutant)


@breaks("streams are closed", "whole")
def recognitions_are_left_open(patch):
    async def mutant(self):
        self._stream = stream = self._asr.open(self._asr_context())
        for frame in list(self._frames):
            stream.push_frame(frame)
        async for hypothesis in stream:
            self._tell(hypothesis)

    patch.setattr(speech_input.Recognition, "_listen", mutant)


@breaks("traces replay", "whole")
def the_trace_leaves_something_out(patch):
    actions = Trace.actions
    patch.setattr(
        Trace,
        "actions",
        lambda self, at, told: actions(self, at, [a for a in told if not isinstance(a, act.CloseRecognition)]),
    )


@breaks("nothing raises", "whole")
def asking_for_a_final_fails(patch):
    def mutant(self, turn, mark):
        raise KeyError(turn)

    patch.setattr(speech_input.SpeechInput, "finalise", mutant)


@breaks("no orphan task", "whole")
def a_task_is_left_behind(patch):
    carries_out = Session._carry_out

    def mutant(self):
        def left(action):
            asyncio.get_running_loop().create_task(asyncio.sleep(3600.0))

        return {**carries_out(self), act.TurnEnded: left}

    patch.setattr(Session, "_carry_out", mutant)


@breaks("queues are bounded", "whole")
def half_a_second_is_sent_ahead(patch):
    patch.setattr(local, "LEAD_FRAMES", 25)


@breaks("ends", "whole")
def a_closed_session_lingers_for_minutes(patch):
    carries_out = Session._carry_out

    def mutant(self):
        closes = carries_out(self)[act.CloseSession]

        def late(action):
            asyncio.get_running_loop().call_later(400.0, closes, action)

        return {**carries_out(self), act.CloseSession: late}

    patch.setattr(Session, "_carry_out", mutant)
