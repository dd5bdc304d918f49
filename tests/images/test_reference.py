# SPDX-License-Identifier: Apache-2.0
"""Image references, as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss.errors import InvalidReference
from cwl_udss.images.reference import parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("debian", "", "debian", "latest", None),
        ("debian:12", "", "debian", "12", None),
        ("biocontainers/bwa:1", "", "biocontainers/bwa", "1", None),
        ("docker.io/debian", "docker.io", "library/debian", "latest", None),
        ("index.docker.io/debian", "docker.io", "library/debian", "latest", None),
        ("docker.io/a/b:c", "docker.io", "a/b", "c", None),
        (
            "quay.io/biocontainers/samtools:1.16.1--h6899075_1",
            "quay.io",
            "biocontainers/samtools",
            "1.16.1--h6899075_1",
            None,
        ),
        ("localhost/x", "localhost", "x", "latest", None),
        ("localhost:5000/x", "localhost:5000", "x", "latest", None),
        ("host:5000/name", "host:5000", "name", "latest", None),
        ("[::1]:5000/x:t", "[::1]:5000", "x", "t", None),
        (f"host:5000/name@sha256:{HEX}", "host:5000", "name", None, f"sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", "", "debian", "12", f"sha256:{HEX}"),
        ("docker://quay.io/a/b:c", "quay.io", "a/b", "c", None),
        ("DOCKER://quay.io/a/b:c", "quay.io", "a/b", "c", None),
        ("oras://quay.io/a/b:c", "quay.io", "a/b", "c", None),
        ("oras://localhost:5000/b", "localhost:5000", "b", "latest", None),
        (f"oras://ghcr.io/a/b@sha256:{HEX}", "ghcr.io", "a/b", None, f"sha256:{HEX}"),
        ("oci:latest", "", "oci", "latest", None),
        ("dir:5000/x", "dir:5000", "x", "latest", None),
        ("sif:1", "", "sif", "1", None),
        ("Host/x", "Host", "x", "latest", None),
        ("a/b/c/d", "", "a/b/c/d", "latest", None),
        ("a__b/c--d.e_f", "", "a__b/c--d.e_f", "latest", None),
    ],
)
def test_parts(text: str, registry: str, repository: str, tag: str, digest: str | None) -> None:
    reference = parse_reference(text)
    assert (reference.registry, reference.repository) == (registry, repository)
    assert (reference.tag, reference.digest) == (tag, digest)
    assert parse_reference(str(reference)) == reference
    assert reference.identifier == (digest or tag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no name"),
        (
            "library://a/b:1",
            "Singularity's own library: get it as a file (apptainer pull FILE.sif library://a/b:1)",
        ),
        ("shub://a/b", "Singularity Hub, which has ended: find it in another registry"),
        ("https://a.example/b.tar", "is a URL: name an image as docker pull takes it"),
        ("docker-archive:a.tar", "names a file or a directory: "),
        ("oci-archive://a.tar", "names a file or a directory: "),
        ("oci:/a:b", "names a file or a directory: "),
        ("containers-storage:a:1", "that podman has: name it as docker pull does"),
        ("oras://", "no name"),
        ("docker-daemon:a:1", "some machine: name it as docker pull does"),
        ("docker://", "no name"),
        ("Debian", "'Debian' has upper-case letters: write 'debian'"),
        ("library/Debian", "'Debian' has upper-case letters"),
        ("debian:", "'' is no tag"),
        ("debian:a b", "'a b' is no tag"),
        ("debian:-x", "'-x' is no tag"),
        (f"debian:{'x' * 129}", "is no tag"),
        ("debian@sha256:abc", "'sha256:abc' is no digest"),
        ("debian@", "'' is no digest"),
        ("debian@md5:d41d8cd98f00b204e9800998ecf8427e", "is no digest"),
        ("a//b", "'' is no part"),
        ("/a", "'' is no part"),
        ("a/", "'' is no part"),
        ("a.-b", "is no part"),
        ("../../etc/passwd", "'..' is no part"),
        ("a b", "is no part"),
        (
            "ftp://quay.io/a/b",
            "begins with ftp://, which nothing here understands: get it as a file",
        ),
        ("s3://bucket/a.sif", "begins with s3://"),
        ("x" * 300, "more than 255"),
        ("-x", "is no part"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidReference) as raised:
        parse_reference(text)
    assert message in str(raised.value)


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        assert "\n" not in str(error)
        return
    assert parse_reference(str(reference)) == reference
