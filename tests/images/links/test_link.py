# SPDX-License-Identifier: Apache-2.0
"""What other programs get of the store's images, and how these programs run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command
from foreign.sid import Sid
from foreign.workshop import CONFIG, Workshop

from cwl_udss.errors import ImageError
from cwl_udss.images.convert import convert_in_turn
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.formats.sif.configuration import sif_configuration
from cwl_udss.images.formats.sif.reader import read_sif
from cwl_udss.images.libraries.libraries import Libraries
from cwl_udss.images.libraries.naming import NAMINGS, Kind
from cwl_udss.images.libraries.place import LibraryPlace
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.images.links.link import check_linkable, link_image, spellings
from cwl_udss.images.manifests.manifest import ImageConfig, parse_config, this_platform
from cwl_udss.images.reference import parse_reference
from cwl_udss.images.sources.archives import read_image_file
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

HERE = this_platform()
NAME = "tests/configured:1"


@pytest.fixture(scope="module", params=ImageFormat, ids=lambda format: format.value)
def store(
    request: pytest.FixtureRequest, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store with an image that says all that a configuration can say."""
    store = Store(tmp_path_factory.mktemp("store") / "images", format=request.param)
    archive = workshop.archive()
    with store.work() as work:
        source = read_image_file("load", archive, str(archive), HERE, work)
        image = convert_in_turn(source, store)
    store.remember(parse_reference(NAME).on("docker.io"), HERE, image.digest)
    yield store
    for image in store.images():
        store.remove(image)


def link(store: Store, directory: Path, naming: str, *, replaces: bool = False) -> list[Path]:
    [image] = store.images()
    [name] = image.references
    links = link_image(
        *(image, spellings(name), NAMINGS[naming], directory, store), replaces=replaces
    )
    return [linked.path for linked in links if linked.is_new]


@pytest.fixture
def sif(store: Store, tmp_path: Path) -> Path:
    return link(store, tmp_path / "linked", "cwltool")[0]


def test_apptainer_runs_it_as_docker_would(sid: Sid, sif: Path) -> None:
    def output(*words: str | Path, **variables: str) -> str:
        return sid.run("apptainer", *words, env=variables).stdout

    assert output("run", sif) == "the entry point two words last\n"
    assert output("run", sif, "other words", "$HOME") == "the entry point other words $HOME\n"
    environment = dict(
        line.partition("=")[::2] for line in output("exec", "--cleanenv", sif, "env").splitlines()
    )
    wanted = dict(entry.partition("=")[::2] for entry in CONFIG["Env"])
    # Apptainer adds the usual directories that are not in it.
    assert environment["PATH"].startswith(wanted["PATH"])
    assert {name: environment.get(name) for name in wanted} == {
        **wanted,
        "PATH": environment["PATH"],
    }
    assert environment["LD_LIBRARY_PATH"] == "/.singularity.d/libs"
    # What is given to it wins, but for PATH.
    given = {"APPTAINERENV_GREETING": "mine", "APPTAINERENV_PREPEND_PATH": "/mine"}
    said = output("exec", sif, "sh", "-c", 'echo "$GREETING" "$PATH"', **given)
    assert said.startswith(f"mine /mine:{wanted['PATH']}")


def test_apptainer_tells_what_it_is(sid: Sid, store: Store, sif: Path) -> None:
    [image] = store.images()
    labels = json.loads(sid.run("apptainer", "inspect", "--json", "--labels", sif).stdout)
    found = labels["data"]["attributes"]["labels"]
    assert found["org.example.label"] == "of the image"
    assert found["org.opencontainers.image.base.name"] == NAME
    assert found["org.opencontainers.image.base.digest"] == image.digest
    definition = sid.run("apptainer", "inspect", "--deffile", sif).stdout
    assert f"from: {NAME}" in definition
    listed = sid.run("siftool", "list", sif).stdout
    assert "Def.FILE" in listed and "JSON.Generic" in listed
    assert f"FS (Squashfs/*System/{HERE.architecture})" in listed
    config = sid.run("siftool", "dump", "2", sif).stdout
    assert json.loads(config) == CONFIG


