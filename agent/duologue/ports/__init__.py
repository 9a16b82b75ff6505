"""FLOOR 1: the ports to the world, each a Protocol with its contract in words.

The contracts are run against every adapter, ours and a third party's, by the kits in `duologue.testing.contracts`.

An adapter class is registered by entry point and constructed as `Adapter(**options)`, where `options` are the keys that
stand beside `use` in its table of the settings (checked against the constructor's signature). Constructing must be
cheap and must not load a model; `warm_up` does that, once, before the first session. One adapter object serves all
sessions of a process: its `open` / `stream` / `synthesise` give each session what is its own.
"""

from duologue.ports.asr import Asr, AsrContext, AsrStream, Hypothesis, KeepsSessions
from duologue.ports.judge import Judge, JudgeContext, Judgement, JudgeStream
from duologue.ports.llm import Llm, LlmFinished, LlmItem, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.reply_source import (
    ChunkBegins,
    ChunkEnds,
    ReplyItem,
    ReplyRequest,
    ReplySource,
    ReplyStream,
    SourceAside,
    SourceFailed,
    SourceNote,
    StageTiming,
    TextFinished,
)
from duologue.ports.transport import LocalTransport, RemoteTransport, Transport, TransportSink
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord, Tts
from duologue.ports.vad import Offset, Onset, Vad, VadStream

__all__ = [
    "Asr", "AsrContext", "AsrStream", "ChunkBegins", "ChunkEnds", "Hypothesis", "Judge", "JudgeContext", "JudgeStream",
    "Judgement", "KeepsSessions", "Llm", "LlmFinished", "LlmItem", "LlmRequest", "LocalTransport", "Offset", "Onset",
    "RemoteTransport", "ReplyItem", "ReplyRequest", "ReplySource", "ReplyStream", "SourceAside", "SourceFailed",
    "SourceNote", "SpeechAudio", "SpeechItem", "SpeechRequest", "SpokenWord", "StageTiming", "TextDelta",
    "TextFinished", "ToolCallRequest", "Transport", "TransportSink", "Tts", "Usage", "Vad", "VadStream",
]  # fmt: skip
