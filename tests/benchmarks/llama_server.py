"""llama.cpp's own OpenAI server in a process of its own, as its users start it: `python llama_server.py MODEL SLOTS`.

It prints its address once the model is loaded, and lives until its standard input closes or it is killed.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONTEXT = 2048


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """A running one. `base_url`: ends in /v1."""

    base_url: str
    process: "subprocess.Popen[str]"

    def slots_busy(self) -> int:
        """Slots that are working on an answer."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/slots") as answer:
            slots = json.load(answer)
        return sum(slot["is_processing"] for slot in slots)

    def kill(self) -> None:
        """As if it crashed."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(model: Path, slots: int = 1) -> Iterator[LlamaServer]:
    """Start one on a port of its own; end it."""
    command = [sys.executable, __file__, str(model), str(slots)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield LlamaServer(process.stdout.readline().strip() + "/v1", process)
        finally:
            process.kill()


def main(model: str, slots: int) -> None:
    """Serve."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = model, {"smol"}
    params.n_parallel, params.n_ctx, params.port = slots, CONTEXT * slots, 0
    params.endpoint_slots, params.verbosity = True, -1
    params.n_batch = params.n_ubatch = 128
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = 1, 0  # it shares the machine with the tests
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
