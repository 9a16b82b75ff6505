"""`python -m duologue.testing.openai_server`: the scripted endpoint as a program, to try the engine offline.

It answers from a file of sample dialogues, or repeats what it was told. Saying `call NAME {"key": "value"}` makes it
call a tool that is on offer.
"""

import argparse
import asyncio
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from duologue.core.messages import ToolCall
from duologue.core.words import is_cjk, normal_form
from duologue.dialogues import Exchange, read_dialogues
from duologue.errors import ConfigurationError, DuologueError
from duologue.testing.openai_server import FAULTS, ChatRequest, Fault, OpenAiServer
from duologue.testing.scripted_llm import ScriptedReply

LIKENESS_MIN: Final = 0.6  # of a line to a rehearsed one; below it the line is repeated instead
_CALL: Final = re.compile(r"\bcall\s+(\w+)\s*(\{.*\})?", re.DOTALL)


class DemoReplies:
    """What the program answers: a tool call if asked for one, a rehearsed line if one is near, else an echo."""

    def __init__(self, exchanges: Sequence[Exchange], first_token_s: float, tokens_per_second: float) -> None:
        self._answers = {normal_form(line): exchange.agent for exchange in exchanges for line in exchange.asked}
        self._first_token_s = first_token_s
        self._token_s = 1 / tokens_per_second
        self._calls = 0

    def __call__(self, chat: ChatRequest) -> ScriptedReply:
        wanted = _CALL.search(chat.last_text)
        if wanted and wanted[1] in chat.tool_names and chat.messages[-1].get("role") == "user":
            self._calls += 1
            call = ToolCall(f"call_{self._calls}", wanted[1], wanted[2] or "{}")
            return ScriptedReply(first_token_s=self._first_token_s, token_s=self._token_s, tool_calls=(call,))
        return ScriptedReply(self._text(chat), first_token_s=self._first_token_s, token_s=self._token_s)

    def _text(self, chat: ChatRequest) -> str:
        said = chat.last_text.strip()
        if chat.messages and chat.messages[-1].get("role") == "tool":
            return f"The tool says: {said}"
        near = difflib.get_close_matches(normal_form(said), self._answers, n=1, cutoff=LIKENESS_MIN)
        if near:
            return self._answers[near[0]]
        if any(map(is_cjk, said)):
            return f"你说的是：{said}。我只是一个测试服务器，听到什么就说什么。"
        return f"You said: {said or 'nothing'}. I am a test server, so I can only say it back to you."


def parse_fault(text: str) -> Fault:
    """`KIND`, `KIND:3` for three requests, `KIND:all`. Raises `ConfigurationError` for anything else."""
    kind, _, count = text.partition(":")
    if count and count != "all" and not count.isdigit():
        raise ConfigurationError(f"a fault is KIND, KIND:COUNT or KIND:all, got {text!r}")
    return Fault(kind, requests=None if count == "all" else int(count or 1))


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {kind:19} {what}" for kind, what in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m duologue.testing.openai_server",
        description="An endpoint that speaks OpenAI's streaming chat protocol, by script. Loopback by default.",
        epilog=f"faults:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) for any that is free")
    parser.add_argument("--tokens-per-second", type=_positive, default=40.0)
    parser.add_argument("--first-token-s", type=float, default=0.15, help="seconds before the first token")
    parser.add_argument("--model", action="append", help="a model to list; may be repeated")
    parser.add_argument("--api-key", default="", help="refuse clients without it")
    parser.add_argument("--dialogues", type=Path, action="append", default=[], help="sample dialogues to answer from")
    parser.add_argument("--fault", action="append", default=[], help="KIND, KIND:COUNT or KIND:all; may be repeated")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be greater than 0, got {text}")
    return value


async def serve(arguments: argparse.Namespace, say: Callable[[str], object], stop: asyncio.Event) -> None:
    """Serve until `stop`; `say` gets the address and each request as it comes."""
    exchanges = [exchange for path in arguments.dialogues for exchange in read_dialogues(str(path), _read(path), "en")]
    replies = DemoReplies(exchanges, arguments.first_token_s, arguments.tokens_per_second)

    def answer(chat: ChatRequest) -> ScriptedReply:
        reply = replies(chat)
        say(f"{chat.model}: {chat.last_text!r} -> {reply.text or [call.name for call in reply.tool_calls]!r}\n")
        return reply

    faults = [parse_fault(text) for text in arguments.fault]
    models = arguments.model or ["scripted"]
    server = OpenAiServer(answer, faults=faults, models=models, api_key=arguments.api_key)
    await server.start(arguments.host, arguments.port)
    say(f"OPENAI_BASE_URL={server.base_url} OPENAI_API_KEY={arguments.api_key or 'any'}\n")
    try:
        await stop.wait()
    finally:
        await server.aclose()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read the dialogues {path}: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run until interrupted; the exit status."""
    arguments = _parser().parse_args(argv)

    def say(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    try:
        asyncio.run(serve(arguments, say, asyncio.Event()))
    except KeyboardInterrupt:
        return 0
    except DuologueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
