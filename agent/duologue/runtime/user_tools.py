"""Functions that the model may call: described from their signature, arguments validated, run side by side."""

import asyncio
import inspect
import json
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from duologue.core.messages import ToolSpec
from duologue.core.words import mended
from duologue.errors import ConfigurationError, DuologueError
from duologue.runtime.reply import ReplyTools
from duologue.runtime.threads import ThreadsBusy, in_daemon_thread


class HandedToTools:
    """What a tool gets by annotating a parameter with it: the session. The model neither sees nor fills that."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of ours that the model may call.

    `session_parameters`: names of those that are filled with the session.
    """

    spec: ToolSpec
    function: Callable[..., Any]
    arguments: type[BaseModel]
    traits: ReplyTools
    session_parameters: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, for its author's tests."""
        return self.function(*args, **kwargs)

    async def run(self, arguments: str, session: HandedToTools | None = None) -> str:
        """Call it with JSON `arguments`, for `session`; its result as text.

        `ToolFailure` says what went wrong, in words for the model.
        """
        try:
            given = self.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in error.errors()
            )
            raise ToolFailure(f"the arguments do not fit: {problems}") from error
        named = {str(info.alias): getattr(given, field) for field, info in type(given).model_fields.items()}
        if session is not None:
            named |= dict.fromkeys(self.session_parameters, session)
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**named)
            else:
                result = await in_daemon_thread(self.function, named)
                if isinstance(result, Awaitable):
                    result = await result
            return mended(result if isinstance(result, str) else to_json(result, fallback=str).decode())
        except (KeyboardInterrupt, ToolFailure):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ToolFailure("it cancelled itself") from error
        except ThreadsBusy as error:
            raise ToolFailure(str(error)) from error
        except BaseException as error:  # whatever a user's function raises or gives, even an exit: the talk goes on
            raise ToolFailure(_told(error)) from error


def _told(error: BaseException) -> str:
    try:
        return mended(f"{type(error).__name__}: {error}")
    except Exception:  # an exception whose own text fails
        return type(error).__name__


class ToolFailure(DuologueError):
    """A tool could not do its work; the text is for the model."""


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, timeout_s: float | None = None, cancellable: bool = True) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, timeout_s: float | None = None, cancellable: bool = True
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a function callable for the model.

    Its name, docstring and annotated parameters are what the model sees. A plain function runs in a thread.
    A parameter annotated `Session` is filled with the session of the call.

    `timeout_s`: give up after it (default: `reply.tool_s_max`). `cancellable=False`: when the user interrupts, let it
    finish and remember its result. Raises `ConfigurationError` for a function that can't be described.
    """
    traits = ReplyTools(timeout_s=timeout_s, cancellable=cancellable)
    if function is None:
        return lambda decorated: _describe(decorated, traits)
    return _describe(function, traits)


def _describe(function: Callable[..., Any], traits: ReplyTools) -> Tool:
    name = getattr(function, "__name__", type(function).__name__)
    hint = "Annotate it with what JSON has: str, int, float, bool, list, dict, Literal, a dataclass, a pydantic model"
    try:
        parameters = _signature(function).parameters.values()
        handed = tuple(parameter.name for parameter in parameters if _is_session(parameter))
        described = (parameter for parameter in parameters if parameter.name not in handed)
        fields: dict[str, Any] = {f"p{place}": _field(name, parameter) for place, parameter in enumerate(described)}
        arguments = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
        schema = arguments.model_json_schema()
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        raise ConfigurationError(f"tool {name} can't be described to a model: {error}", hint=hint) from error
    schema.pop("title", None)
    spec = ToolSpec(name, inspect.getdoc(function) or "", json.loads(json.dumps(schema)))
    return Tool(spec, function, arguments, traits, handed)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as objects. `Session` is known by its name even where only type checkers import it."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        if error.name != "Session":
            raise
        signature = inspect.signature(function, eval_str=True, locals={"Session": HandedToTools})
    named = getattr(inspect.unwrap(function), "__globals__", {}).get("Session", HandedToTools)
    return signature.replace(parameters=[_unquoted(parameter, named) for parameter in signature.parameters.values()])


def _unquoted(parameter: inspect.Parameter, session: Any) -> inspect.Parameter:
    """In quotes under `from __future__ import annotations` an annotation is text twice over."""
    annotation = parameter.annotation
    is_name = isinstance(annotation, str) and annotation == "Session"
    return parameter.replace(annotation=session) if is_name else parameter


def _is_session(parameter: inspect.Parameter) -> bool:
    """Whether it wants the session: `Session`, or `Session | None` for who calls the function by hand."""
    annotation = parameter.annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return named and any(isinstance(kind, type) and issubclass(kind, HandedToTools) for kind in kinds)


def _field(name: str, parameter: inspect.Parameter) -> tuple[Any, Any]:
    """`parameter` of tool `name` for pydantic, under an alias: pydantic keeps names like `copy` or `_x` for itself."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ConfigurationError(
            f"tool {name}: parameter {parameter} can't be described to a model", hint="Give each parameter a name"
        )
    if parameter.annotation is parameter.empty:
        raise ConfigurationError(
            f"tool {name}: parameter {parameter.name} has no type", hint=f"Write {parameter.name}: str, say"
        )
    if isinstance(parameter.default, FieldInfo):  # `city: str = Field(description="…")`
        return Annotated[parameter.annotation, parameter.default], Field(alias=parameter.name)
    default = ... if parameter.default is parameter.empty else parameter.default
    return parameter.annotation, Field(default, alias=parameter.name)
