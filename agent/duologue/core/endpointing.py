"""How much silence ends a turn: decided from how its last sentence ends and from how this person pauses.

People answer each other after about 200 ms, yet pause inside their own turns for 520 ms in the median, and for more
than 800 ms in 24 % of the pauses. A fixed silence therefore either cuts people off or drags; how the sentence ends
tells most of the difference. This module must never know what time it is, nor which recogniser wrote the words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from duologue.core.policy import EndpointingPolicy
from duologue.core.words import is_cjk, normal_form, split_words

PAUSES_KEPT: Final = 12  # a person's pace changes within minutes: older pauses tell about another mood
PAUSE_S_MIN: Final = 0.2  # shorter ones are stop consonants and breath, no hesitation
PAUSES_NEEDED: Final = 3  # fewer are an anecdote
PAUSE_PERCENTILE: Final = 0.8


class Completeness(StrEnum):
    """Whether a sentence sounds finished."""

    COMPLETE = "complete"
    NEUTRAL = "neutral"
    INCOMPLETE = "incomplete"


# How far the person's own pauses (their 80th percentile) stretch the wait. Inside an unfinished sentence a pause as
# long as most of theirs must fit in, with a margin; a sentence that sounds finished seldom goes on after a long one.
STRETCH: Final = {Completeness.COMPLETE: 0.6, Completeness.NEUTRAL: 1.15, Completeness.INCOMPLETE: 1.15}


@dataclass(frozen=True, slots=True)
class _Endings:
    """How a language ends, and does not end, its sentences: tails of the text, in `normal_form`.

    `answers`: whole turns that are complete without punctuation. `closings`: tails that finish any turn.
    `licensed`: tails that may end a sentence although their last word, below, may not.
    `never`: cannot end a sentence, whatever the recogniser's punctuation says (it puts a full stop after each cut).
    `stranded`: can end a question at most. `unsure`: may end a question, and any other sentence or not, even before a
    full stop.
    """

    separator: str
    answers: frozenset[str]
    closings: tuple[str, ...]
    licensed: tuple[str, ...]
    never: tuple[str, ...]
    stranded: tuple[str, ...]
    unsure: tuple[str, ...]

    def key(self, words: Sequence[str]) -> str:
        """`words` as the tails are written: each after the separator, so that a tail matches whole words only."""
        return "".join(self.separator + form for form in map(normal_form, words) if form)


def _endings(separator: str, **tables: str) -> _Endings:
    """Tables written as text, entries divided by commas; their words by spaces."""
    rows = {
        name: tuple(
            "".join(separator + normal_form(word) for word in entry.split())
            for entry in table.split(",")
            if entry.strip()
        )
        for name, table in tables.items()
    }
    return _Endings(separator, frozenset(rows.pop("answers")), **rows)


_ENGLISH: Final = _endings(
    " ",
    answers="""yes, yeah, yep, yup, no, nope, nah, ok, okay, sure, right, exactly, correct, true, false, maybe, perhaps,
        probably, absolutely, definitely, certainly, of course, hello, hi, hey, hello there, good morning,
        good afternoon, good evening, welcome, sorry, pardon, excuse me, i see, i do, i don't, i am, i'm not, i did,
        i didn't, i can, i can't, i will, i won't, i don't know, i'm fine, i'm good, i'm sorry, not really, not yet,
        not now, not at all, no problem, no way, never, never mind, nothing, none, me too, stop, help, next, continue,
        go on, go ahead, repeat, that's all, that's it, that's right, why, why not, what, who, where, when, how, really,
        me, i agree, all right, alright, fine, great, cool, nice, perfect""",
    closings="""please, thank you, thanks, thank you very much, thank you so much, thanks a lot, goodbye, bye, bye bye,
        good night, see you, see you later, see you soon, see you tomorrow""",
    licensed="""think so, hope so, guess so, suppose so, believe so, say so, do so, even so, you from, come from,
        coming from, talking about, talk about, think about, what about, looking for, look for, waiting for, wait for,
        asked for, ask for, what for, is that for, is it for, made of, heard of, looks like, look like, sounds like,
        is it like, is that like, was it like, feel like, would like, can i, may i, should i, could i, must i, am i,
        do i, did i, do you know, did you know, as you know, what you know, what i mean, let you know, if you know""",
    never="""and, but, or, nor, because, coz, cuz, although, unless, if, whether, whereas, while, than, the, a, an, my,
        your, our, their, its, every, very, gonna, wanna, gotta, um, umm, uhm, uh, uhh, er, err, erm, hm, hmm, hmmm,
        mm, i, i'm, i'd, i'll, i've, you're, you'd, you'll, you've, he's, he'd, he'll, she's, she'd, she'll, it's, it'd,
        it'll, we're, we'd, we'll, we've, they're, they'd, they'll, they've, that's, that'll, there's, there're, here's,
        what's, who's, where's, how's, when's, let's, mr, mrs, ms, dr, prof, eg, ie,
        let me, let me see, let me think, the thing is, the problem is, the question is, the point is, what i mean is,
        i mean, you know, as well as, such as, in order, due, according, instead of, even though, even if, as if,
        so that, i think that""",
    stranded="""to, of, for, with, from, at, into, onto, about, as, without, between, against, during, until, till, per,
        toward, towards, among, despite, upon, via, like, which, whose, both, either, neither""",
    unsure="""in, on, by, over, under, after, before, since, so, then, also, is, are, was, were, am, be, just, well,
        maybe, actually, basically, wait, ah, oh, want, need, think, say, some, any, more, other, another, his, her""",
)
_CHINESE: Final = _endings(
    "",
    answers="""好, 好的, 好啊, 好呀, 好吧, 好了, 是, 是的, 是啊, 是吗, 对, 对的, 对啊, 对对, 对对对, 不, 不是, 不对,
        不要, 不用, 不用了, 不了, 不行, 不可以, 不会, 没有, 没事, 没问题, 没关系, 可以, 可以的, 行, 行啊, 能, 会, 有,
        要, 嗯嗯, 嗯好, 嗯好的, 你好, 您好, 喂, 知道, 知道了, 不知道, 我不知道, 明白, 明白了, 懂了, 当然, 当然可以,
        算了, 随便, 停, 继续, 我在, 什么, 为什么, 谁, 哪里, 怎么了, 真的, 真的吗, 早上好, 晚上好, 下午好""",
    closings="谢谢, 谢谢你, 谢谢您, 谢谢了, 多谢, 再见, 拜拜, 晚安, 吗, 吧, 好不好, 行不行, 可不可以, 对不对, 是不是",
    licensed="""要那个, 是那个, 买那个, 选那个, 用那个, 看那个, 就那个, 我在, 你在, 他在, 她在, 不在, 还在, 现在, 存在,
        实在, 这就是, 不就是, 我也是, 他也是, 她也是, 都是, 暖和, 随和, 缓和, 温和, 柔和, 总和, 不给, 没给, 参与,
        来不及, 普及, 埃及, 一把, 方向, 倾向, 天使, 大使, 余额, 金额, 名额, 总额, 数额, 可以, 成都,
        首都""",
    never="""嗯, 呃, 额, 唔, 那个, 因为, 所以, 然后, 但是, 可是, 不过, 而且, 或者, 或, 还有, 如果, 假如, 要是, 虽然,
        即使, 尽管, 的话, 跟, 和, 与, 及, 把, 被, 给, 在, 从, 向, 往, 让, 使, 对于, 关于, 由于, 根据, 按照, 为了, 除了,
        比如, 比如说, 例如, 譬如, 就是, 就是说, 也就是, 也就是说, 以及, 并且, 而, 于, 很, 非常, 十分, 最, 更, 不太,
        有点, 有一点, 这种, 那种, 那么, 我觉得, 我认为, 我想, 我想要, 我要, 我是, 你是, 他是, 她是, 这是, 那是,
        怎么说呢, 我的意思是, 问题是, 的时候, 不但, 不仅, 只要, 只有, 无论, 不管, 既然, 首先, 其次""",
    stranded="比, 为, 以, 将, 又, 再, 也, 更加, 每, 各",
    unsure="""的, 我, 你, 他, 她, 它, 是, 有, 要, 会, 能, 想, 说, 这个, 这, 那, 呢, 啊, 哦, 还是, 一个, 一种, 特别,
        比较, 到, 用, 只, 都, 还, 就, 才, 怎么说""",
)

_LANGUAGES: Final = {"en": _ENGLISH, "zh": _CHINESE, "cmn": _CHINESE, "yue": _CHINESE}
_QUESTION: Final = "?？؟"
_TERMINAL: Final = ".!。！｡।" + _QUESTION
_CONTINUING: Final = (",", "，", "、", ";", "；", ":", "：", "-", "–", "—", "―", "…", "..", "。。")
_CLOSERS: Final = "\"'”’»)]}）】」』*_ \t\r\n\u3000"


def completeness(text: str, language: str | None = None) -> Completeness:
    """How the last sentence of `text`, the transcript of a turn so far, ends.

    `language`: BCP 47 code, or None to go by the script. Words are looked at for English and Chinese; of any other
    language only the punctuation is read. A comma, dash or ellipsis, a filler, or a word that cannot end a sentence
    ("because", "my", 然后) makes it incomplete even before a full stop, as recognisers put one after every cut. Where
    a word may end a question or may be waiting for its object ("where are you going to"), waiting is preferred: being
    cut off is worse than a pause. Text without words is neutral.
    """
    ending = text.rstrip(_CLOSERS)
    words = split_words(ending)
    if not any(map(normal_form, words)):
        return Completeness.NEUTRAL
    if ending.endswith(_CONTINUING):
        return Completeness.INCOMPLETE
    by_punctuation = Completeness.COMPLETE if ending[-1] in _TERMINAL else Completeness.NEUTRAL
    endings = _endings_of(words, language)
    if endings is None:
        return by_punctuation
    return _by_words(endings, endings.key(words), by_punctuation, question=ending[-1] in _QUESTION)


def _by_words(endings: _Endings, key: str, by_punctuation: Completeness, *, question: bool) -> Completeness:
    if key in endings.answers or key.endswith(endings.closings):
        return Completeness.COMPLETE
    if key.endswith(endings.licensed):
        return by_punctuation
    if key.endswith(endings.never):
        return Completeness.INCOMPLETE
    if key.endswith(endings.stranded):
        return Completeness.NEUTRAL if question else Completeness.INCOMPLETE
    # Numbers are dictated in groups: after one, more digits may come.
    if not question and (key.endswith(endings.unsure) or key[-1].isdigit()):
        return Completeness.NEUTRAL
    return by_punctuation


def _endings_of(words: Sequence[str], language: str | None) -> _Endings | None:
    """The table for the last word, or None where there is none for the language.

    English words end Chinese turns too ("我想用 um"), and the other way round for whom the recogniser calls English.
    """
    if language is not None and language.replace("_", "-").partition("-")[0].lower() not in _LANGUAGES:
        return None
    last = next(word for word in reversed(words) if normal_form(word))
    if not is_cjk(last[0]):
        return _ENGLISH
    kana = any("\u3040" <= char <= "\u30ff" for word in words for char in word)
    return None if kana else _CHINESE


def required_silence_s(policy: EndpointingPolicy, how: Completeness, pauses: Sequence[float]) -> float:
    """Seconds of silence, from the last voiced sample on, that end a turn whose text ends like `how`.

    The policy's base for `how` times its patience; stretched by the 80th percentile of the person's own pauses inside
    turns (`pauses`: seconds, oldest first; the last `PAUSES_KEPT` of at least `PAUSE_S_MIN` count, and fewer than
    `PAUSES_NEEDED` tell nothing), 1.15 times of it, or 0.6 times after a complete sentence. The stretch goes up to
    `policy.silence_s_max` and never below the base; a base that patience puts beyond that maximum stands, as somebody
    asked for it.

    Source of the numbers: in-turn pauses have a median of 520 ms, and 24 % exceed 800 ms (DESIGN.md, facts measured
    beforehand), so that the defaults of 0.4, 0.65 and 1.5 s are as many guesses about which of them this one is.
    """
    base = (
        policy.patience
        * {
            Completeness.COMPLETE: policy.complete_s,
            Completeness.NEUTRAL: policy.neutral_s,
            Completeness.INCOMPLETE: policy.incomplete_s,
        }[how]
    )
    counted = sorted([pause for pause in pauses if pause >= PAUSE_S_MIN][-PAUSES_KEPT:])
    if len(counted) < PAUSES_NEEDED:
        return base
    stretched = STRETCH[how] * _percentile(counted, PAUSE_PERCENTILE)
    return max(base, min(stretched, policy.silence_s_max))


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    """Linear interpolation between closest ranks (Hyndman & Fan 1996, type 7) of at least two ascending values."""
    position = fraction * (len(ordered) - 1)
    below = min(int(position), len(ordered) - 2)
    return ordered[below] + (position - below) * (ordered[below + 1] - ordered[below])
