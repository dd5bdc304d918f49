# SPDX-License-Identifier: Apache-2.0
"""Which registry is asked for an image, and how: containers-registries.conf(5), version 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError, SettingsError
from cwl_udss.images.reference import DOCKER_HUB, DOCKER_HUB_SERVER, ImageReference, parse_reference
from cwl_udss.machine.user_directories import user_configuration
from cwl_udss.records import record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@record(frozen=True, kw_only=True)
class Endpoint:
    """A server to ask for a repository."""

    registry: str
    """Host, with a port if it has one."""
    repository: str
    insecure: bool = False
    """Without TLS, or with a certificate that nobody vouches for."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.registry}/{self.repository}"


@record(frozen=True, kw_only=True)
class _Location:
    """Where a registry or one of its mirrors is: host and the beginning of the repository."""

    location: str
    insecure: bool
    pull_from: str
    """"all", "digest-only" or "tag-only"."""

    def serves(self, reference: ImageReference) -> bool:
        by = "digest-only" if reference.digest else "tag-only"
        return self.pull_from in ("all", by)


@record(frozen=True, kw_only=True)
class _Registry:
    """A `[[registry]]` table."""

    prefix: str
    location: _Location
    mirrors: tuple[_Location, ...]
    blocked: bool

    def matched(self, name: str) -> str | None:
        """The beginning of an image's name that this table is about; None if it is about others."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0]
            return host if host.endswith(self.prefix[1:]) else None
        # A prefix ends where a component of the name does.
        return self.prefix if f"{name}/".startswith(f"{self.prefix}/") else None


@record(frozen=True, kw_only=True)
class Registries:
    """All that registries.conf says."""

    search: tuple[str, ...] = ()
    aliases: Mapping[str, ImageReference] = field(default_factory=dict)
    registries: Mapping[str, _Registry] = field(default_factory=dict)

    def qualify(self, reference: ImageReference) -> tuple[ImageReference, ...]:
        """Return what a short name may stand for, in the order to try; others stay as they are."""
        if reference.registry:
            return (reference,)
        alias = self.aliases.get(reference.repository)
        if alias is not None:
            found = alias.on(alias.registry)
            return (
                ImageReference(
                    registry=found.registry,
                    repository=found.repository,
                    tag=reference.tag,
                    digest=reference.digest,
                ),
            )
        return tuple(reference.on(registry) for registry in self.search or (DOCKER_HUB,))

    def endpoints(self, reference: ImageReference) -> tuple[Endpoint, ...]:
        """Return the servers to ask for a qualified reference: mirrors, then the registry itself.

        Raises ImageError if the registry is blocked.
        """
        matches = [
            (matched, registry)
            for registry in self.registries.values()
            if (matched := registry.matched(reference.name)) is not None
        ]
        if not matches:
            return (_endpoint(reference.name, insecure=False),)
        # The longest wins, and one that names the host wins over a wildcard.
        matched, registry = max(
            matches, key=lambda match: (not match[1].prefix.startswith("*"), len(match[1].prefix))
        )
        if registry.blocked:
            raise ImageError(
                f"{reference} is not pulled: registries.conf blocks {registry.prefix}",
                "ask who manages this machine which registry to use instead",
            )
        rest = reference.name[len(matched) :]
        mirrors = [mirror for mirror in registry.mirrors if mirror.serves(reference)]
        return tuple(
            _endpoint((location.location or matched) + rest, insecure=location.insecure)
            for location in (*mirrors, registry.location)
        )


def load_registries(
    environment: Mapping[str, str], home: Path, system: Path = Path("/etc/containers")
) -> Registries:
    """Read registries.conf and its drop-in files.

    Raises SettingsError for a file that is not readable or not of version 2.
    """
    search: tuple[str, ...] = ()
    aliases: dict[str, ImageReference] = {}
    registries: dict[str, _Registry] = {}
    for path in _files(environment, home, system):
        content = _read(path)
        try:
            if "unqualified-search-registries" in content:
                search = tuple(content["unqualified-search-registries"])
            for name, target in content.get("aliases", {}).items():
                # An empty string takes back an alias of an earlier file.
                aliases.pop(name, None)
                if target:
                    aliases[name] = parse_reference(target)
            for table in content.get("registry", []):
                registry = _registry(table)
                registries[registry.prefix] = registry
        except (TypeError, AttributeError, KeyError) as error:
            raise SettingsError(
                f"{path} is not a registries.conf", f"see containers-registries.conf(5): {error}"
            ) from error
    return Registries(search=search, aliases=aliases, registries=registries)


def _files(environment: Mapping[str, str], home: Path, system: Path) -> Iterator[Path]:
    """The main file and the drop-ins, in the order in which containers/image reads them."""
    configuration = user_configuration(environment, home) / "containers"
    user_file = configuration / "registries.conf"
    chosen = environment.get("CONTAINERS_REGISTRIES_CONF")
    chosen_directory = environment.get("CONTAINERS_REGISTRIES_CONF_DIR")
    directories = [system / "registries.conf.d", configuration / "registries.conf.d"]
    if chosen:
        if not Path(chosen).is_file():
            raise SettingsError(
                f"$CONTAINERS_REGISTRIES_CONF names {chosen}, which is no file", "mend or unset it"
            )
        yield Path(chosen)
    elif user_file.exists():
        yield user_file
        directories = directories[1:]
    elif (system / "registries.conf").exists():
        yield system / "registries.conf"
    if chosen_directory:
        directories = [Path(chosen_directory)]
    for directory in directories:
        yield from sorted(directory.glob("*.conf"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read", str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML", str(error)) from error
    if "registries" in content:
        raise SettingsError(
            f"{path} has version 1 of the format ([registries.search])",
            "write it in version 2: containers-registries.conf(5)",
        )
    return content


def _registry(table: Mapping[str, Any]) -> _Registry:
    location = str(table.get("location", "")).rstrip("/")
    prefix = str(table.get("prefix", "")).rstrip("/") or location
    if not prefix:
        raise KeyError("a [[registry]] has neither prefix nor location")
    by_digest = "digest-only" if table.get("mirror-by-digest-only") else "all"
    return _Registry(
        prefix=prefix,
        location=_Location(
            location=location, insecure=bool(table.get("insecure", False)), pull_from="all"
        ),
        mirrors=tuple(
            _Location(
                location=str(mirror["location"]).rstrip("/"),
                insecure=bool(mirror.get("insecure", False)),
                pull_from=str(mirror.get("pull-from-mirror", by_digest)),
            )
            for mirror in table.get("mirror", [])
        ),
        blocked=bool(table.get("blocked", False)),
    )


def _endpoint(name: str, *, insecure: bool) -> Endpoint:
    registry, _, repository = name.partition("/")
    return Endpoint(
        registry=DOCKER_HUB_SERVER if registry == DOCKER_HUB else registry,
        repository=repository,
        insecure=insecure or is_loopback(registry),
    )


def is_loopback(registry: str) -> bool:
    """Tell whether a registry is on this machine; then it needs no TLS, as with Docker."""
    if registry.startswith("["):
        host = registry[1:].partition("]")[0]
    else:
        host = registry.partition(":")[0]
    if host == "localhost":
        return True
    try:
        import ipaddress

        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
