"""The `llamacpp` adapter with a real model in this process."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from duologue.core.messages import Message, ToolCall
from duologue.errors import ConfigurationError, StageError, StageOverloaded, StageUnavailable
from duologue.ports import LlmFinished, LlmRequest, TextDelta, Usage
from duologue.testing.contracts.llm import Check, LlmCase, check_name, checks_for
from duologue_pipelines import model_cache
from duologue_pipelines.llm import gguf
from duologue_pipelines.llm.llamacpp import LlamaCppLlm, _shorter

MODEL = "llamacpp:SmolLM2-135M-Instruct-Q4_1"
SMALL = {"threads": 1, "context": 1024, "slots": 2, "output_tokens_max": 24}
SYSTEM = Message("system", "You are a voice assistant at a museum. Answer in one short sentence. " * 12)
STORY = LlmRequest((Message("user", "Tell me a long story about a dragon."),), output_tokens_max=400)
Make = Callable[..., LlamaCppLlm]


@pytest.fixture
def make(real_model: Any) -> Make:
    path = real_model(MODEL)
    return lambda **options: LlamaCppLlm(str(path), **{**SMALL, **options})


@asynccontextmanager
async def opened(llm: LlamaCppLlm) -> AsyncIterator[LlamaCppLlm]:
    try:
        async with asyncio.timeout(60):
            yield llm
    finally:
        await llm.aclose()


def asking(text: str, *before: Message) -> LlmRequest:
    return LlmRequest((SYSTEM, *before, Message("user", text)))


async def until(seen: Callable[[], bool], seconds: float = 2.0) -> None:
    async with asyncio.timeout(seconds):
        for _ in range(10_000):
            if seen():
                return
            await asyncio.sleep(0.002)


def llamacpp_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "llamacpp" in thread.name]


def tasks() -> int:
    """Threads of this process, the library's too."""
    return len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 0


def cached(items: list[Any]) -> int:
    return next(item for item in items if isinstance(item, Usage)).cached_input


# --- what every model must do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check", checks_for(LlmCase(make=lambda: LlamaCppLlm(), streams_open=lambda: 0)), ids=check_name
)
def test_it_keeps_the_contract(make: Make, check: Check) -> None:
    made: list[LlamaCppLlm] = []

    def new() -> LlamaCppLlm:
        made.append(make())
        return made[-1]

    asyncio.run(check(LlmCase(make=new, streams_open=lambda: sum(llm.answers_open for llm in made))))


def test_a_missing_model_is_refused_with_a_next_step() -> None:
    case = LlmCase(make=lambda: LlamaCppLlm("nowhere"), make_refused=lambda: LlamaCppLlm("nowhere"))
    asyncio.run(checks_for(case)[-1](case))


# --- slots ------------------------------------------------------------------------------------------------------------


def test_what_was_read_before_is_not_read_again_and_usage_says_so(make: Make, collect: Any, spoken: Any) -> None:
    async def run() -> None:
        async with opened(make(slots=1)) as llm:
            await llm.read_ahead([SYSTEM])
            first = await collect(llm.stream(asking("When do you open?")))
            read_ahead = cached(first)
            assert read_ahead > 150, "the instructions, which were read ahead"
            history = (Message("user", "When do you open?"), Message("assistant", spoken(first)))
            second = await collect(llm.stream(asking("And on Sunday?", *history)))
            assert cached(second) > read_ahead + 5, "the turn before, too"

    asyncio.run(run())


def test_each_slot_has_read_the_instructions_ahead(make: Make, collect: Any) -> None:
    async def run() -> None:
        async with opened(make()) as llm:
            await llm.read_ahead([SYSTEM])
            both = await asyncio.gather(*(collect(llm.stream(asking(text))) for text in ("Where?", "When?")))
            assert min(map(cached, both)) > 150

    asyncio.run(run())


def test_leaving_a_long_prompt_frees_the_slot_before_it_is_read(make: Make) -> None:
    async def run() -> None:
        async with opened(make(slots=1, context=4096)) as llm:
            await llm.warm_up()
            waiting = asyncio.ensure_future(anext(llm.stream(asking("word " * 3500))))
            await until(lambda: llm.answers_open == 1)
            waiting.cancel()
            await until(lambda: not llm.answers_open)  # reading it would take ten seconds or more
            assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError

    asyncio.run(run())


