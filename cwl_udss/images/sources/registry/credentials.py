# SPDX-License-Identifier: Apache-2.0
"""Who we are at a registry: what `docker login` and `podman login` have written."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwl_udss.errors import RegistryError, SettingsError
from cwl_udss.images.reference import DOCKER_HUB, DOCKER_HUB_SERVER
from cwl_udss.machine.user_directories import user_configuration, user_runtime
from cwl_udss.machine.waiting import told

_HUB_KEY = "https://index.docker.io/v1/"  # docker login's, since its first version
# docker-credential-helpers: the user name that says that the secret is a token.
_TOKEN_USER = "<token>"  # noqa: S105
_HELPER_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user name with its password, or a token to be exchanged for others."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(
    registry: str, repository: str, environment: Mapping[str, str], home: Path
) -> Credentials | None:
    """Return the credentials for a repository, None if there are none.

    Raises SettingsError for a file that is not readable, RegistryError if a helper fails.
    """
    keys = list(_keys(registry, repository))
    for path in _files(environment, home):
        content = _read(path)
        for key in keys:
            helper = content.get("credHelpers", {}).get(key)
            found = _from_helper(helper, key) if helper else _from_file(path, content, key)
            if found is not None:
                return found
        helper = content.get("credsStore")
        if helper:
            server = _HUB_KEY if registry == DOCKER_HUB_SERVER else registry
            found = _from_helper(helper, server)
            if found is not None:
                return found
    return None


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Where credentials may stand, the most specific first: containers-auth.json(5)."""
    registries = (DOCKER_HUB, _HUB_KEY) if registry == DOCKER_HUB_SERVER else (registry,)
    path = repository
    while path:
        yield f"{registries[0]}/{path}"
        path = path.rpartition("/")[0]
    yield from registries


def _files(environment: Mapping[str, str], home: Path) -> list[Path]:
    chosen = environment.get("REGISTRY_AUTH_FILE")
    if chosen:
        if not Path(chosen).is_file():
            raise SettingsError(
                f"$REGISTRY_AUTH_FILE names {chosen}, which is no file", "mend or unset it"
            )
        return [Path(chosen)]
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    runtime = user_runtime(environment)
    candidates = [
        *([runtime / "containers" / "auth.json"] if runtime else []),
        user_configuration(environment, home) / "containers" / "auth.json",
        docker / "config.json",
    ]
    return [path for path in candidates if path.exists()]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read", str(error)) from error
    except ValueError as error:
        raise _malformed(path) from error
    sections = ("auths", "credHelpers")
    if not isinstance(content, dict) or not all(
        isinstance(content.setdefault(name, {}), dict) for name in sections
    ):
        raise _malformed(path)
    return content


def _from_file(path: Path, content: Mapping[str, Any], key: str) -> Credentials | None:
    entries = content["auths"]
    entry = entries.get(key)
    if entry is None:  # docker tolerates a scheme and a path around the host
        plain = {_plain(name): value for name, value in entries.items()}
        entry = plain.get(key)
    if not entry:  # "{}" is what docker login leaves when a helper keeps the secret
        return None
    try:
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
        return Credentials(
            username=user or entry.get("username", ""),
            password=password.rstrip("\0") or entry.get("password", ""),
            identity_token=entry.get("identitytoken", ""),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise _malformed(path) from error


def _plain(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/v")[0].rstrip("/")


def _from_helper(helper: str, server: str) -> Credentials | None:
    """Ask a program: https://github.com/docker/docker-credential-helpers."""
    program = f"docker-credential-{helper}"
    try:
        with told(f"for {program} to say who you are for {server}"):
            answer = subprocess.run(
                [program, "get"],
                input=server.encode(),
                capture_output=True,
                timeout=_HELPER_SECONDS,
                check=False,
            )
        text = answer.stdout.decode()
        if answer.returncode != 0:
            if "credentials not found" in text:
                return None
            raise RegistryError(f"{program} has no credentials for {server}", text.strip())
        found = json.loads(text)
        token = found["Secret"] if found["Username"] == _TOKEN_USER else ""
        return Credentials(
            username=found["Username"], password=found["Secret"], identity_token=token
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"{program} does not work", str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(f"{program} gave no credentials for {server}", str(error)) from error


def _malformed(path: Path) -> SettingsError:
    return SettingsError(f"{path} is malformed", "remove it, and log in again")
