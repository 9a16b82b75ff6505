"""What may be wanted otherwise of one reply: its prompt, tools, voice, bounds; and whether these fit together."""

from dataclasses import dataclass
from typing import Final

from duologue.core.history import Item, OutputItem
from duologue.core.messages import ToolSpec
from duologue.errors import ProtocolError

TEMPERATURE_MAX = 2.0  # what endpoints take
INPUT_ITEMS_MAX = 400  # of one reply: as many as a history keeps
TOOL_CHOICES = ("auto", "none", "required")


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Options for one reply alone. None everywhere: as the session has it.

    `instructions`: in place of the persona's. `input`: what is asked, in place of the history. `tools`: in place of the
    session's; `tool_choice`: `auto`, `none`, `required` or the name of one of them. `voice`: the synthesiser's name for
    one. `output_tokens_max`, `temperature`: the model's. `text_only`: the model's text as it is, and no speech.
    `in_history` False: it leaves no trace there.
    """

    instructions: str | None = None
    input: tuple[Item, ...] | None = None
    tools: tuple[ToolSpec, ...] | None = None
    tool_choice: str = "auto"
    voice: str | None = None
    output_tokens_max: int | None = None
    temperature: float | None = None
    text_only: bool = False
    in_history: bool = True

    def check(self) -> None:
        """Raises `ProtocolError` for options that contradict each other, or that no model takes."""
        known = None if self.tools is None else {tool.name for tool in self.tools}
        if known is not None and len(known) < len(self.tools or ()):
            raise ProtocolError("two tools have one name", hint="The model calls them by name")
        if known is not None and self.tool_choice not in TOOL_CHOICES and self.tool_choice not in known:
            raise ProtocolError(f"tool_choice {self.tool_choice!r} is none of the reply's tools")
        if known == set() and self.tool_choice == "required":
            raise ProtocolError("a tool is required, and the reply has none")
        if self.text_only and self.voice is not None:
            raise ProtocolError("a reply that is text only has no voice", hint="Leave out one of the two")
        if self.temperature is not None and not 0.0 <= self.temperature <= TEMPERATURE_MAX:
            raise ProtocolError(f"temperature must lie between 0 and {TEMPERATURE_MAX:g}, got {self.temperature:g}")
        if self.output_tokens_max is not None and self.output_tokens_max < 1:
            raise ProtocolError(f"output_tokens_max must be 1 or more, got {self.output_tokens_max}")
        self._check_input()

    def _check_input(self) -> None:
        if self.input is None:
            return
        if len(self.input) > INPUT_ITEMS_MAX:
            raise ProtocolError(f"the input has {len(self.input)} items, at most {INPUT_ITEMS_MAX}")
        calls = {item.call_id for item in self.input if not isinstance(item, OutputItem) and hasattr(item, "call_id")}
        for item in self.input:
            if isinstance(item, OutputItem) and item.call_id not in calls:
                raise ProtocolError(f"the input has a result of {item.call_id!r}, a call that is not in it")


PLAIN: Final = ReplyOptions()  # as the session has it
