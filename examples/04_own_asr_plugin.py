"""A telephone menu: a recogniser of one's own that hears keys instead of words, and an agent that only announces.

docs/PLUGINS.md has a recogniser of all twelve keys, and holds it to its contract."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from duologue import Agent, actions, events, load_settings
from duologue.audio import FRAME_SAMPLES, INPUT_RATE_HZ, Frame
from duologue.ports import AsrContext, Hypothesis
from duologue.testing.memory_transport import MemoryTransport

MENU = {"one": "We are open from nine to six.", "two": "A ticket is twelve dollars.", "three": "The cafe is upstairs."}
KEYS_HZ = (1209, 1336, 1477)  # the columns of the top row, which itself is 697 Hz
WAVES = np.exp(-2j * np.pi * np.outer(KEYS_HZ, np.arange(FRAME_SAMPLES)) / INPUT_RATE_HZ)


class KeypadAsr:
    name, probe = "keypad", staticmethod(lambda: "")
    warm_up = aclose = staticmethod(lambda: asyncio.sleep(0))  # nothing to load, nothing to free

    def open(self, context: AsrContext) -> "KeypadStream":
        return KeypadStream()


class KeypadStream:
    def __init__(self) -> None:
        self.power, self.answers = np.zeros(len(KEYS_HZ)), asyncio.Queue[Hypothesis | None]()

    def push_frame(self, frame: Frame) -> None:
        self.power += np.abs(WAVES @ frame.samples)

    def finalise(self, mark: int) -> None:
        self.answers.put_nowait(Hypothesis([*MENU][self.power.argmax()], final=True, mark=mark))

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        while (answer := await self.answers.get()) is not None:
            yield answer

    async def aclose(self) -> None:
        self.answers.put_nowait(None)


async def main() -> None:
    tone = np.sin(2 * np.pi * np.outer((697, KEYS_HZ[1]), np.arange(8000)) / INPUT_RATE_HZ).sum(axis=0)
    transport = MemoryTransport([(1.0, (8000 * tone).astype("<i2").tobytes()), (6.0, bytes(2))])
    chosen = {"asr": f"{__name__}:KeypadAsr", "vad": "webrtc", "tts": "espeak", "reply": {"automatic": False}}
    agent = Agent(settings=load_settings(overrides=chosen))
    async with agent, agent.session(transport) as session:
        async for event in session.events():
            if isinstance(event, actions.TurnEnded):
                session.say(MENU[event.text])
            elif isinstance(event, events.ReplyEnded):
                print("agent:", event.heard)


asyncio.run(main())
