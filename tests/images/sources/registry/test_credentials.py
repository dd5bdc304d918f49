# SPDX-License-Identifier: Apache-2.0
"""Credentials: which file, which entry, which helper."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cwl_udss.errors import RegistryError, SettingsError
from cwl_udss.images.sources.registry.credentials import Credentials, find_credentials

HUB = "registry-1.docker.io"


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def find(home: Path, registry: str, repository: str = "a/b", **environment: str) -> Any:
    found = find_credentials(registry, repository, environment, home)
    return found and (found.username, found.password)


def test_none(tmp_path: Path) -> None:
    assert find(tmp_path, "quay.io") is None


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("quay.io", "quay.io"),
        ("quay.io", "quay.io/a"),
        ("quay.io", "quay.io/a/b"),
        ("quay.io", "https://quay.io"),
        ("quay.io", "https://quay.io/v2/"),
        ("host:5000", "host:5000"),
        (HUB, "https://index.docker.io/v1/"),
        (HUB, "docker.io"),
    ],
)
def test_keys(tmp_path: Path, registry: str, key: str) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {key: auth("mia:pass:word")}})
    assert find(tmp_path, registry) == ("mia", "pass:word")
    assert find(tmp_path, "other.io") is None


def test_the_most_specific_wins(tmp_path: Path) -> None:
    entries = {"quay.io": auth("all:x"), "quay.io/a": auth("a:x"), "quay.io/a/b": auth("b:x")}
    write(tmp_path / ".config/containers/auth.json", {"auths": entries})
    assert find(tmp_path, "quay.io", "a/b") == ("b", "x")
    assert find(tmp_path, "quay.io", "a/c") == ("a", "x")
    assert find(tmp_path, "quay.io", "ab") == ("all", "x")


def test_files_in_order(tmp_path: Path) -> None:
    places = {
        "docker": tmp_path / ".docker/config.json",
        "config": tmp_path / ".config/containers/auth.json",
        "runtime": tmp_path / "run/containers/auth.json",
        "chosen": tmp_path / "chosen.json",
    }
    environment: dict[str, str] = {}
    for user, path in places.items():
        write(path, {"auths": {"quay.io": auth(f"{user}:x")}})
        if user == "runtime":
            environment["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
        if user == "chosen":
            environment["REGISTRY_AUTH_FILE"] = str(path)
        assert find(tmp_path, "quay.io", **environment) == (user, "x")


def test_docker_config_moves(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/config.json", {"auths": {"quay.io": auth("mia:x")}})
    assert find(tmp_path, "quay.io", DOCKER_CONFIG=str(tmp_path / "elsewhere")) == ("mia", "x")


def test_an_identity_token(tmp_path: Path) -> None:
    entry = {**auth("mia:"), "identitytoken": "long"}
    write(tmp_path / ".docker/config.json", {"auths": {"quay.io": entry}})
    found = find_credentials("quay.io", "a", {}, tmp_path)
    assert found is not None
    assert found.identity_token == "long"
    assert "long" not in repr(found)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nread server\ncase $server in\n"
        """*quay.io) echo '{"Username": "mia", "Secret": "helped"}';;\n"""
        """*token.io) echo '{"Username": "<token>", "Secret": "t"}';;\n"""
        """*broken.io) echo "no keyring"; exit 1;;\n"""
        """*noise.io) echo "{";;\n"""
        """*) echo "credentials not found in native keychain"; exit 1;;\nesac\n"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def test_helpers(helper: Path) -> None:
    write(helper / ".docker/config.json", {"credHelpers": {"quay.io": "test"}})
    assert find(helper, "quay.io") == ("mia", "helped")
    write(helper / ".docker/config.json", {"credsStore": "test", "auths": {"quay.io": {}}})
    assert find(helper, "quay.io") == ("mia", "helped")
    assert find(helper, "unknown.io") is None
    found = find_credentials("token.io", "a", {}, helper)
    assert found is not None
    assert found.identity_token == "t"


@pytest.mark.parametrize("registry", ["broken.io", "noise.io"])
def test_a_helper_that_fails_is_named(helper: Path, registry: str) -> None:
    write(helper / ".docker/config.json", {"credsStore": "test"})
    with pytest.raises(RegistryError, match="docker-credential-test"):
        find(helper, registry)


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "nowhere"})
    with pytest.raises(RegistryError, match="docker-credential-nowhere does not work"):
        find(tmp_path, "quay.io")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auths": 3}', '{"auths": {"quay.io": {"auth": "€"}}}']
)
def test_a_malformed_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(SettingsError, match="malformed") as raised:
        find(tmp_path, "quay.io")
    assert str(path) in str(raised.value)


def test_a_chosen_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REGISTRY_AUTH_FILE"):
        find(tmp_path, "quay.io", REGISTRY_AUTH_FILE="/nowhere")


def test_secrets_are_not_shown() -> None:
    assert "geheim" not in repr(Credentials(username="mia", password="geheim"))