def test_an_answer_waits_for_a_slot_and_a_crowd_is_refused(make: Make, collect: Any) -> None:
    async def run() -> None:
        async with opened(make(slots=1, wait_s_max=20)) as llm:
            busy = llm.stream(STORY)
            await anext(busy)
            waiting = [asyncio.ensure_future(collect(llm.stream(asking("Hi.")))) for _ in range(4)]
            await until(lambda: llm._engine is not None and llm._engine._waiting == 4)
            with pytest.raises(StageOverloaded, match="4 answers wait for one of 1 slots") as refused:
                await anext(llm.stream(asking("Hi.")))
            assert refused.value.retryable and "llm.slots" in refused.value.hint
            await busy.aclose()
            for items in await asyncio.gather(*waiting):
                assert isinstance(items[-1], LlmFinished)

    asyncio.run(run())


def test_nobody_waits_for_a_slot_for_ever(make: Make) -> None:
    async def run() -> None:
        async with opened(make(slots=1, wait_s_max=0.05)) as llm:
            busy = llm.stream(STORY)
            await anext(busy)
            with pytest.raises(StageOverloaded, match=r"all 1 slots were busy for 0\.05 s"):
                await anext(llm.stream(asking("Hi.")))
            await busy.aclose()

    asyncio.run(run())


def test_closing_ends_answers_threads_and_memory_and_it_can_be_asked_again(make: Make, collect: Any) -> None:
    async def run() -> None:
        before = tasks()
        async with opened(make()) as llm:
            answer = llm.stream(STORY)
            await anext(answer)
            await llm.aclose()
            with pytest.raises(StageError, match="closed") as ended:
                await collect(answer)
            assert ended.value.retryable and not llm.answers_open
            assert not llamacpp_threads() and tasks() <= before + 3  # asyncio's own pool
            assert await collect(llm.stream(asking("Hi.")))
        assert not llamacpp_threads()

    asyncio.run(run())


# --- prompts ----------------------------------------------------------------------------------------------------------


def test_a_prompt_beyond_the_context_loses_its_older_messages_and_says_so(make: Make, collect: Any) -> None:
    async def run() -> None:
        older = [Message("assistant" if i % 2 else "user", "word " * 100) for i in range(16)]
        async with opened(make(slots=1)) as llm:
            items = await collect(llm.stream(asking("Hi.", *older)))
            assert items[-1].notes == (
                "the prompt was longer than the context of 1024 tokens: 12 older messages were left out",
            )
            with pytest.raises(StageError, match="does not fit") as refused:
                await collect(llm.stream(asking("word " * 2000)))
            assert "llm.context" in refused.value.hint and not refused.value.retryable

    asyncio.run(run())


def test_a_tools_result_is_left_out_with_its_call() -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "weather", "{}"),))
    result, question = Message("tool", "rain", call_id="1"), Message("user", "And now?")
    hello, answer = Message("user", "Hello"), Message("assistant", "Rain.")
    assert _shorter((SYSTEM, hello, call, result, answer, question)) == (SYSTEM, answer, question)
    assert _shorter((SYSTEM, question)) == (SYSTEM, question)
    assert _shorter((SYSTEM,)) == (SYSTEM,)


def test_temperature_0_says_the_same_again_and_the_bound_on_the_output_holds(make: Make, collect: Any) -> None:
    async def run() -> None:
        async with opened(make(output_tokens_max=6)) as llm:
            first, second = [await collect(llm.stream(asking("Tell me about the moon."))) for _ in range(2)]
            texts = [[item for item in items if isinstance(item, TextDelta)] for items in (first, second)]
            assert texts[0] == texts[1]
            assert first[-1].reason == "length" and 2 <= len(texts[0]) <= 6

    asyncio.run(run())


def test_messages_that_the_template_cannot_take_are_a_typed_error(make: Make, collect: Any) -> None:
    async def run() -> None:
        async with opened(make()) as llm:
            with pytest.raises(StageError, match="image"):
                await collect(llm.stream(LlmRequest((Message("user", "", images=("https://x.org/a.png",)),))))
            engine = await llm._ready()
            for body in ('{"messages": [{"role": "user"}], "stream": true}', "no JSON"):
                with pytest.raises(StageError, match="refused the request"):
                    await collect(engine.chunks(body))
            assert await collect(llm.stream(asking("Hi.")))

    asyncio.run(run())