def test_apptainer_makes_another_of_it(sid: Sid, sif: Path, tmp_path: Path) -> None:
    definition = tmp_path / "derived.def"
    definition.write_text(f"Bootstrap: localimage\nFrom: {sif}\n%environment\n  export NEW=1\n")
    sid.run("apptainer", "build", tmp_path / "derived.sif", definition)
    said = sid.run("apptainer", "exec", tmp_path / "derived.sif", "sh", "-c", "echo $NEW $GREETING")
    assert said.stdout == "1 hello world\n"


def test_we_run_it_as_docker_would(store: Store, sif: Path) -> None:
    """And know which image it is, though it is another program's file now."""
    [image] = store.images()
    config = parse_config(sif_configuration(read_sif(sif, str(sif))))
    assert meaning(config) == meaning(image.config)
    place = LibraryPlace(naming="cwltool", path=sif.parent)
    libraries = Libraries([place], (), Trust.DIGEST, store)
    found = libraries.find(NAME, HERE, only_by_digest=False)
    assert found is not None and (found.path, found.digest) == (sif, image.digest)


def meaning(config: ImageConfig) -> tuple[object, ...]:
    return (
        *(config.environment, config.entrypoint, config.command),
        *(config.working_directory, config.user, config.has_own_words),
    )


def test_the_same_image_gives_the_same_bytes(store: Store, sif: Path, tmp_path: Path) -> None:
    again = link(store, tmp_path / "again", "cwltool")[0]
    assert again.read_bytes() == sif.read_bytes()


def test_who_comes_first_stays(store: Store, tmp_path: Path) -> None:
    first, *others = link(store, tmp_path, "nextflow")
    assert first == tmp_path / "tests-configured-1.img"
    assert [path.readlink() for path in others] == [Path(first.name)]
    assert others == [tmp_path / "docker.io-tests-configured-1.img"]
    first.write_text("mine")
    assert link(store, tmp_path, "nextflow") == []
    assert first.read_text() == "mine"
    assert link(store, tmp_path, "nextflow", replaces=True) == [first, *others]
    assert first.stat().st_size > 4096
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in [first, *others]}


@pytest.mark.parametrize("naming", [rule.name for rule in NAMINGS.values()])
def test_what_is_linked_is_found_by_the_same_rule(
    store: Store, tmp_path: Path, naming: str
) -> None:
    rule = NAMINGS[naming]
    if rule.is_filled_by_others or rule.kind in (Kind.DIRECTORY, Kind.ARCHIVE):
        with pytest.raises(ImageError, match=f"^{naming} names .*: choose cwltool, nextflow"):
            check_linkable(rule)
        return
    check_linkable(rule)
    linked = link(store, tmp_path / "linked", naming)
    place = LibraryPlace(naming=naming, path=tmp_path / "linked")
    libraries = Libraries([place], (), Trust.NAME, store)
    found = libraries.find(NAME, HERE, only_by_digest=False)
    # Galaxy has BioContainers only.
    assert (found is None) == (linked == []) == naming.startswith("galaxy")


def test_enroot_is_told_as_it_tells_itself(
    store: Store, tmp_path: Path, workshop: Workshop
) -> None:
    from cwl_udss.images.formats.squashfs.lookup import read_file
    from cwl_udss.images.in_place.own_words import enroot_words

    [image] = store.images()
    made = link(store, tmp_path, "enroot")[0]
    assert made.name == "tests+configured+1.sqsh"
    texts = [(read_file(made, name) or b"").decode() for name in ("etc/rc", "etc/environment")]
    words = enroot_words(*texts)
    assert tuple(words["Env"]) == image.config.environment
    assert words["Entrypoint"] == CONFIG["Entrypoint"]
    assert words["Cmd"] == CONFIG["Cmd"]
    assert words["WorkingDir"] == CONFIG["WorkingDir"]
    assert workshop.sid.run("unsquashfs", "-stat", made).stdout.startswith("Found a valid SQUASHFS")


