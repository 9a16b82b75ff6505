"""Signs that a Whisper-like recogniser is inventing text, judged from the text and the decoder's own doubts.

Sources: the alarms of OpenAI's `transcribe` (compression ratio, mean log-probability, no-speech probability; Radford et
al. 2022, section 4.5), and the phrases that weights trained on subtitles are known to say over near-silence
(Koenecke et al. 2024, "Careless Whisper"; Barański et al. 2025, "bag of hallucinations").
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final

from duologue.core.words import normal_form, split_words

COMPRESSION_RATIO_MAX: Final = 2.4
MEAN_LOG_PROBABILITY_MIN: Final = -1.0
NO_SPEECH_MAX: Final = 0.6
_LOOP_LONGEST: Final = 8  # words in the phrase that comes round again
_LOOP_TIMES: Final = 4  # "no no no" is speech; the same phrase four times over is a decoder that is caught
# Of letters: six times is more than anybody laughs or draws out a sound, and numbers may well be 1000000.
_LOOP_INSIDE: Final = re.compile(r"([^\W\d_]{1,8}?)\1{5,}")
_WORDS_PER_VOICED_SECOND_MAX: Final = 12.0  # the fastest talkers reach about 8, counted with their pauses
_WORDS_FREE: Final = 3
_NEAR_SILENCE_SECONDS: Final = 0.4

_PHANTOMS: Final = (
    "thank you", "thank you very much", "thank you so much", "thanks for watching", "thank you for watching",
    "thank you so much for watching", "please subscribe", "like and subscribe", "bye", "bye bye", "you", "the", "so",
    "subtitles by the amara org community", "subtitles by the amara.org community", "i'm sorry", "the end",
    "ご視聴ありがとうございました", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", "字幕由amara.org社区提供",
    "中文字幕志愿者", "谢谢观看", "谢谢大家", "untertitel der amara.org community", "untertitelung des zdf für funk",
    "sous-titres réalisés para la communauté d'amara.org", "merci d'avoir regardé cette vidéo",
    "subtítulos realizados por la comunidad de amara.org", "gracias por ver el video", "продолжение следует",
)  # fmt: skip
_PHANTOM_FORMS: Final = frozenset(normal_form(phrase) for phrase in _PHANTOMS)


def compression_ratio(text: str) -> float:
    """Bytes of `text` over those of its zlib form: high for text that repeats itself. 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def is_phantom(text: str, voiced_seconds: float) -> bool:
    """Whether `text` is one that weights say over near-silence, and there was little else to go by."""
    return voiced_seconds < _NEAR_SILENCE_SECONDS and normal_form(text) in _PHANTOM_FORMS


def is_too_fast(text: str, voiced_seconds: float) -> bool:
    """Whether nobody could have said `text` in `voiced_seconds` of voice."""
    return len(split_words(text)) > _WORDS_FREE + _WORDS_PER_VOICED_SECOND_MAX * voiced_seconds


def loop_inside(word: str) -> bool:
    """Whether `word` is a syllable that comes round again and again ("Hehehehehehe", "H-H-H-H-H-H")."""
    return bool(_LOOP_INSIDE.search(normal_form(word)))


def loop_start(words: Sequence[str]) -> int | None:
    """Index of the word from which a phrase begins to come round again and again; None where none does.

    What stands before the index, the phrase's first time included, can be kept.
    """
    forms = [normal_form(word) for word in words]
    for start in range(len(forms)):
        for length in range(1, min(_LOOP_LONGEST, (len(forms) - start) // _LOOP_TIMES) + 1):
            phrase = forms[start : start + length]
            if all(forms[start + k * length : start + (k + 1) * length] == phrase for k in range(1, _LOOP_TIMES)):
                return start + length
    return None
