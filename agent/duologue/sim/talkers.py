"""The callers: what they say, when they begin, how they pause, and what they do while the agent talks.

Every draw comes from one `random.Random`, so a seed is a caller. The times are fitted to what is known of people:
they answer after 190 ms in the median, and often before the other has ended (Heldner & Edlund 2010: two in five
transitions overlap); pauses inside a turn have a median of 520 ms and 24 % of them exceed 800 ms (DESIGN, facts
measured beforehand).
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from duologue.core.words import is_cjk, split_words

PAUSE_MEDIAN_S: Final = 0.52
PAUSE_LONG_S: Final = 0.8
PAUSE_LONG_SHARE: Final = 0.24
# Log-normal: the median gives mu; that 24 % lie beyond 800 ms gives sigma (0.61).
PAUSE_MU: Final = math.log(PAUSE_MEDIAN_S)
PAUSE_SIGMA: Final = (math.log(PAUSE_LONG_S) - PAUSE_MU) / NormalDist().inv_cdf(1 - PAUSE_LONG_SHARE)
PAUSE_S_MIN: Final = 0.15  # shorter ones are articulation: no pause

GAP_MEDIAN_S: Final = 0.19
# A log-normal moved to the left, so that it has the median, begins 0.4 s before the other's end, and a long right tail.
GAP_EARLIEST_S: Final = -0.4
GAP_MU: Final = math.log(GAP_MEDIAN_S - GAP_EARLIEST_S)
GAP_SIGMA: Final = 0.55

WORDS_A_SECOND: Final = 3.3  # English, about 200 a minute (Yuan et al. 2006)
CJK_A_SECOND: Final = 4.5

SENTENCES: Final = (
    "what time does the museum open tomorrow",
    "could you tell me how the weather is in Lisbon",
    "I was thinking about going to the sea next week",
    "well I'd like to know um whether there is a train before nine",
    "and what about the one that leaves from the other station",
    "my number is four seven one nine three two five",
    "tell me a story about a lighthouse keeper and his dog please",
    "yes",
    "no not really",
    "that's right",
    "I think so because it was cheaper last year",
    "the thing is that my sister wants to come along as well",
    "can you book a table for four people on Friday evening",
    "how do you say good morning in Portuguese",
    "it depends on the price and on how long it takes",
    "please repeat that",
    "明天早上几点开门",
    "我想知道从北京到上海的火车多少钱",
    "然后呢",
    "帮我查一下今天的天气 谢谢",
)
BACKCHANNELS: Final = ("mm-hm", "yeah", "right", "uh-huh", "okay", "I see", "嗯", "对对")
STOPS: Final = ("stop", "wait", "hold on please", "no", "等一下")
INTERRUPTIONS: Final = (
    "what about Sunday instead",
    "can you say that in Spanish",
    "I meant the other one",
    "how much does it cost",
    "actually I have another question about the ticket",
    "那周末呢",
)
HELLOS: Final = ("hello", "are you still there", "喂")


class Sound(StrEnum):
    """What comes out of a caller's mouth."""

    SPEECH = "speech"
    BACKCHANNEL = "backchannel"
    STOP = "stop"
    INTERRUPTION = "interruption"
    COUGH = "cough"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as the caller really says it. Times are seconds, from the beginning of the utterance or of the session."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that a caller says in one go. `bursts`: voiced stretches (start, end), seconds from its beginning."""

    sound: Sound
    words: tuple[SpokenWord, ...]
    bursts: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """From the first voiced moment to the last."""
        return self.bursts[-1][1]

    @property
    def text(self) -> str:
        """What is said, as one would write it without punctuation."""
        return join(tuple(word.text for word in self.words))


class Reaction(StrEnum):
    """What a caller does while the agent talks."""

    LISTEN = "listen"
    BACKCHANNEL = "backchannel"
    COUGH = "cough"
    NOISE = "noise"
    INTERRUPT = "interrupt"
    STOP = "stop"
    PRESS_STOP = "press stop"
    TYPE = "type"
    PRESS_TO_TALK = "press to talk"


