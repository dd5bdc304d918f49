# SPDX-License-Identifier: Apache-2.0
"""registries.conf: which names stand for what, and which servers are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_udss.errors import ImageError, SettingsError
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.sources.registry.registries import Registries, is_loopback, load_registries

DIGEST = "sha256:" + "0" * 64


def load(tmp_path: Path, content: str = "", **environment: str) -> Registries:
    path = tmp_path / "registries.conf"
    path.write_text(content)
    variables = {"CONTAINERS_REGISTRIES_CONF": str(path), **environment}
    return load_registries(variables, tmp_path / "home", tmp_path / "etc")


def servers(registries: Registries, text: str) -> list[str]:
    (reference,) = registries.qualify(parse_reference(text))
    return [
        f"{endpoint.registry}/{endpoint.repository}{' insecure' if endpoint.insecure else ''}"
        for endpoint in registries.endpoints(reference)
    ]


def test_without_configuration_it_is_docker(tmp_path: Path) -> None:
    registries = load_registries({}, tmp_path, tmp_path)
    assert servers(registries, "debian") == ["registry-1.docker.io/library/debian"]
    assert servers(registries, "a/b:c") == ["registry-1.docker.io/a/b"]
    assert servers(registries, "quay.io/a/b") == ["quay.io/a/b"]
    assert servers(registries, "localhost:5000/a") == ["localhost:5000/a insecure"]


def test_search_registries_in_order(tmp_path: Path) -> None:
    registries = load(tmp_path, 'unqualified-search-registries = ["quay.io", "docker.io"]')
    assert [str(name) for name in registries.qualify(parse_reference("bwa:1"))] == [
        "quay.io/bwa:1",
        "docker.io/library/bwa:1",
    ]


def test_aliases_come_before_the_search(tmp_path: Path) -> None:
    registries = load(
        tmp_path,
        'unqualified-search-registries = ["quay.io"]\n'
        '[aliases]\n"bwa" = "quay.io/biocontainers/bwa"\n"debian" = "docker.io/debian"\n',
    )
    assert [str(n) for n in registries.qualify(parse_reference(f"bwa@{DIGEST}"))] == [
        f"quay.io/biocontainers/bwa@{DIGEST}"
    ]
    assert [str(n) for n in registries.qualify(parse_reference("debian:12"))] == [
        "docker.io/library/debian:12"
    ]


MIRRORS = """
[[registry]]
prefix = "quay.io"
location = "quay.io"
[[registry.mirror]]
location = "mirror.site:5000/quay"
insecure = true
[[registry.mirror]]
location = "second.site"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "quay.io/biocontainers"
location = "biocontainers.site/all"
mirror-by-digest-only = true
[[registry.mirror]]
location = "exact.site"
[[registry]]
prefix = "*.example.com"
insecure = true
[[registry]]
prefix = "bad.org"
blocked = true
[[registry]]
location = "plain.org"
insecure = true
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/a/b", ["mirror.site:5000/quay/a/b insecure", "quay.io/a/b"]),
        (
            f"quay.io/a/b@{DIGEST}",
            ["mirror.site:5000/quay/a/b insecure", "second.site/a/b", "quay.io/a/b"],
        ),
        ("quay.io/biocontainers/bwa:1", ["biocontainers.site/all/bwa"]),
        (
            f"quay.io/biocontainers/bwa@{DIGEST}",
            ["exact.site/bwa", "biocontainers.site/all/bwa"],
        ),
        (
            "quay.io/biocontainers-x/y",
            ["mirror.site:5000/quay/biocontainers-x/y insecure", "quay.io/biocontainers-x/y"],
        ),
        ("a.example.com/x", ["a.example.com/x insecure"]),
        ("a.b.example.com/x", ["a.b.example.com/x insecure"]),
        ("example.com/x", ["example.com/x"]),
        ("plain.org/x", ["plain.org/x insecure"]),
    ],
)
def test_servers(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert servers(load(tmp_path, MIRRORS), text) == expected


def test_a_blocked_registry(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"blocks bad\.org"):
        servers(load(tmp_path, MIRRORS), "bad.org/x")


def test_drop_ins_override_in_the_order_of_their_names(tmp_path: Path) -> None:
    directory = tmp_path / "etc/registries.conf.d"
    directory.mkdir(parents=True)
    (directory / "20.conf").write_text('[[registry]]\nprefix = "a.org"\nlocation = "twenty.org"\n')
    (directory / "10.conf").write_text(
        '[[registry]]\nprefix = "a.org"\nlocation = "ten.org"\n[aliases]\nx = "a.org/x"\n'
    )
    (directory / "30.txt").write_text("not read")
    registries = load(tmp_path, '[aliases]\ny = "a.org/y"\n')
    assert servers(registries, "a.org/x") == ["twenty.org/x"]
    assert servers(registries, "x") == ["twenty.org/x"]
    assert servers(registries, "y") == ["twenty.org/y"]


def test_a_users_file_replaces_the_systems(tmp_path: Path) -> None:
    for place, target in (("etc", "system.org"), ("home/.config/containers", "user.org")):
        directory = tmp_path / place
        directory.mkdir(parents=True)
        (directory / "registries.conf").write_text(f'unqualified-search-registries = ["{target}"]')
    registries = load_registries({}, tmp_path / "home", tmp_path / "etc")
    assert registries.search == ("user.org",)
    assert load_registries({}, tmp_path / "none", tmp_path / "etc").search == ("system.org",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[registries.search]\nregistries = []", "version 1"),
        ("registry = 3", "registries.conf"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ("x =", "not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        load(tmp_path, content)
    assert str(tmp_path / "registries.conf") in str(raised.value)


def test_a_chosen_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no file"):
        load_registries({"CONTAINERS_REGISTRIES_CONF": "/nowhere"}, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.8.9.1:80", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("10.0.0.1:5000", False),
        ("[fe80::1]", False),
    ],
)
def test_loopback(registry: str, expected: bool) -> None:
    assert is_loopback(registry) == expected
