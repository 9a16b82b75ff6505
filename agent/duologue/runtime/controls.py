"""What a program may do to a session: say, type, show, press, ask, stop. Each is one event for the core."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from duologue.core import events as ev
from duologue.core.words import mended


class Controls(ABC):
    """The hand on a session. Each method raises `ProtocolError` where the conversation has no step for it now."""

    @abstractmethod
    def post(self, event: ev.Event) -> None:
        """Tell the core `event`."""

    @abstractmethod
    def now(self) -> float:
        """Session seconds."""

    def say(self, text: str, *, interruptible: bool = True, in_history: bool = True) -> None:
        """Say `text`, word for word, as soon as nobody else has the floor."""
        self.post(ev.SayRequested(self.now(), mended(text), interruptible, in_history))

    def type(self, text: str, *, images: Iterable[str] = (), reply: bool = True) -> None:
        """A turn of the user that is typed. `images`: http(s) or data URLs."""
        self.post(ev.TypedTurn(self.now(), mended(text), tuple(images), reply))

    def show(self, *images: str) -> None:
        """Images (http(s) or data URLs) that go with the user's open or next turn."""
        self.post(ev.ImagesShown(self.now(), images))

    def request_reply(self, *, instructions: str | None = None, in_history: bool = True) -> None:
        """A reply now; with other `instructions` for once, or one that leaves no trace in the history."""
        self.post(ev.ReplyRequested(self.now(), instructions and mended(instructions), in_history))

    def open_turn(self) -> None:
        """Push-to-talk pressed."""
        self.post(ev.TurnOpened(self.now()))

    def commit_turn(self) -> None:
        """Push-to-talk released, or a manual commit."""
        self.post(ev.TurnCommitted(self.now()))

    def clear_turn(self) -> None:
        """Forget the open turn."""
        self.post(ev.TurnCleared(self.now()))

    def interrupt(self) -> None:
        """Silence the agent."""
        self.post(ev.InterruptRequested(self.now()))

    def set_endpointing(self, *, automatic: bool, reply_automatically: bool = True) -> None:
        """Turns end by silence, or only by commit; replies come by themselves, or only on request."""
        self.post(ev.EndpointingChanged(self.now(), automatic, reply_automatically))

    def return_tool(self, call_id: str, output: str, *, failed: bool = False) -> None:
        """The result of a tool that the far side ran (`RunTool` with `far_side`)."""
        self.post(ev.ToolReturned(self.now(), call_id, mended(output), failed))
