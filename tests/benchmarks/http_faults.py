"""What a caller hears when the model's endpoint misbehaves: whole calls over real HTTP, in real time, as one table.

Each call is a greeting and three questions. The endpoint answers the first, commits its fault on the second and is
sound again for the third, so the table shows what the caller heard meanwhile, what the trace says, and that the
conversation goes on with nothing lost. The calls run beside each other in one process, on one voice. Caller and
recogniser are scripted; the agent's voice is espeak's, and every second is read off the recording.

    PYTHONPATH=tests python -m benchmarks.http_faults --out out/http_faults
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.stages import voice
from duologue import Agent, Persona, Policy, Session, Settings, Stages
from duologue.audio import Samples, write_wav
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.history import AgentItem, UserItem
from duologue.ports.tts import Tts
from duologue.runtime.session_setup import Note, SessionEvent
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.openai_server import ChatRequest, Fault, OpenAiServer
from duologue.testing.scripted_asr import ScriptedAsr, Utterance
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_vad import ScriptedVad
from duologue_pipelines.llm.openai import OpenAiLlm
from duologue_pipelines.tts.espeak import EspeakTts

GREETING: Final = "Hello, I am listening."
QUESTIONS: Final = ("What time is it?", "And what about the weather?", "Thank you, and good night.")
ANSWERS: Final = {
    QUESTIONS[0]: "It is five o'clock in the afternoon.",
    QUESTIONS[1]: "It rains in the morning. In the evening the sun comes out again.",
    QUESTIONS[2]: "Good night, and sleep well.",
}
SECOND_MODEL: Final = "second"
AUDIBLE_PEAK: Final = 300  # of int16: espeak's silence is zero
ANSWERED_S_MAX: Final = 90.0  # far above every time limit of the engine's: a call that hangs ends the run


@dataclass(frozen=True, slots=True)
class Case:
    """One misbehaviour. `fault` None: the endpoint is switched off instead. `options`: of the adapter."""

    name: str
    fault: Fault | None
    options: dict[str, Any] = field(default_factory=dict)


def _always(kind: str, **more: Any) -> Fault:
    return Fault(kind, requests=None, **more)


CASES: Final = (
    Case("none", Fault("slow_headers", delay_s=0.0)),
    Case("401 wrong key", _always("401")),
    Case("404 no such model", _always("404")),
    Case("429 once", Fault("429", retry_after_s=0.5)),
    Case("429 for good", _always("429")),
    Case("500 once", Fault("500")),
    Case("500 for good", _always("500")),
    Case("500, second model", _always("500", model="scripted"), {"models_fallback": [SECOND_MODEL]}),
    Case("garbage (HTML)", _always("garbage")),
    Case("no HTTP at all", _always("not_http")),
    Case("hangs up", _always("hang_up")),
    Case("nothing once", Fault("no_answer")),
    Case("nothing for good", _always("no_answer")),
    Case("switched off", None),
    Case("stops half-way", _always("half", after_tokens=7)),
    Case("stalls half-way", _always("stall", after_tokens=7)),
    Case("broken JSON half-way", _always("broken_json", after_tokens=7)),
    Case("error event half-way", _always("error_event", after_tokens=7)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call. `heard`: of the agent upon the second question, in order; fillers in brackets.

    `told`: what trace and events said about it. `history`: (who, text) at the end. `first_sound_s`, `silent_again_s`:
    from the end of the question to the agent's first and last sound upon it. `error`: what ended the session, if
    anything did. `requests`: how many the endpoint got.
    """

    case: str
    heard: tuple[str, ...]
    told: tuple[str, ...]
    history: tuple[tuple[str, str], ...]
    first_sound_s: float | None
    silent_again_s: float | None
    error: str
    requests: int
    tokens: dict[str, Any]

    @property
    def lost(self) -> list[str]:
        """What was said and is not remembered: nothing, if all is well."""
        remembered = [text for _, text in self.history]
        said = [GREETING, QUESTIONS[0], ANSWERS[QUESTIONS[0]], QUESTIONS[1], QUESTIONS[2], ANSWERS[QUESTIONS[2]]]
        return [text for text in said if text not in remembered]


