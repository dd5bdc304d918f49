# SPDX-License-Identifier: Apache-2.0
"""Images built from Dockerfiles, by an ordinary user."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from needs import need
from node_images import node
from stand_ins import RELEASE

from cwl_udss.errors import ImageError
from cwl_udss.images.dockerfiles.build import build_image
from cwl_udss.images.pull import Images, When
from cwl_udss.images.request import ImageRequest, RequestedImages
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap


@pytest.fixture(scope="module")
def base(busybox_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a root filesystem with nothing but busybox."""
    path = tmp_path_factory.mktemp("base") / "base.tar"
    applets = subprocess.run(
        [busybox_root / "bin/busybox", "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    with tarfile.open(path, "w") as archive:
        archive.add(busybox_root / "bin/busybox", "bin/busybox")
        for applet in set(applets) - {"busybox"}:
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(member)
    return path


@pytest.fixture(params=["overlay", "copy"])
def runtime(request: pytest.FixtureRequest) -> Bubblewrap:
    found = bundled_bubblewrap()
    if request.param == "copy":
        return replace(found, options=found.options - {"--overlay"})
    return found


Build = Callable[[str], StoredImage]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def build(
    base: Path, runtime: Bubblewrap, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Build:
    if "--overlay" not in runtime.options:
        monkeypatch.setattr("cwl_udss.images.dockerfiles.roots.bundled_bubblewrap", lambda: runtime)
    images = Images(store, {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}, tmp_path)
    requested = RequestedImages(images, store, node(store), lambda: runtime, When.MISSING)
    requested.get(ImageRequest(import_=str(base), image_id="base"))

    def build(dockerfile: str) -> StoredImage:
        return build_image(
            dockerfile,
            images=images,
            store=store,
            node=node(store),
            runtime=lambda: runtime,
            name="test",
            when=When.MISSING,
        )

    return build


def read(image: StoredImage, path: str) -> str:
    return (image.path / path).read_text()


def test_run(build: Build) -> None:
    image = build(
        """FROM base
        ENV WHO=world
        ARG GREETING="hello there"
        WORKDIR /work
        RUN echo "$GREETING, $WHO" > said; id -u > id; rm /bin/vi; mkdir /new; pwd > /new/pwd
        RUN ["sh", "-c", "cat said id > both"]
        SHELL ["/bin/ash", "-ec"]
        RUN false || echo $0 > shell
        """
    )
    assert read(image, "work/both") == "hello there, world\n0\n"
    assert read(image, "new/pwd") == "/work\n"
    assert not (image.path / "bin/vi").is_symlink()
    assert (image.path / "bin/sh").is_symlink()
    assert read(image, "work/shell") == "/bin/ash\n"
    assert image.config.environment[1:] == ("WHO=world",)
    assert image.config.working_directory == "/work"


def test_scripts(build: Build) -> None:
    image = build(
        "FROM base\n"
        "RUN <<EOF\necho one > /one\ncat /one > /two\nEOF\n"
        "RUN cat <<'A' > /three\n$three\nA\n"
        'RUN <<X\n#!/bin/awk -f\nBEGIN { print 4 > "/four" }\nX\n'
    )
    assert [read(image, name) for name in ("two", "three", "four")] == ["one\n", "$three\n", "4\n"]


def test_copy(build: Build) -> None:
    image = build(
        """FROM base AS first
        RUN mkdir -p /d/e && echo 1 > /d/1 && echo 2 > /d/e/2 && ln -s 1 /d/link && ln /d/1 /d/hard
        RUN ln -s /etc /away && mkdir -p /etc
        FROM base
        ENV NAME=x
        COPY --from=first /d /copy
        COPY --from=0 /d/1 /d/e/2 /files/
        COPY --from=first /d/? renamed
        COPY --from=first --chmod=700 /d/1 /away/one
        COPY <<A <<"B" /here/
$NAME 'quoted'
A
$NAME
B
        """
    )
    assert read(image, "copy/e/2") == "2\n"
    assert os.readlink(image.path / "copy/link") == "1"
    assert (image.path / "copy/hard").samefile(image.path / "copy/1")
    assert sorted(os.listdir(image.path / "files")) == ["1", "2"]
    assert sorted(os.listdir(image.path / "renamed")) in (["2", "link"], ["1", "2"])
    assert (image.path / "away/one").stat().st_mode & 0o777 == 0o700
    assert read(image, "here/A") == "x 'quoted'\n"
    assert read(image, "here/B") == "$NAME\n"


def test_configuration(build: Build) -> None:
    image = build(
        """FROM base AS one
        CMD ["inherited"]
        FROM one
        ENV A=1 B="x y"
        ENV A=${A}2
        LABEL l=m
        USER someone
        EXPOSE 80
        VOLUME /data
        HEALTHCHECK --interval=5s CMD true
        STOPSIGNAL 9
        ENTRYPOINT ["program", "argument"]
        """
    )
    assert image.config.environment[1:] == ("A=12", "B=x y")
    assert (image.config.entrypoint, image.config.command) == (("program", "argument"), ())
    assert image.config.user == "someone"
    shell = build("FROM base\nENTRYPOINT run this\nCMD that")
    assert shell.config.entrypoint == ("/bin/sh", "-c", "run this")
    assert shell.config.command == ("/bin/sh", "-c", "that")


def test_from_scratch(build: Build) -> None:
    image = build("FROM base AS b\nFROM scratch\nCOPY --from=b /bin/busybox /bin/sh\nRUN exit 0")
    assert sorted(os.listdir(image.path / "bin")) == ["sh"]


def test_what_is_built_is_not_built_again(
    build: Build, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cwl_udss")
    text = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /first\nRUN echo 2 > /second\n"
    image = build(text)
    assert caplog.text.count(": RUN") == 2
    assert build(text).path == image.path
    assert caplog.text.count(": RUN") == 2
    changed = build(text.replace("echo 2", "echo 3"))
    assert caplog.text.count(": RUN") == 3
    assert read(changed, "first") == read(image, "first")
    assert read(changed, "second") == "3\n"
    assert build(f"# a comment\n{text}").path == image.path
    assert list((store.path / "work").iterdir()) == []


def test_many_instructions(build: Build) -> None:
    lines = [f"RUN echo {number} >> /all" for number in range(20)]
    image = build("FROM base\n" + "\n".join(lines))
    assert len(read(image, "all").splitlines()) == 20


def test_one_user_believes_to_be_root(build: Build) -> None:
    image = build(
        """FROM base
        RUN touch /f && chown 1:2 /f && chgrp 3 /f && mknod /device c 1 3 && mkfifo /pipe
        RUN chmod 0 /f && echo written > /f && chmod 4755 /bin/busybox
        RUN mkdir /closed && touch /closed/x && chmod 0 /closed && rm /closed/x
        """
    )
    assert read(image, "f") == "written\n"
    assert (image.path / "bin/busybox").stat().st_mode & 0o7000 == 0
    assert not (image.path / "pipe").exists()
    assert (image.path / "closed").stat().st_mode & 0o700 == 0o700


def test_a_build_sees_nothing_of_the_host(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    image = build(
        f"""FROM base
        RUN ls {tmp_path} > /listing 2>&1; ps > /processes; env > /environment; true
        RUN mount -t tmpfs none /tmp 2> /mount; true
        """
    )
    assert "secret" not in read(image, "listing")
    assert len(read(image, "processes").splitlines()) < 6
    assert "PYTEST" not in read(image, "environment")
    assert "denied" in read(image, "mount") or "permitted" in read(image, "mount")


def test_links_of_the_image_lead_nowhere_else(build: Build, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    image = build(
        f"""FROM base
        RUN mkdir -p {tmp_path} && ln -s {victim} /out && ln -s {victim} /etc/x && rm /etc/hosts; \
            ln -s {victim}/hosts /etc/hosts; true
        WORKDIR /out/made
        COPY <<A /out/file
content
A
        RUN echo x > /out/run
        """
    )
    assert list(victim.iterdir()) == []
    assert read(image, f".{victim}/run") == "x\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM base\nRUN echo no; exit 3", "Dockerfile line 2: exit code 3: no"),
        ('FROM base\n\nRUN ["none"]', "Dockerfile line 3: 'none' cannot be executed"),
        ("FROM base\nCOPY file /x", "line 2: file would come from a build context"),
        ("FROM base\nCOPY --from=base /none /x", "line 2: COPY finds nothing there: /none"),
        ("FROM base\nRUN --network=none true", "line 2: RUN --network=none is not supported"),
        ("FROM --platform=plan9/vax base", "line 1: --platform=plan9/vax is not possible"),
        ("FROM 127.0.0.1:1/x", "Dockerfile line 1: 127.0.0.1:1 does not answer"),
        ("FROM base\nENV A=${B", "line 2: .* is not closed"),
        ("FROM base\nADD http://127.0.0.1:1/x /x", "line 2: .*cannot be downloaded"),
        ("FROM base\nRUN true\nRUN false", "Dockerfile line 3: exit code 1"),
    ],
)
def test_mistakes(build: Build, store: Store, text: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        build(text)
    assert list((store.path / "work").iterdir()) == []


def test_processes_end_with_their_run(build: Build) -> None:
    image = build("FROM base\nRUN (sleep 1; echo late > /late) & echo here > /here")
    assert (image.path / "here").exists()
    assert not (image.path / "late").exists()


def test_a_signal_ends_a_build(build: Build, store: Store) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            build("FROM base\nRUN sleep 40")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 20
    assert list((store.path / "work").iterdir()) == []


def _mirror_or_skip() -> None:
    try:
        urllib.request.urlopen("http://deb.debian.org/debian/", timeout=20).close()
    except (urllib.error.URLError, TimeoutError) as error:
        need(f"needs a Debian mirror: {error}")


def test_apt_installs_packages(store: Store, tmp_path: Path) -> None:
    """In a Debian made by mmdebstrap: apt changes users, dpkg owners, scripts add users."""
    for program in ("mmdebstrap", "fakechroot"):
        if shutil.which(program) is None:
            need(f"needs the Debian package {program}")
    _mirror_or_skip()
    mode = "root" if os.geteuid() == 0 else "fakechroot"
    tar = tmp_path / "debian.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", f"--mode={mode}", "--variant=apt", RELEASE, tar], check=True
    )
    images = Images(store, {"CONTAINERS_REGISTRIES_CONF_DIR": str(tmp_path / "none")}, tmp_path)
    runtime = bundled_bubblewrap()
    requested = RequestedImages(images, store, node(store), lambda: runtime, When.MISSING)
    requested.get(ImageRequest(import_=str(tar), image_id="debian-with-apt"))
    image = requested.get(
        ImageRequest(
            file="""FROM debian-with-apt
            RUN apt-get update && apt-get install -y --no-install-recommends hello openssh-client
            RUN adduser --system --group someone && chown -R someone /srv && \
                install -o someone -g someone -m 4755 /bin/true /usr/bin/mine
            """
        )
    )
    assert (image.path / "usr/bin/hello").exists()
    assert re.search("^someone:", read(image, "etc/passwd"), re.MULTILINE)
    assert (image.path / "usr/bin/mine").stat().st_uid == os.geteuid()
