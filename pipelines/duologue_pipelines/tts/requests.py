"""What every synthesiser here refuses: a speed, a loudness or a rate that can't be meant."""

from typing import Final

from duologue.audio import OUTPUT_RATES_HZ
from duologue.errors import ConfigurationError
from duologue.ports.tts import SpeechRequest
from duologue_pipelines.options import check_range

SPEED_MIN: Final = 0.5
SPEED_MAX: Final = 2.0
LOUDNESS_MAX: Final = 8.0  # 18 dB: more than that is clipping, whatever the voice


def check_request(request: SpeechRequest) -> None:
    """Raise `ConfigurationError` unless speed and loudness lie in their ranges and the rate is one of the engine's."""
    check_voice_options("voice", request.speed, request.loudness)
    if request.sample_rate_hz not in OUTPUT_RATES_HZ:
        known = ", ".join(map(str, OUTPUT_RATES_HZ))
        raise ConfigurationError(f"speech is made at one of {known} Hz, got {request.sample_rate_hz!r}")


def check_voice_options(table: str, speed: float, loudness: float) -> None:
    """The same for the options of the settings table `table` ("tts.piper")."""
    check_range(f"{table}.speed", speed, SPEED_MIN, SPEED_MAX)
    check_range(f"{table}.loudness", loudness, 0.0, LOUDNESS_MAX)
