# SPDX-License-Identifier: Apache-2.0
"""`pull` and `build` leave one whole file at the place that was said, which needs nothing more."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apptainer_door import BUSYBOX, Door
from foreign.sid import Sid
from foreign.sifs import sandbox_directory, sif_of_archive, sif_of_definition
from foreign.workshop import Workshop
from web_server import Site, serve_site

from cwl_udss.doors.apptainer.files.image_files import file_name
from cwl_udss.images.formats.sif.reader import is_sif


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as site:
        yield site


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("docker://busybox", "busybox_latest.sif"),
        ("docker://quay.io/org/a-b:1.0--h_0", "a-b_1.0--h_0.sif"),
        ("docker://r.org:5000/a/b:1", "b_1.sif"),
        ("docker://org/x@sha256:0123", "x@sha256_0123.sif"),
        ("oras://ghcr.io/a/b", "b_latest.sif"),
        ("https://x.org/a/b.sif", "b.sif"),
        ("docker-archive:/a/b.tar", "b.tar_latest.sif"),
    ],
)
def test_what_a_file_is_called_that_nobody_names(source: str, name: str) -> None:
    assert file_name(source) == name


def test_a_pulled_file_is_the_whole_image(apptainer: Door, sid: Sid, tmp_path: Path) -> None:
    done = apptainer("pull", BUSYBOX)
    assert (done.returncode, done.stdout) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["busybox_1.36.sif"]
    path = tmp_path / "busybox_1.36.sif"
    assert is_sif(path)
    assert os.access(path, os.X_OK)
    said = sid.run("apptainer", "exec", path, "busybox", "echo", "by another").stdout
    assert said == "by another\n"


@pytest.mark.parametrize(
    ("arguments", "variables", "place"),
    [
        (("x.sif", BUSYBOX), {}, "x.sif"),
        (("--name", "x.sif", BUSYBOX), {}, "x.sif"),
        (("--name", "NAME.pulling.12345", BUSYBOX), {}, "NAME.pulling.12345"),
        (("--dir", "d", BUSYBOX), {}, "d/busybox_1.36.sif"),
        (("--dir", "d", "--name", "x.sif", BUSYBOX), {}, "d/x.sif"),
        (("--name=a.simg.tmp", BUSYBOX), {"SINGULARITY_PULLFOLDER": "d"}, "d/a.simg.tmp"),
        (("--name=x.sif", BUSYBOX), {"APPTAINER_PULLDIR": "d"}, "d/x.sif"),
        ((BUSYBOX, "--disable-cache", "--force"), {}, "busybox_1.36.sif"),
        (("--name", "docker:/org/x:1", BUSYBOX), {}, "docker:/org/x:1"),
    ],
)
def test_where_a_file_goes(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    place: str,
    apptainer: Door,
    tmp_path: Path,
) -> None:
    done = apptainer("pull", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / place]


def test_a_file_that_is_there_stays_unless_it_is_to_go(apptainer: Door, tmp_path: Path) -> None:
    path = tmp_path / "x.sif"
    path.write_text("mine")
    done = apptainer("pull", "--name", "x.sif", BUSYBOX)
    assert done.returncode == 255
    assert done.stderr == 'FATAL:   Image file already exists: "x.sif" - will not overwrite\n'
    done = apptainer("build", "x.sif", BUSYBOX)
    assert (done.returncode, "already exists" in done.stderr) == (255, True)
    assert path.read_text() == "mine"
    assert apptainer("pull", "-F", "--name", "x.sif", BUSYBOX).returncode == 0
    assert is_sif(path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("library://a/b/c", "library"),
        ("shub://a/b", "has ended"),
        ("docker-daemon://a", "Docker on some machine"),
        ("foo://bar", "Unsupported transport type: foo"),
        ("busybox", "No transport type URI supplied"),
        ("docker://{registry}/docker.io/library/busybox:nope", "manifest unknown"),
        ("docker://{registry}/docker.io/library/no-such-image", "manifest unknown"),
        ("docker://no-such-host.invalid/a", "no such host"),
        ("docker-archive:/nope.tar", "/nope.tar: No such file"),
    ],
)
def test_what_cannot_be_pulled(
    source: str, said: str, apptainer: Door, registry: str, tmp_path: Path
) -> None:
    done = apptainer("pull", "--name", "x.sif", source.format(registry=registry))
    assert done.returncode == 255
    assert done.stderr.startswith("FATAL:   ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_asked_where_the_network_may_not_be_used(
    apptainer: Door, tmp_path: Path
) -> None:
    empty = {"CWL_UDSS_STORE": str(tmp_path / "store"), "CWL_UDSS_OFFLINE": "1"}
    for source in (BUSYBOX, "https://localhost/x.sif"):
        done = apptainer("pull", "--name", "x.sif", source, **empty)
        assert done.returncode == 255
        assert "store" in done.stderr or "network" in done.stderr
    assert not (tmp_path / "x.sif").exists()


def test_a_file_of_ours_is_the_stores_image_wherever_it_is(apptainer: Door, tmp_path: Path) -> None:
    """Neither mounted nor unpacked: it is the directory of the store that it was made of."""
    assert apptainer("pull", "--name", "x.pulling.1", BUSYBOX).returncode == 0
    (tmp_path / "x.pulling.1").rename(tmp_path / "x.img")
    (tmp_path / "link").symlink_to("x.img")
    for name in ("x.img", "./link"):
        done = apptainer("exec", name, "sh", "-c", "cat /proc/self/mountinfo; echo $APPTAINER_NAME")
        *mounts, said = done.stdout.splitlines()
        assert (done.returncode, said) == (0, name.removeprefix("./"))
        assert not any("squashfuse" in mount for mount in mounts)
        assert not (tmp_path / "unpacked").exists()


def test_a_file_of_ours_that_was_changed_is_what_it_is_now(
    apptainer: Door, workshop: Workshop, tmp_path: Path
) -> None:
    assert apptainer("pull", "x.sif", BUSYBOX).returncode == 0
    (tmp_path / "x.sif").unlink()
    (tmp_path / "x.sif").write_bytes(sif_of_definition(workshop).read_bytes())
    assert apptainer("run", "x.sif", "now").stdout == "runs with /opt/base/data: now\n"


def test_a_file_of_ours_runs_where_the_store_has_gone(apptainer: Door, tmp_path: Path) -> None:
    assert apptainer("pull", "x.sif", BUSYBOX).returncode == 0
    other = {"CWL_UDSS_STORE": str(tmp_path / "other"), "CWL_UDSS_OFFLINE": "1"}
    assert apptainer("exec", "x.sif", "echo", "whole", **other).stdout == "whole\n"


@pytest.mark.parametrize("prefix", ["docker-archive:", "docker-archive://"])
def test_an_archive_is_built_and_runs_as_docker_has_it(
    prefix: str, apptainer: Door, sid: Sid, workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "x.sif"
    done = apptainer("build", path, f"{prefix}{workshop.archive()}")
    assert done.returncode == 0, done.stderr
    assert f"Build complete: {path}" in done.stderr
    assert apptainer("run", path, "a  b").stdout == "the entry point a  b\n"
    assert sid.run("apptainer", "run", path, "a  b").stdout == "the entry point a  b\n"
    assert apptainer("run", path).stdout == "the entry point two words last\n"


def test_a_sandbox_directory_is_built_with_its_own_scripts(
    apptainer: Door, sid: Sid, workshop: Workshop, tmp_path: Path
) -> None:
    done = apptainer("build", "--fakeroot", "x.sif", sandbox_directory(workshop))
    assert done.returncode == 0, done.stderr
    for run in (apptainer, lambda *words: sid.run("apptainer", *words, cwd=tmp_path)):
        said = run("exec", tmp_path / "x.sif", "sh", "-c", "echo $GREETING").stdout
        assert said == "hello world\n"
        assert run("run", tmp_path / "x.sif", "a").stdout == "the entry point a\n"


def test_a_sif_file_is_built_from_another_as_it_is(
    apptainer: Door, workshop: Workshop, tmp_path: Path
) -> None:
    source = sif_of_definition(workshop)
    assert apptainer("build", "x.sif", source).returncode == 0
    assert (tmp_path / "x.sif").read_bytes() == source.read_bytes()


def test_what_cannot_be_built(apptainer: Door, tmp_path: Path) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\nFrom: busybox\n\n%post\n    true\n")
    done = apptainer("build", "x.sif", "x.def")
    assert (done.returncode, "definition files" in done.stderr) == (255, True)
    (tmp_path / "text").write_text("nothing of that kind")
    assert apptainer("build", "x.sif", "text").returncode == 255
    done = apptainer("build", "x.sif", "nope")
    assert "Unable to build from nope: unable to open file nope" in done.stderr
    assert not (tmp_path / "x.sif").exists()


def test_a_file_at_a_web_server_comes_as_it_is(
    apptainer: Door, site: Site, workshop: Workshop, tmp_path: Path
) -> None:
    source = sif_of_archive(workshop)
    done = apptainer("pull", site.add(f"/a/{source.name}", source.read_bytes()))
    assert done.returncode == 0, done.stderr
    done = apptainer("pull", site.add("/a/busybox.tar", workshop.archive().read_bytes()))
    assert (done.returncode, "no SIF or SquashFS file" in done.stderr) == (255, True)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    assert (tmp_path / source.name).read_bytes() == source.read_bytes()


def test_a_sif_file_at_a_registry(
    apptainer: Door, sid: Sid, registry_of_sifs: str, tmp_path: Path
) -> None:
    conf = tmp_path / "conf" / "registries.conf"
    conf.parent.mkdir()
    conf.write_text(f'[[registry]]\nlocation = "{registry_of_sifs}"\ninsecure = true\n')
    source = f"oras://{registry_of_sifs}/tests/busybox:apptainer"
    done = apptainer("pull", "x.sif", source, CONTAINERS_REGISTRIES_CONF=str(conf))
    assert done.returncode == 0, done.stderr
    assert sid.run("apptainer", "run", tmp_path / "x.sif", "a").stdout == "the entry point a\n"
    assert apptainer("run", "x.sif", "a").stdout == "the entry point a\n"


def test_many_pull_the_same_at_once(
    doors: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each to a name of its own, and all to one."""
    names = [f"{number}.sif" for number in range(4)] + ["one.sif"] * 4
    pulls = [
        subprocess.Popen(
            [doors / "apptainer", "pull", "--force", "--name", name, BUSYBOX],
            cwd=tmp_path,
            env={**environment, "CWL_UDSS_STORE": str(tmp_path / "store")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for pull in pulls:
        _, said = pull.communicate(timeout=120)
        assert pull.returncode == 0, said
    assert {path.name for path in tmp_path.iterdir()} == {*names, "store"}
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_what_shpc_asks_of_a_file(apptainer: Door, workshop: Workshop) -> None:
    path = sif_of_definition(workshop)
    done = apptainer("inspect", "-e", "-d", "-l", "-r", "-H", "-t", "--json", path)
    attributes = json.loads(done.stdout)["data"]["attributes"]
    assert attributes["labels"]["Maintainer"] == "somebody"
    assert attributes["runscript"].endswith('echo "runs with $DATA:" "$@"')
    assert "helpfile" not in attributes