class Caller:
    """Asks question after question and listens until the agent has finished."""

    def __init__(self, session: Session, transport: MemoryTransport) -> None:
        self._session = session
        self._transport = transport
        self._news = asyncio.Event()
        self.events: list[SessionEvent] = []

    async def follow(self) -> None:
        """Read the session's events to their end."""
        async for event in self._session.events():
            self.events.append(event)
            self._news.set()
        self._news.set()

    async def listen(self, turns: int) -> None:
        """Until `turns` turns have ended and the agent has said all that it has to say upon them."""
        async with asyncio.timeout(ANSWERED_S_MAX):
            while not self._session.closed and not self._is_silent_after(turns):
                self._news.clear()
                await self._news.wait()

    def _is_silent_after(self, turns: int) -> bool:
        ended = sum(isinstance(event, act.TurnEnded) for event in self.events)
        spoken = any(isinstance(event, ev.ReplyEnded) for event in self.events)
        return ended >= turns and spoken and self._session.phase is Phase.LISTENING

    async def ask(self, turns: int) -> float:
        """Ask the next question; the session second at which it was over. Returns when it is answered."""
        await self._transport.speak(voice(0.8))
        over = self._transport.now
        await self.listen(turns)
        return over


async def hold(
    case: Case, tts: Tts, options: dict[str, Any], turn_to_load: asyncio.Lock, out: Path | None = None
) -> Outcome:
    """One call. `options` of the adapter give way to the case's own; recording and trace go to `out`.

    `turn_to_load`: a client takes a tenth of a second of the processor, which would eat into the others' time-outs.
    """

    def answer(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply(ANSWERS[request.last_text], first_token_s=0.15, token_s=0.025)

    async with OpenAiServer(answer, models=("scripted", SECOND_MODEL)) as server:
        llm = OpenAiLlm(model="scripted", base_url=server.base_url, **{**options, **case.options})
        asr = ScriptedAsr([Utterance(question, whole_text_in_finals=True) for question in QUESTIONS])
        persona = Persona("faults", "You are brief.", greeting=GREETING)
        stages = Stages(ScriptedVad(), asr, llm, tts)
        agent = Agent(settings=Settings(), stages=stages, persona=persona)
        transport = MemoryTransport(hang_up=False)
        trace = out / f"{_slug(case.name)}.jsonl" if out else None
        try:
            async with turn_to_load:
                await agent.ready()
            async with agent.session(transport, trace=trace, policy=Policy()) as session:
                caller = Caller(session, transport)
                reading = asyncio.ensure_future(caller.follow())
                outcome = await _three_questions(case, server, caller, session, transport)
            await reading
        finally:
            await llm.aclose()
        if out:
            path = out / f"{_slug(case.name)}.wav"
            write_wav(path, *transport.recording(), sample_rate_hz=transport.output_rate_hz)
        return outcome


async def _three_questions(
    case: Case, server: OpenAiServer, caller: Caller, session: Session, transport: MemoryTransport
) -> Outcome:
    await caller.listen(0)
    await caller.ask(1)
    before, requests = len(caller.events), len(server.requests)
    host, _, port = server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
    if case.fault:
        server.misbehave(case.fault)
    else:
        await server.aclose()
    over = await caller.ask(2)
    events, requests = caller.events[before:], len(server.requests) - requests
    until = transport.now
    server.misbehave()
    if not case.fault:
        await server.start(host, int(port))
    await caller.ask(3)
    _, agent = transport.recording()
    first, last = _sound(agent, transport.output_rate_hz, over, until)
    items = session.conversation.history
    return Outcome(
        case.name,
        tuple(heard_in(events)),
        tuple(told_in(events)),
        tuple(
            ("caller" if isinstance(item, UserItem) else "agent", item.text)
            for item in items
            if isinstance(item, UserItem | AgentItem)
        ),
        first,
        last,
        str(session.error or ""),
        requests,
        session.meter.report()["tokens"],
    )


def heard_in(events: Sequence[SessionEvent]) -> list[str]:
    """What was heard of the agent, reply by reply; what enters no history stands in brackets."""
    begun = {event.reply: event for event in events if isinstance(event, act.BeginReply)}
    heard: list[str] = []
    for event in events:
        if isinstance(event, act.SpeakFiller):
            heard.append(f"[{event.text}]")
        elif isinstance(event, ev.ReplyEnded) and event.heard.strip():
            in_history = event.reply not in begun or begun[event.reply].options.in_history
            heard.append(event.heard.strip() if in_history else f"[{event.heard.strip()}]")
    return heard


def told_in(events: Sequence[SessionEvent]) -> list[str]:
    """What the trace says went wrong, and what was done about it."""
    told: list[str] = []
    for event in events:
        if isinstance(event, ev.ReplyFailed):
            told.append(event.error)
        elif isinstance(event, Note):
            told.append(event.text)
        elif isinstance(event, act.CancelReply) and event.reason not in ("superseded", "failed"):
            told.append(f"reply given up: {event.reason}")
    return list(dict.fromkeys(told))


def _sound(agent: Samples, rate_hz: int, over: float, until: float) -> tuple[float | None, float | None]:
    """Seconds from `over` to the first and to the last audible sample of `agent` before `until`."""
    start = round(over * rate_hz)
    loud = np.flatnonzero(np.abs(agent[start : round(until * rate_hz)].astype(np.int32)) > AUDIBLE_PEAK)
    if not len(loud):
        return None, None
    return round(float(loud[0]) / rate_hz, 2), round(float(loud[-1]) / rate_hz, 2)


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)


