# SPDX-License-Identifier: Apache-2.0
"""The doors `podman build` and `docker build`: images of a Dockerfile and a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from doors.callers import Door

DOCKERFILE = """\
ARG BASE=nonesuch
FROM $BASE AS first
ARG VERSION=1
WORKDIR /app
COPY . .
COPY data/*.csv run.sh /data/
RUN echo $VERSION >/version
ENTRYPOINT ["/data/run.sh"]
FROM first AS second
RUN echo second >/second
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "a context"
    (made / "data").mkdir(parents=True)
    for name in ("1.csv", "2.csv", "large.bin"):
        (made / "data" / name).write_text(f"{name}\n")
    (made / "run.sh").write_text('#!/bin/sh\ncat /version "$@"\n')
    (made / "run.sh").chmod(0o755)
    (made / ".dockerignore").write_text("**/*.bin\n")
    (made / "Dockerfile").write_text(DOCKERFILE)
    return made


def test_an_image_has_what_its_directory_has(podman: Door, docker: Door, context: Path) -> None:
    arguments = ("--build-arg", "BASE=busybox", "--build-arg", "VERSION")
    built = podman(
        *("build", "-q", "-t", "mine:1", "--target", "first", *arguments, "."),
        cwd=context,
        variables={"VERSION": "7"},
    )
    assert (built.returncode, built.stderr) == (0, "")
    script = "ls -A /app /app/data /data; cat /version"
    done = podman("run", "--rm", "--entrypoint", "sh", "localhost/mine:1", "-c", script)
    listing = "/app: .dockerignore Dockerfile data run.sh /app/data: 1.csv 2.csv"
    assert done.stdout.split() == [*listing.split(), "/data:", "1.csv", "2.csv", "run.sh", "7"]

    (context / "data/1.csv").write_text("another\n")
    other = docker("build", "-q", *arguments[:2], str(context))
    ids = [done.stdout.strip() for done in (built, other)]
    assert ids[0] != ids[1].removeprefix("sha256:")
    said = [podman("run", "--rm", id, "/data/1.csv", "/second") for id in ids]
    assert [done.stdout for done in said] == ["7\n1.csv\n", "1\nanother\nsecond\n"]
    shown = [door("images", "mine").stdout.split()[6] for door in (podman, docker)]
    assert shown == ["localhost/mine", "mine"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-f", "nonesuch", "."), "failed to read dockerfile: open nonesuch"),
        (("nonesuch",), "path 'nonesuch' is no directory"),
        (("--target", "third", "--build-arg", "BASE=busybox", "."), "no stage third"),
        (("-f", "other", "."), "line 2: not all of nonesuch is in"),
        (("-f", "adding", "."), "line 2: ADD does not unpack archives"),
        (("-",), "line 2: run.sh would come from a build context, and there is none"),
    ],
)
def test_what_cannot_be_built_is_said(
    podman: Door, context: Path, arguments: tuple[str, ...], words: str
) -> None:
    (context / "other").write_text("FROM busybox\nCOPY nonesuch /\n")
    (context / "adding").write_text("FROM busybox\nADD made.tar /\n")
    (context / "made.tar").write_bytes(b"\0" * 10240)
    done = podman("build", *arguments, cwd=context, input="FROM busybox\nCOPY run.sh /\n")
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
