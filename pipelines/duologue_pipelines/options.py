"""Checks of adapter options, so that every wrong number is reported in the same words.

An adapter's constructor gets whatever stands in its table of the settings; a value out of range is the user's to mend,
and the message says which key of which stage, what was found and what was expected.
"""

from collections.abc import Collection

from duologue.errors import ConfigurationError


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raise `ConfigurationError` unless `value` is a number with `low <= value <= high`.

    `key` is where the user finds it, like `vad.silero.threshold`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(f"{key} must be a number between {low:g} and {high:g}, got {value!r}")


def check_count(key: str, value: int, low: int, high: int) -> None:
    """Raise `ConfigurationError` unless `value` is a whole number with `low <= value <= high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(f"{key} must be a whole number between {low} and {high}, got {value!r}")


def check_one_of(key: str, value: object, allowed: Collection[object]) -> None:
    """Raise `ConfigurationError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ConfigurationError(f"{key} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
