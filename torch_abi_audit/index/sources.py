"""Where to look for packages, as pip and uv are configured: options, environment, files."""

from __future__ import annotations

import configparser
import math
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from torch_abi_audit.errors import AuditError
from torch_abi_audit.index import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What `pip download` reads; the second section overrides the first.
_SECTIONS = ("global", "download")
_YES = frozenset({"y", "yes", "t", "true", "on", "1"})
_NO = frozenset({"n", "no", "f", "false", "off", "0"})
_TIMEOUT = 15.0  # seconds, as pip's
_RETRIES = 5
_LONGEST_TIMEOUT = 600.0  # seconds
_MOST_RETRIES = 20
_NAMED_INDEX = re.compile(r"([A-Za-z0-9._-]+)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages are looked for, and how their servers are reached.

    Attributes:
        indexes: The roots of simple repositories, with any credentials, the preferred one first.
        find_links: Pages, folders and files that offer packages.
        certificate: A file or folder of CA certificates that replaces those of the system.
        client_certificate: A file with a client certificate and its key.
        proxy: The proxy for every request. None: the proxies of the environment.
        trusted_hosts: Hosts, each with or without a port, whose certificates are not verified.
        timeout: Seconds to wait for a connection, and for the next bytes of an answer.
        retries: How often a request that failed is sent again.
    """

    # Representations end up in logs, such as those of Dask's workers.
    indexes: tuple[str, ...] = field(repr=False)
    find_links: tuple[str, ...] = field(repr=False)
    certificate: str | None = None
    client_certificate: str | None = None
    proxy: str | None = field(default=None, repr=False)
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = _TIMEOUT
    retries: int = _RETRIES


def find_sources(
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    find_links: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    no_index: bool = False,
) -> Sources:
    """Find where packages are looked for.

    For each setting the first of these that has it decides: the argument, pip's environment
    variable, uv's, pip's configuration files. As with pip, extra indexes and links that are
    given as arguments come after configured ones and do not replace them.

    Args:
        index_url: The root of a simple repository.
        extra_index_urls: More of them.
        find_links: Pages, folders and files that offer packages.
        environ: The environment variables; `os.environ` by default. The folders of
            configuration files are those of the process in any case.
        no_index: Look at `find_links` only.

    Raises:
        AuditError: A setting or a configuration file cannot be read, or the extra `index` is
            not installed.
    """
    require()
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # noqa: PLC0415 -- only with the extra

    settings = _Settings(os.environ if environ is None else environ)
    main = index_url or settings.main_index() or PYPI_SIMPLE_ENDPOINT
    before, after = settings.extra_indexes()
    indexes = [*before, main, *after, *extra_index_urls]
    if no_index or settings.flag("no-index", "UV_NO_INDEX"):
        indexes = []
    certificate = settings.one("cert", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    client = settings.one("client-cert", "SSL_CLIENT_CERT")
    links = [*settings.several("find-links", ("UV_FIND_LINKS", ",")), *find_links]
    return Sources(
        indexes=tuple(dict.fromkeys(map(_expanded, indexes))),
        find_links=tuple(dict.fromkeys(map(_expanded, links))),
        certificate=_expanded(certificate) if certificate else None,
        client_certificate=_expanded(client) if client else None,
        proxy=settings.one("proxy"),
        trusted_hosts=tuple(
            map(_host, settings.several("trusted-host", ("UV_INSECURE_HOST", None)))
        ),
        timeout=settings.seconds(_TIMEOUT),
        retries=settings.retries(_RETRIES),
    )


def _host(name: str) -> str:
    try:
        urlsplit(f"//{name}").port  # noqa: B018 -- raises if it is not a number
    except ValueError as error:
        raise AuditError(f"trusted-host: {name!r} is not a host, with or without a port") from error
    return name


class _Settings:
    """The settings of pip and uv, by the names that pip's configuration files use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        # Of pip's variables, an empty one is as good as none.
        self._pip = {
            _normal_name(name.removeprefix("PIP_")): value
            for name, value in environ.items()
            if name.startswith("PIP_") and value
        }
        self._files: dict[str, str] | None = None

    def _configured(self, name: str) -> str | None:
        if self._files is None:
            self._files = _configuration(self._environ)
        return self._files.get(name)

    def _uv(self, names: Sequence[str]) -> tuple[str, str] | None:
        """Return the first of some variables that is set, and its value."""
        for name in names:
            if value := self._environ.get(name, "").strip():
                return name, value
        return None

    def one(self, name: str, *variables: str) -> str | None:
        """Return a setting that is one string."""
        if value := self._pip.get(name):
            return value
        if found := self._uv(variables):
            return found[1]
        return self._configured(name)

    def several(self, name: str, other: tuple[str, str | None]) -> list[str]:
        """Return a setting that is a list; `other` is uv's variable and what separates it."""
        if value := self._pip.get(name):
            return value.split()
        if found := self._uv(other[:1]):
            return [part.strip() for part in found[1].split(other[1]) if part.strip()]
        return (self._configured(name) or "").split()

    def main_index(self) -> str | None:
        """Return the root of the main index."""
        if value := self._pip.get("index-url"):
            return value
        if found := self._uv(("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
            return self._named(found[1])
        return self._configured("index-url")

    def extra_indexes(self) -> tuple[list[str], list[str]]:
        """Return the indexes that go before the main one, and those that go after it.

        pip has no order among indexes, so its extra ones go last; uv prefers the extra ones.
        """
        if value := self._pip.get("extra-index-url"):
            return [], value.split()
        before = [
            self._named(part)
            for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL")
            for part in self._environ.get(variable, "").split()
        ]
        if before:
            return before, []
        return [], (self._configured("extra-index-url") or "").split()

    def _named(self, index: str) -> str:
        """Return the URL of `name=url`, with the credentials that uv has for that name."""
        named = _NAMED_INDEX.fullmatch(index)
        if named is None:
            return index
        prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", named[1].upper())
        user = self._environ.get(f"{prefix}_USERNAME", "")
        password = self._environ.get(f"{prefix}_PASSWORD", "")
        parts = urlsplit(named[2])
        if not (user or password) or "@" in parts.netloc:
            return named[2]
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{credentials}@{parts.netloc}"))

    def flag(self, name: str, variable: str) -> bool:
        """Return a setting that is on or off."""
        for source, value in self._sources(name, variable):
            if value.lower() in _YES:
                return True
            if value.lower() in _NO:
                return False
            raise AuditError(f"{source}: must be true or false, but is {value!r}")
        return False

    def seconds(self, default: float) -> float:
        """Return the time-out in seconds."""
        for name in ("timeout", "default-timeout"):
            for source, value in self._sources(name, "UV_HTTP_TIMEOUT"):
                try:
                    seconds = float(value)
                except ValueError:
                    seconds = math.nan
                if not 0 < seconds <= _LONGEST_TIMEOUT:
                    raise AuditError(
                        f"{source}: must be a number of seconds up to {_LONGEST_TIMEOUT:g},"
                        f" but is {value!r}"
                    )
                return seconds
        return default

    def retries(self, default: int) -> int:
        """Return how often a request is sent again."""
        for source, value in self._sources("retries", "UV_HTTP_RETRIES"):
            if not re.fullmatch(r"[0-9]{1,9}", value):
                raise AuditError(f"{source}: must be a whole number, but is {value!r}")
            return min(int(value), _MOST_RETRIES)
        return default

    def _sources(self, name: str, variable: str) -> Iterator[tuple[str, str]]:
        """Yield where a setting is from and its value, the one that counts first."""
        if value := self._pip.get(name):
            yield f"PIP_{name.upper().replace('-', '_')}", value.strip()
        if found := self._uv((variable,)):
            yield found
        if value := self._configured(name):
            yield f"{name} in pip's configuration", value.strip()


def _expanded(place: str) -> str:
    """Return a place without white space around it; of a path, with its `~` expanded."""
    return _at_home(place.strip()) if place.lstrip().startswith("~") else place.strip()


def _at_home(path: str) -> str:
    # Unlike `Path.expanduser`, it does not fail where there is no home.
    return os.path.expanduser(path)  # noqa: PTH111


def _normal_name(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


class _Parser(configparser.RawConfigParser):
    """Reads the file as pip does: `index_url`, `--index-url` and `index-url` are the same."""

    def optionxform(self, optionstr: str) -> str:
        return _normal_name(optionstr)


def _configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of pip's configuration files, merged as `pip download` does."""
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for file in _configuration_files(environ):
        parser = _parsed(file)
        for section in _SECTIONS:
            if parser.has_section(section):
                sections[section].update(parser.items(section))
    # An empty value takes the place of an earlier one in its section, then counts as none.
    return {
        name: value for section in _SECTIONS for name, value in sections[section].items() if value
    }


def _parsed(file: Path) -> _Parser:
    parser = _Parser()
    try:
        parser.read(file, encoding="utf-8" if sys.flags.utf8_mode else "locale")
    except UnicodeDecodeError as error:
        raise AuditError(f"{file}: not a text file in the encoding {error.encoding}") from error
    except configparser.Error as error:
        lines = [number for number, _ in getattr(error, "errors", ())]
        number = next(iter(lines), getattr(error, "lineno", None))
        where = f"line {number}: " if number else ""
        raise AuditError(f"{file}: {where}not a configuration file of pip") from error
    return parser


def _configuration_files(environ: Mapping[str, str]) -> list[Path]:
    """List pip's configuration files; a later one overrides an earlier one."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    basename = "pip.ini" if sys.platform == "win32" else "pip.conf"
    files = [folder / basename for folder in _global_folders()]
    if not (named and Path(named).exists()):
        legacy = Path(_at_home("~")) / ("pip" if sys.platform == "win32" else ".pip")
        files += [legacy / basename, _user_folder() / basename]
    files.append(Path(sys.prefix) / basename)
    if named:
        files.append(Path(named))
    return files


def _global_folders() -> list[Path]:
    import platformdirs  # noqa: PLC0415 -- only with the extra

    if sys.platform == "darwin":
        found = platformdirs.site_data_dir("pip", appauthor=False, multipath=True)
        return [Path(folder) for folder in found.split(os.pathsep)]
    found = platformdirs.site_config_dir("pip", appauthor=False, multipath=True)
    if sys.platform == "win32":
        return [Path(found)]
    return [*(Path(folder) for folder in found.split(os.pathsep)), Path("/etc")]


def _user_folder() -> Path:
    import platformdirs  # noqa: PLC0415 -- only with the extra

    if sys.platform == "darwin":
        folder = Path(platformdirs.user_data_dir("pip", appauthor=False, roaming=True))
        return folder if folder.is_dir() else Path(_at_home("~/.config/pip"))
    return Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))