async def hold_all(
    tts: Tts, options: dict[str, Any], out: Path | None = None, cases: Sequence[Case] = CASES
) -> list[Outcome]:
    """All calls at once: they wait far more than they work."""
    turn_to_load = asyncio.Lock()
    return list(await asyncio.gather(*(hold(case, tts, options, turn_to_load, out) for case in cases)))


def render(outcomes: Sequence[Outcome]) -> Table:
    """The table: a row a fault."""
    table = Table(title="The model's endpoint misbehaves on the second question", title_justify="left", show_lines=True)
    for name in (
        "fault",
        "the caller heard",
        "the trace says",
        "history",
        "first sound, s",
        "silent again, s",
        "asked",
    ):
        table.add_column(name, justify="right" if name.endswith((" s", "asked")) else "left")
    for outcome in outcomes:
        kept = "kept" if not outcome.lost else f"LOST: {'; '.join(outcome.lost)}"
        table.add_row(
            outcome.case,
            "\n".join(outcome.heard) or "nothing",
            "\n".join(outcome.told) or "–",
            kept if not outcome.error else f"{kept}; ended: {outcome.error}",
            "–" if outcome.first_sound_s is None else f"{outcome.first_sound_s:.2f}",
            "–" if outcome.silent_again_s is None else f"{outcome.silent_again_s:.2f}",
            str(outcome.requests),
        )
    return table


def main() -> int:
    """Hold the calls, print the table, write what was heard; 1 if anything that was said is forgotten."""
    parser = argparse.ArgumentParser(prog="http_faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/http_faults"), help="folder for recordings and traces")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    async def run() -> list[Outcome]:
        tts = EspeakTts()
        try:
            await tts.warm_up()
            return await hold_all(tts, {}, out)
        finally:
            await tts.aclose()

    outcomes = asyncio.run(run())
    console = Console(width=max(170, Console().width) if not sys.stdout.isatty() else None)
    console.print(render(outcomes), highlight=False)
    report = out / "report.json"
    rows = [asdict(outcome) for outcome in outcomes]
    report.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"written: {report}, and a two-channel recording and the trace of each call", highlight=False)
    return int(any(outcome.lost or outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
