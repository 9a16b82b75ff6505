"""Stages under watch: one that hangs or raises what its port does not speak of costs a reply, not the session."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from duologue.errors import DuologueError, StageError, StageTimeout

Item = TypeVar("Item")


async def watched(stage: str, items: AsyncGenerator[Item, None], stall_s_max: float) -> AsyncGenerator[Item, None]:
    """`items`, closed with this generator, and what goes wrong in them as `StageError`.

    `StageTimeout` when the next one does not come within `stall_s_max`. An adapter that raises what its port does not
    speak of costs a reply, not the session.
    """
    async with aclosing(items):
        while True:
            try:
                async with asyncio.timeout(stall_s_max):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise StageTimeout(stage, f"nothing came for {stall_s_max:g} s") from error
            except DuologueError:
                raise
            except Exception as error:  # a stranger's adapter may raise anything
                raise stage_broke(stage, error) from error
            yield item


def stage_broke(stage: str, error: Exception) -> StageError:
    """What an adapter raised that is none of our errors, as one."""
    hint = f"The {stage} adapter should raise StageError: report it to its author"
    return StageError(stage, f"{type(error).__name__}: {error}", hint=hint)