REACTIONS: Final = {
    Reaction.LISTEN: 46,
    Reaction.BACKCHANNEL: 17,
    Reaction.COUGH: 8,
    Reaction.NOISE: 3,
    Reaction.INTERRUPT: 15,
    Reaction.STOP: 4,
    Reaction.PRESS_STOP: 2,
    Reaction.TYPE: 3,
    Reaction.PRESS_TO_TALK: 2,
}


def join(words: tuple[str, ...]) -> str:
    """Words as a recogniser writes them: no space between CJK characters."""
    if all(map(str.isascii, words)):
        return " ".join(words)
    text = ""
    for word in words:
        glue = not text or (is_cjk(text[-1]) and is_cjk(word[0]))
        text += word if glue else f" {word}"
    return text


class Talker:
    """One caller's way of talking. `pace`: how much slower or faster than the median person they pause and answer."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.pause_share = rng.uniform(0.05, 0.3)  # of the borders between words

    def gap_s(self) -> float:
        """From the other's last word to one's own first; negative where one begins before the other has ended."""
        return GAP_EARLIEST_S + self._rng.lognormvariate(GAP_MU, GAP_SIGMA)

    def pause_s(self) -> float:
        """A silence inside a turn."""
        return max(PAUSE_S_MIN, self._rng.lognormvariate(PAUSE_MU, PAUSE_SIGMA))

    def reaction(self) -> Reaction:
        """What to do while the agent talks."""
        return self._rng.choices(tuple(REACTIONS), weights=tuple(REACTIONS.values()))[0]

    def turn(self) -> Utterance:
        """A turn of one or two sentences, paused in as people do."""
        count = 1 if self._rng.random() < 0.75 else 2
        return self.utterance(Sound.SPEECH, " ".join(self._rng.choice(SENTENCES) for _ in range(count)))

    def monologue(self, seconds: float) -> Utterance:
        """A turn of at least `seconds`, with short pauses only."""
        words = [word for _ in range(int(seconds * 0.5) + 1) for word in split_words(self._rng.choice(SENTENCES))]
        return self._spoken(Sound.SPEECH, words, pause_share=0.02)

    def backchannel(self) -> Utterance:
        """A listener's noise."""
        return self._spoken(Sound.BACKCHANNEL, split_words(self._rng.choice(BACKCHANNELS)), pause_share=0.0)

    def stop(self) -> Utterance:
        """Words that ask for silence."""
        return self._spoken(Sound.STOP, split_words(self._rng.choice(STOPS)), pause_share=0.0)

    def interruption(self) -> Utterance:
        """A new question in the middle of the agent's words."""
        return self._spoken(Sound.INTERRUPTION, split_words(self._rng.choice(INTERRUPTIONS)), pause_share=0.05)

    def hello(self) -> Utterance:
        """Asking after an agent that says nothing."""
        return self._spoken(Sound.SPEECH, split_words(self._rng.choice(HELLOS)), pause_share=0.0)

    def cough(self) -> Utterance:
        """Voice without words, about a third of a second."""
        return Utterance(Sound.COUGH, (), ((0.0, self._rng.uniform(0.15, 0.5)),))

    def noise(self) -> Utterance:
        """A door, a dog, a drill: bursts without words."""
        bursts, at = [], 0.0
        for _ in range(self._rng.randint(1, 4)):
            end = at + self._rng.uniform(0.2, 1.8)
            bursts.append((at, end))
            at = end + self.pause_s()
        return Utterance(Sound.NOISE, (), tuple(bursts))

    def utterance(self, sound: Sound, text: str) -> Utterance:
        """`text` as this caller says it, with this caller's pauses."""
        return self._spoken(sound, split_words(text), pause_share=self.pause_share)

    def _spoken(self, sound: Sound, words: list[str], *, pause_share: float) -> Utterance:
        spoken, bursts, at, begun = [], [], 0.0, 0.0
        for index, word in enumerate(words):
            if index and self._rng.random() < pause_share:
                bursts.append((begun, at))
                at += self.pause_s()
                begun = at
            rate = CJK_A_SECOND if is_cjk(word[0]) else WORDS_A_SECOND
            length = self._rng.uniform(0.6, 1.4) / rate
            spoken.append(SpokenWord(word, at, at + length))
            at += length
        bursts.append((begun, at))
        return Utterance(sound, tuple(spoken), tuple(bursts))