# --- what stands in the settings, what lies in the cache -------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [{"threads": -1}, {"context": 10}, {"slots": 0}, {"temperature": 3}, {"output_tokens_max": 9999},
               {"wait_s_max": -1}, {"examples": 99}],
)  # fmt: skip
def test_values_out_of_range_name_their_key(option: dict[str, Any]) -> None:
    (key,) = option
    with pytest.raises(ConfigurationError, match=rf"llm\.llamacpp\.{key} must be"):
        LlamaCppLlm(**option)


def test_the_model_is_named_by_the_settings_or_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(model_cache.CACHE_VARIABLE, str(tmp_path))
    assert LlamaCppLlm().model == "" and "duologue models pull llamacpp:" in LlamaCppLlm.probe()
    with pytest.raises(StageUnavailable, match="no model in") as nothing:
        gguf.model_path("")
    assert "duologue models pull llamacpp:SmolLM2" in nothing.value.hint
    (tmp_path / "llamacpp").mkdir()
    for name in ("b.gguf", "a.gguf", ".c.gguf"):
        (tmp_path / "llamacpp" / name).touch()
    assert LlamaCppLlm().model == "a" and LlamaCppLlm.probe() == "" and gguf.models() == ["a", "b"]
    assert gguf.model_path("b").name == gguf.model_path(str(tmp_path / "llamacpp" / "b.gguf")).name == "b.gguf"
    with pytest.raises(StageUnavailable, match="no model at") as misspelt:
        gguf.model_path("bb")
    assert "pull llamacpp:bb`; models in the cache: a, b" in misspelt.value.hint
    with pytest.raises(StageUnavailable, match="no model at") as lost:
        gguf.model_path("./lost.gguf")
    assert lost.value.hint.startswith("Check the path")
    (tmp_path / "llamacpp" / f"{gguf.PREFERRED_MODEL}.gguf").touch()
    assert LlamaCppLlm().model == gguf.PREFERRED_MODEL


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "llamacpp]'" in LlamaCppLlm.probe()
    (tmp_path / "a.gguf").touch()

    async def run() -> None:
        with pytest.raises(StageUnavailable, match="needs xllamacpp") as missing:
            await LlamaCppLlm(str(tmp_path / "a.gguf")).warm_up()
        assert "llamacpp]'" in missing.value.hint

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["empty", "a page", "half", "garbage"])
def test_a_file_that_is_no_model_is_refused_with_a_next_step(real_model: Any, tmp_path: Path, kind: str) -> None:
    with real_model(MODEL).open("rb") as file:
        begun = file.read(2_000_000)
    broken = {"empty": b"", "a page": b"<html>not found</html>", "half": begun, "garbage": begun[:900] + bytes(9000)}
    path = tmp_path / "broken.gguf"
    path.write_bytes(broken[kind])

    async def run() -> None:
        with pytest.raises(StageUnavailable, match=r"broken\.gguf") as refused:
            await LlamaCppLlm(str(path)).warm_up()
        assert "duologue models pull llamacpp:broken" in refused.value.hint and not refused.value.retryable

    asyncio.run(run())


def test_a_model_larger_than_the_free_memory_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    path.write_bytes(gguf.MAGIC + bytes(100_000_000))
    monkeypatch.setattr(gguf, "memory_free", lambda: 64_000_000)
    with pytest.raises(StageUnavailable, match=r"large\.gguf needs about 120 MB of memory, 64 MB are free"):
        gguf.check_file(path)
    monkeypatch.setattr(gguf, "memory_free", lambda: None)  # a system that does not tell
    gguf.check_file(path)
    with pytest.raises(StageUnavailable, match="can't be read"):
        gguf.check_file(tmp_path)


def test_the_free_memory_is_read_off_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (gguf.memory_free() or 0) > 1e8

    def nothing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", nothing)
    assert (gguf.memory_free() or 0) > 1e8
    monkeypatch.setattr("os.sysconf_names", {})
    assert gguf.memory_free() is None


def test_a_context_beyond_all_memory_is_refused(make: Make) -> None:
    async def run() -> None:
        with pytest.raises(StageUnavailable, match="64 × 1048576 tokens") as refused:
            await make(context=1 << 20, slots=64).warm_up()
        assert "lower llm.context" in refused.value.hint

    asyncio.run(run())
