"""A function described to a model from its signature; its arguments validated, its result as text."""

import __future__

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal, Optional

import pytest
from pydantic import BaseModel, Field

import duologue
from duologue import Session, tool
from duologue.errors import ConfigurationError
from duologue.runtime.user_tools import ToolFailure
from duologue.testing.virtual_time import run


@tool
async def weather(city: str, days: Annotated[int, Field(ge=1, le=7, description="how many")] = 1) -> str:
    """Weather in a city.

    For up to a week.
    """
    return f"{days} days of rain in {city}"


def test_the_model_sees_name_docstring_and_annotated_parameters():
    assert weather.spec.name == "weather"
    assert weather.spec.description == "Weather in a city.\n\nFor up to a week."
    assert weather.spec.parameters == {
        "type": "object",
        "properties": {
            "city": {"title": "City", "type": "string"},
            "days": {
                "title": "Days",
                "type": "integer",
                "default": 1,
                "minimum": 1,
                "maximum": 7,
                "description": "how many",
            },
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert asyncio.run(weather("Rome")) == "1 days of rain in Rome"


def test_arguments_are_validated_and_the_model_is_told_what_does_not_fit():
    assert run(weather.run('{"city": "Rome", "days": "3"}')) == "3 days of rain in Rome"
    for arguments, problem in [
        ("{}", "city: Field required"),
        ("", "city: Field required"),
        ('{"city": 1}', "city: Input should be a valid string"),
        ('{"city": "Rome", "days": 9}', "days: Input should be less than or equal to 7"),
        ('{"city": "Rome", "town": 1}', "town: Extra inputs are not permitted"),
        ('{"city": "Ro', "arguments: Invalid JSON"),
        ("[1]", "arguments: "),
    ]:
        with pytest.raises(ToolFailure, match="the arguments do not fit") as caught:
            run(weather.run(arguments))
        assert problem in str(caught.value)


def test_a_plain_function_runs_in_a_thread_and_may_give_an_awaitable():
    @tool
    def add(a: int, b: int = 2) -> int:
        return a + b

    @tool
    def later(text: str):
        return weather.function(text)

    assert run(add.run('{"a": 1}')) == "3"
    assert run(later.run('{"text": "Oslo"}')) == "1 days of rain in Oslo"


class Place(BaseModel):
    name: str
    north: float = 0.0


@dataclass
class Box:
    width: int


def test_models_dataclasses_literals_and_lists_go_in_and_out():
    @tool
    async def visit(place: Place, boxes: list[Box], mood: Literal["glad", "sad"] = "glad"):
        return {"place": place, "widths": [box.width for box in boxes], "mood": mood, "self": visit.spec}

    output = run(visit.run('{"place": {"name": "Ulm"}, "boxes": [{"width": 3}]}'))
    assert output.startswith('{"place":{"name":"Ulm","north":0.0},"widths":[3],"mood":"glad","self":{"name":"visit"')
    with pytest.raises(ToolFailure, match=r"boxes\.0\.width"):
        run(visit.run('{"place": {"name": "Ulm"}, "boxes": [{"width": "wide"}]}'))


def test_names_that_pydantic_keeps_for_itself_are_parameters_as_any_other():
    @tool
    async def odd(_x: int, copy: str, schema: str, model_config: str, json: str = "j") -> list[str]:
        return [str(_x), copy, schema, model_config, json]

    assert list(odd.spec.parameters["properties"]) == ["_x", "copy", "schema", "model_config", "json"]
    assert run(odd.run('{"_x": 1, "copy": "c", "schema": "s", "model_config": "m"}')) == '["1","c","s","m","j"]'


def test_a_field_as_default_describes_the_parameter():
    @tool
    async def fetch(page: str = Field(description="its address"), times: int = Field(1, ge=0)) -> str:
        return page * times

    assert fetch.spec.parameters["required"] == ["page"]
    assert fetch.spec.parameters["properties"]["page"]["description"] == "its address"
    assert run(fetch.run('{"page": "ab"}')) == "ab"


def test_what_a_function_raises_or_can_t_give_as_text_is_a_failure_for_the_model():
    @tool
    async def broken(how: str):
        if how == "raise":
            raise KeyError("nothing here")
        return b"\xff\xfe"

    with pytest.raises(ToolFailure, match="KeyError: 'nothing here'"):
        run(broken.run('{"how": "raise"}'))
    with pytest.raises(ToolFailure, match="utf-8"):
        run(broken.run('{"how": "bytes"}'))


def test_time_out_and_whether_it_may_be_stopped_are_said_by_the_decorator():
    @tool(timeout_s=3.0, cancellable=False)
    async def pay(amount: float) -> str:
        return "paid"

    assert (pay.traits.timeout_s, pay.traits.cancellable, pay.traits.remote) == (3.0, False, False)
    assert (weather.traits.timeout_s, weather.traits.cancellable) == (None, True)


def test_a_callable_object_is_named_after_its_class():
    class Dice:
        """Throw a die."""

        def __call__(self, sides: int) -> int:
            return sides

    dice = tool(Dice())
    assert dice.spec.name == "Dice" and run(dice.run('{"sides": 6}')) == "6"


def test_a_function_that_can_t_be_described_is_refused_with_the_reason():
    def anything(*places: str): ...
    def untyped(city): ...
    def unknown(city: "Nowhere"): ...  # noqa: F821  the missing name is the point
    def opaque(stream: asyncio.StreamReader): ...
    def calls(back: "asyncio.Task"): ...

    for function, problem in [
        (anything, r"parameter \*places: str can't be described"),
        (untyped, "parameter city has no type. Write city: str, say"),
        (unknown, "name 'Nowhere' is not defined"),
        (opaque, "StreamReader.*Annotate it with what JSON has"),
        (calls, "Task"),
    ]:
        with pytest.raises(ConfigurationError, match=f"(?s){problem}"):
            tool(function)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "wrong", [SystemExit(3), GeneratorExit(), Unspeakable(), BaseExceptionGroup("g", [KeyError()])]
)
def test_whatever_a_tool_raises_is_a_failure_of_the_tool(wrong):
    @tool
    async def odd() -> str:
        "Odd."
        raise wrong

    with pytest.raises(ToolFailure, match=type(wrong).__name__):
        asyncio.run(odd.run("{}"))


def test_a_tool_that_cancels_itself_has_failed():
    @tool
    async def odd() -> str:
        "Odd."
        raise asyncio.CancelledError

    with pytest.raises(ToolFailure, match="cancelled itself"):
        asyncio.run(odd.run("{}"))


def test_a_lone_half_of_a_character_in_a_result_is_replaced():
    @tool
    def odd() -> str:
        "Odd."
        return "a \ud83d b"

    assert asyncio.run(odd.run("{}")) == "a � b"


# --- the session in a tool's hands -----------------------------------------------------------------------------------


@tool
async def whose_call(session: Session, polite: bool = True) -> str:
    "Whose call it is."
    return f"{'dear ' * polite}{session.user_data}"


def test_the_session_is_no_parameter_of_the_model_s():
    assert list(whose_call.spec.parameters["properties"]) == ["polite"]
    assert whose_call.session_parameters == ("session",)
    with pytest.raises(ToolFailure, match="session: Extra inputs are not permitted"):
        run(whose_call.run('{"session": 1}'))


def described(annotation, **names):
    """A tool whose parameter `call` has an annotation as text, as it stands in a module of `names`."""
    source = f"async def odd(call: {annotation}, number: int = 0) -> str:\n    return str(call)\n"
    exec(compile(source, "user.py", "exec", flags=__future__.annotations.compiler_flag), names)
    return tool(names["odd"])


@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        ("Session", {"Session": Session}),
        ("Session", {}),  # imported for type checkers only
        ("'Session'", {}),
        ("Session | None", {}),
        ("Optional[Session]", {"Optional": Optional}),
        ("duologue.Session", {"duologue": duologue}),
        ("Call", {"Call": type("Call", (Session,), {})}),
    ],
)
def test_however_its_annotation_is_written_the_session_is_known(annotation, names):
    made = described(annotation, **names)
    assert list(made.spec.parameters["properties"]) == ["number"] and made.session_parameters == ("call",)
    session = object.__new__(Session)
    assert run(made.run("{}", session)) == str(session)


def test_a_class_of_the_user_s_that_is_called_session_is_theirs():
    class Theirs(BaseModel):
        name: str

    made = described("Session", Session=Theirs)
    assert made.session_parameters == () and list(made.spec.parameters["properties"]) == ["call", "number"]


def test_without_a_session_a_tool_says_what_it_lacks_or_does_without():
    @tool
    async def may(session: Session | None = None) -> str:
        return "nobody's" if session is None else "somebody's"

    assert run(may.run("{}")) == "nobody's"
    with pytest.raises(ToolFailure, match="missing 1 required positional argument: 'session'"):
        run(whose_call.run("{}"))


def test_a_session_without_a_name_is_refused_like_any_parameter_without_one():
    def many(*sessions: Session): ...
    def only(session: Session, /): ...

    for function in (many, only):
        with pytest.raises(ConfigurationError, match="Give each parameter a name"):
            tool(function)