def test_cwltool_finds_it_itself(store: Store, tmp_path: Path) -> None:
    """With --singularity, and without pulling anything."""
    cache = tmp_path / "cache"
    [first, *_] = link(store, cache, "cwltool")
    program = tmp_path / "bin/singularity"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "apptainer version 1.4.5"\n')
    program.chmod(0o755)
    script = """if True:
        import sys
        from cwltool.singularity import SingularityCommandLineJob
        requirement = {"dockerPull": sys.argv[1]}
        assert SingularityCommandLineJob.get_image(requirement, False, "/tmp")
        print(requirement["dockerImageId"])
    """
    for name in (NAME, f"docker.io/{NAME}", f"docker://{NAME}"):
        ran = subprocess.run(
            [sys.executable, "-c", script, name],
            env={
                **os.environ,
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "CWL_SINGULARITY_CACHE": str(cache),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert os.path.realpath(ran.stdout.splitlines()[-1]) == str(first)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("docker.io/library/debian:12", ["debian:12", "docker.io/library/debian:12"]),
        (
            "docker.io/library/debian:latest",
            [
                *("debian:latest", "debian"),
                *("docker.io/library/debian:latest", "docker.io/library/debian"),
            ],
        ),
        ("docker.io/a/b:1", ["a/b:1", "docker.io/a/b:1"]),
        ("quay.io/a/b:1", ["quay.io/a/b:1"]),
        ("own name", ["own name"]),
    ],
)
def test_how_people_write_a_name(name: str, written: list[str]) -> None:
    assert list(spellings(name)) == written


def test_an_image_that_has_such_files_keeps_them(tmp_path: Path, sif: Path, sid: Sid) -> None:
    """What Apptainer has made comes into a store, and out of it again, as it was."""
    unpacked = tmp_path / "root"
    sid.run("apptainer", "build", "--sandbox", unpacked, sif)
    script = unpacked / ".singularity.d/env/90-environment.sh"
    script.write_text("export OWN=kept\n")
    archive = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", unpacked, "-cf", archive, "."], check=True)
    store = Store(tmp_path / "other", format=ImageFormat.DIRECTORY)
    with store.work() as work:
        source = read_image_file("import", archive, str(archive), HERE, work)
        image: StoredImage = convert_in_turn(source, store)
    store.remember(parse_reference("own:1").on("docker.io"), HERE, image.digest)
    made = link(store, tmp_path / "linked again", "cwltool")[0]
    said = sid.run("apptainer", "exec", made, "sh", "-c", "echo $OWN $GREETING").stdout
    assert said == "kept hello world\n"
    store.remove(image)


def test_the_command(run_command: Command, tmp_path: Path) -> None:
    name = "busybox:1.36"
    assert run_command("cwl-udss", "images", "pull", name).returncode == 0
    ran = run_command("cwl-udss", "images", "link", "out", "--naming", "nextflow", name)
    assert (ran.returncode, ran.stdout) == (0, "out/busybox-1.36.img\n")
    ran = run_command("cwl-udss", "images", "link", "--naming", "nextflow", "out", name)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "out/busybox-1.36.img is there already, and stays (see --force)\n"
    ran = run_command("cwl-udss", "images", "link", "out", name, "--naming", "galaxy")
    assert (ran.returncode, ran.stderr) == (1, f"{name} has no name by galaxy\n")
    ran = run_command("cwl-udss", "images", "link", "out", "--naming", "nexflow")
    assert ran.returncode == 2
    assert "did you mean 'nextflow'" in ran.stderr
    ran = run_command("cwl-udss", "images", "link", "out", "--naming", "osg")
    assert ran.returncode == 1
    assert ran.stderr.startswith("cwl-udss: osg names what the Open Science Grid keeps")
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.geteuid():
        ran = run_command("cwl-udss", "images", "link", "closed", "--naming", "enroot", name)
        assert ran.returncode == 1
        assert ran.stderr.startswith("cwl-udss: the image cannot be written: ")
    ran = run_command("cwl-udss", "images", "link", "out", "--naming", "enroot", "nobody/has:it")
    assert "there is no image 'nobody/has:it' in the store" in ran.stderr
