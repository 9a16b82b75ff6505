"""What all stages have in common: a name, a way to get ready, a way to stop, and an honest word about themselves."""

from typing import Protocol


class Stage(Protocol):
    """A model or service behind a port. One object serves all sessions of a process."""

    @property
    def name(self) -> str:
        """The entry point's name, as in `use = "name"`."""
        ...

    async def warm_up(self) -> None:
        """Load what must be loaded, off the loop. Idempotent. Raises `StageUnavailable` with the next step."""
        ...

    async def aclose(self) -> None:
        """Free models, threads and connections. Idempotent."""
        ...

    @classmethod
    def probe(cls) -> str:
        """Why this stage can't be used with default options here, in a sentence; empty when it can.

        Cheap and without the network: is the package installed, is a model in the cache? `use = "auto"` and
        `duologue doctor` ask it.
        """
        ...
