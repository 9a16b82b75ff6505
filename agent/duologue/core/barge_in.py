"""When talking over the agent is an interruption, a backchannel or nothing at all.

The agent is held at the onset of any voice; words, as the recogniser brings them, decide whether it goes on. A
listener's "mm-hm", "right", 对对 asks for nothing; "stop" asks for silence however short it is; anything else is a turn
of its own. This module must never know what time it is: whoever asks says how long the voice was, and when.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from duologue.core.policy import BargeInPolicy
from duologue.core.words import normal_form, split_words

VERDICT_S_MAX: Final = 1.0  # an agent that is held for longer seems to have hung up
VERDICT_SHARE: Final = 0.5  # of the voice: a recogniser needs longer for longer speech

# Hesitation: neither asks for anything nor is listening, so no policy needs to list it.
FILLERS: Final = ("um", "umm", "uhm", "uh", "uhh", "er", "err", "erm", "eh", "呃", "额", "唔", "那个")


class Verdict(StrEnum):
    """What the words heard over the agent amount to so far."""

    INTERRUPTION = "interruption"
    BACKCHANNEL = "backchannel"  # seen, and asks for nothing so far
    NOTHING = "nothing"  # no words


# Recognisers' notes about sounds are no words: [BLANK_AUDIO], (coughs), *sneezes*, <sil>, ++NOISE++.
_SOUND_NOTE: Final = re.compile(r"\[[^\]]*\]|\([^)]*\)|（[^）]*）|【[^】]*】|\*[^*]*\*|<[^>]*>|\+\+[^+]*\+\+")
_DRAWN_OUT: Final = re.compile(r"(.)\1\1")  # "mmmm", "yeahhh"
_REPEATED: Final = re.compile(r"(.)\1+")

# Traditional characters of the tables' phrases: recognisers mix both scripts, and a phrase is meant in either.
_SIMPLIFIED: Final = str.maketrans(
    "對額個聽說這來沒錯嗎麼後還樣話請問別講謝會為閉過們開關讓聲見當實應該繼續誰題暫",
    "对额个听说这来没错吗么后还样话请问别讲谢会为闭过们开关让声见当实应该继续谁题暂",
)

_Tokens = tuple[str, ...]


def _squeezed(token: str) -> str:
    return _REPEATED.sub(r"\1", token)


def _tokens(text: str) -> list[str]:
    plain = _SOUND_NOTE.sub(" ", text).translate(_SIMPLIFIED)
    forms = (normal_form(word) for word in split_words(plain))
    return [_squeezed(form) if _DRAWN_OUT.search(form) else form for form in forms if form]


def _spellings(phrase: str) -> set[_Tokens]:
    """How `phrase` may come out of a recogniser: a hyphen written, left out or a space; sounds drawn out."""
    spellings = {tuple(_tokens(written)) for written in (phrase, phrase.replace("-", " "))} - {()}
    return spellings | {tuple(map(_squeezed, tokens)) for tokens in spellings if tokens[0].isascii()}


@dataclass(frozen=True, slots=True)
class _Phrases:
    """A policy's phrases, to be matched from a given word on.

    `by_first`: the phrases that begin with a word, longest first, with whether they stop the agent.
    `beginnings`: words that may yet become a backchannel of several ("i", "got", 原来).
    """

    by_first: dict[str, tuple[tuple[_Tokens, bool], ...]]
    beginnings: frozenset[_Tokens]

    def longest(self, tokens: Sequence[str], position: int) -> tuple[int, bool]:
        """Length of the longest phrase at `position` and whether it stops the agent; 0 where there is none."""
        for phrase, stops in self.by_first.get(tokens[position], ()):
            if tuple(tokens[position : position + len(phrase)]) == phrase:
                return len(phrase), stops
        return 0, False


@lru_cache(maxsize=64)  # a policy a pack; a process serves few packs
def _phrases(backchannels: tuple[str, ...], stop_words: tuple[str, ...]) -> _Phrases:
    listening = {tokens for phrase in (*FILLERS, *backchannels) for tokens in _spellings(phrase)}
    stopping = {tokens for phrase in stop_words for tokens in _spellings(phrase)}
    # A phrase that stands in both tables stops: whoever says "stop" must not be talked over.
    stops = dict.fromkeys(listening, False) | dict.fromkeys(stopping, True)
    by_first: dict[str, list[tuple[_Tokens, bool]]] = {}
    for tokens in sorted(stops, key=lambda tokens: (-len(tokens), tokens)):
        by_first.setdefault(tokens[0], []).append((tokens, stops[tokens]))
    beginnings = frozenset(tokens[:length] for tokens in listening for length in range(1, len(tokens)))
    return _Phrases({first: tuple(found) for first, found in by_first.items()}, beginnings)


def judge_words(text: str, policy: BargeInPolicy) -> Verdict:
    """What `text`, a partial or final transcript of the voice over the agent, amounts to.

    No words (sounds that the recogniser notes down are none): nothing. A stop phrase at the start, backchannels and
    fillers before it aside: an interruption. Otherwise `policy.words_min` words that belong to no backchannel make an
    interruption (a CJK character counts as a word); fewer, and words at the end that may still become a backchannel
    ("i" before "see"), ask for nothing so far. The longest phrase wins at each place.
    """
    tokens = _tokens(text)
    if not tokens:
        return Verdict.NOTHING
    phrases = _phrases(policy.backchannels, policy.stop_words)
    position = others = 0
    while position < len(tokens):
        length, stops = phrases.longest(tokens, position)
        if stops and others == 0:
            return Verdict.INTERRUPTION
        if length and not stops:
            position += length
            continue
        if tuple(tokens[position:]) in phrases.beginnings:
            break
        others += 1
        if others >= policy.words_min:
            return Verdict.INTERRUPTION
        position += 1
    return Verdict.BACKCHANNEL


def asks_to_stop(text: str, policy: BargeInPolicy) -> bool:
    """Whether `text` begins with a phrase that stops the agent, backchannels and fillers before it aside."""
    tokens, phrases, position = _tokens(text), _phrases(policy.backchannels, policy.stop_words), 0
    while position < len(tokens):
        length, stops = phrases.longest(tokens, position)
        if stops or not length:
            return stops
        position += length
    return False


def verdict_wait_s(policy: BargeInPolicy, voice_s: float) -> float:
    """Seconds to wait for the recogniser after a voice of `voice_s` seconds stopped, before the agent goes on.

    `policy.verdict_s`, or half the voice's length where that is more, up to a second.
    """
    return max(policy.verdict_s, min(VERDICT_SHARE * voice_s, VERDICT_S_MAX))


def is_wary(policy: BargeInPolicy, alarms: Sequence[float], now: float) -> bool:
    """Whether at least `policy.alarms_max` false alarms (session seconds) lie within the window that ends `now`."""
    return sum(now - policy.alarm_window_s <= alarm <= now for alarm in alarms) >= policy.alarms_max
