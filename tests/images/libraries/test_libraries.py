# SPDX-License-Identifier: Apache-2.0
"""What is found in libraries of other programs, what is passed over, and what that costs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign.sifs import encrypted_sif, sif_of_archive
from foreign.workshop import CONFIG, Workshop
from library_images import (
    MACHINE,
    MAKERS,
    OTHER_MACHINE,
    make_directory,
    make_sif,
    make_squashfs,
)
from oci_sif_files import config_of, oci_sif
from sshfs import sshfs_mounts

from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.libraries.known import KnownPlace, known_places
from cwl_udss.images.libraries.libraries import Libraries
from cwl_udss.images.libraries.naming import NAMINGS, Kind, Proof
from cwl_udss.images.libraries.place import parse_place
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.store.image import StoredImage
from cwl_udss.images.store.store import Store

HERE = this_platform()
SAMTOOLS = "quay.io/biocontainers/samtools:1.17--h_0"
DIGEST = f"sha256:{'3a1f' * 16}"
OTHER_DIGEST = f"sha256:{'b' * 64}"
FILES = [
    naming.name
    for naming in NAMINGS.values()
    if naming.kind is not Kind.ARCHIVE and naming.proof is not Proof.ADDRESS
]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def libraries(
    tmp_path: Path, *places: str, trust: Trust = Trust.NAME, known: tuple[KnownPlace, ...] = ()
) -> Libraries:
    return Libraries(list(map(parse_place, places)), known, trust, Store(tmp_path / "store"))


def find(found: Libraries, text: str, *, is_new: bool = False) -> StoredImage | None:
    return found.find(text, HERE, only_by_digest=is_new)


@pytest.mark.parametrize("naming", FILES)
def test_an_image_is_found_by_each_of_its_names(
    tmp_path: Path, log: pytest.LogCaptureFixture, naming: str
) -> None:
    rule = NAMINGS[naming]
    for number, name in enumerate(rule.paths(SAMTOOLS, HERE)):
        directory = tmp_path / str(number)
        made = MAKERS[rule.kind](directory / name)
        image = find(libraries(tmp_path, f"{naming}:{directory}"), SAMTOOLS)
        assert image is not None
        assert (image.path, image.digest, image.is_stored) == (made, "", False)
        assert (image.format is ImageFormat.DIRECTORY) == (rule.kind is Kind.DIRECTORY)
        [said] = [record.message for record in log.records]
        assert said == (
            f"{SAMTOOLS} is {made} of the library {naming}:{directory}, by its name only"
        )
        log.clear()
        assert find(libraries(tmp_path, f"{naming}:{directory}"), "another:1") is None


def test_the_first_library_that_has_it_counts(tmp_path: Path) -> None:
    for name in ("b", "c"):
        make_sif(tmp_path / name / "debian:12.sif")
    places = [f"cwltool:{tmp_path}/{name}" for name in ("a", "b", "c")]
    (tmp_path / "a").mkdir()
    image = find(libraries(tmp_path, *places), "debian:12")
    assert image is not None and image.path == tmp_path / "b/debian:12.sif"
    assert image.config.environment == ("WHOSE=a SIF's",)


def test_a_name_costs_one_look_however_much_is_there(tmp_path: Path) -> None:
    """Nothing is opened for a name that is not there, and no directory is ever listed."""
    directory = tmp_path / "library"
    directory.mkdir()
    for number in range(100_000):
        os.close(os.open(directory / f"image-{number}.img", os.O_CREAT))
    made = make_sif(directory / "debian-12.img")
    script = """if True:
        import sys
        from pathlib import Path
        import cwl_udss.images.libraries.look
        from cwl_udss.images.libraries.libraries import Libraries
        from cwl_udss.images.libraries.place import parse_place
        from cwl_udss.images.libraries.trust import Trust
        from cwl_udss.images.manifests.manifest import this_platform
        from cwl_udss.images.store.store import Store
        directory, store, text = sys.argv[1:]
        libraries = Libraries([parse_place("nextflow:" + directory)], (), Trust.NAME,
                              Store(Path(store)))
        sys.addaudithook(lambda event, arguments: print(event, arguments[0]) if event in
            ("open", "os.listdir", "os.scandir", "glob.glob") and
            str(arguments[0]).startswith(directory) else None)
        libraries.find(text, this_platform(), only_by_digest=False)
    """

    def events(text: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-c", script, directory, tmp_path / "store", text],
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout.splitlines()

    assert events("debian:11") == []
    assert events("debian:12")
    assert set(events("debian:12")) == {f"open {made}"}


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    exported = tmp_path / "exported"
    make_sif(exported / "debian:12.sif")
    with sshfs_mounts(exported, 1) as [mounted]:
        yield mounted


def server_of(mount: Path) -> int:
    """The process that answers for a mount."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"sshfs") and os.fsencode(mount) in words:
                return int(name)
    raise AssertionError(f"nobody answers for {mount}")


def test_a_library_that_does_not_answer_costs_ten_seconds_once(
    tmp_path: Path, mount: Path, log: pytest.LogCaptureFixture
) -> None:
    other = make_sif(tmp_path / "other/debian:12.sif")
    searched = libraries(tmp_path, f"cwltool:{mount}", f"cwltool:{other.parent}")
    server = server_of(mount)
    os.kill(server, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found: list[StoredImage | None] = []
        threads = [
            threading.Thread(target=lambda: found.append(find(searched, "debian:12")))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert find(searched, "debian:11") is None
        assert 9 < time.monotonic() - began < 14
    finally:
        os.kill(server, signal.SIGCONT)
    assert [image and image.path for image in found] == [other] * 4
    warnings = [record.message for record in log.records if record.levelno >= logging.WARNING]
    assert warnings == [
        f"the library cwltool:{mount} does not answer within 10 s, and is passed over"
    ]


def test_a_process_ends_though_a_library_does_not_answer(mount: Path) -> None:
    script = """if True:
        import sys
        from cwl_udss.images.libraries.library import Library
        from cwl_udss.images.libraries.place import parse_place
        from cwl_udss.images.manifests.manifest import this_platform
        library = Library(parse_place(sys.argv[1]), patience=0.5)
        assert library.find("debian:12", None, this_platform()) is None
    """
    server = server_of(mount)
    os.kill(server, signal.SIGSTOP)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", script, f"cwltool:{mount}"],
            timeout=30,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.kill(server, signal.SIGCONT)
    assert ran.returncode == 0, ran.stderr


def test_a_library_whose_mount_is_broken(
    tmp_path: Path, mount: Path, log: pytest.LogCaptureFixture
) -> None:
    searched = libraries(tmp_path, f"cwltool:{mount}")
    os.kill(server_of(mount), signal.SIGKILL)
    for _ in range(2):
        assert find(searched, "debian:12") is None
    [said] = [record.message for record in log.records]
    assert said.startswith(f"the library cwltool:{mount} cannot be read: ")
    assert said.endswith(", and is passed over")


def test_a_library_that_is_not_there(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    gone = f"cwltool:{tmp_path}/gone"
    known = (KnownPlace(place=parse_place(f"nextflow:{tmp_path}/gone"), origin="somebody"),)
    searched = libraries(tmp_path, gone, known=known)
    for text in ("debian:12", "debian:11"):
        assert find(searched, text) is None
    assert [record.message for record in log.records] == [
        f"the library {gone} is not there, and is passed over"
    ]


def test_a_library_that_may_not_be_read(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "closed"
    make_sif(place / "inner/debian:12.sif")
    place.chmod(0)
    try:
        if os.access(place, os.R_OK):
            pytest.skip("root may read everything")
        assert find(libraries(tmp_path, f"cwltool:{place}/inner"), "debian:12") is None
    finally:
        place.chmod(0o755)
    assert "cannot be read: Permission denied, and is passed over" in log.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"no image"), "is an archive, or no image"),
        (lambda path: path.write_bytes(b""), "is an archive, or no image"),
        (lambda path: os.truncate(path, 100), "breaks off in its header"),
        (lambda path: os.truncate(path, 34_000), "is not whole"),
        (lambda path: path.chmod(0), "Permission denied"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is no file"),
        (lambda path: (path.unlink(), path.symlink_to(path.name)), "symbolic link"),
    ],
    ids=["no image", "empty", "header", "truncated", "closed", "pipe", "loop"],
)
def test_what_is_damaged_is_passed_over(
    tmp_path: Path, log: pytest.LogCaptureFixture, damage: object, said: str
) -> None:
    bad = make_sif(tmp_path / "bad/debian:12.sif")
    good = make_sif(tmp_path / "good/debian:12.sif")
    damage(bad)  # type: ignore[operator]
    searched = libraries(tmp_path, f"cwltool:{bad.parent}", f"cwltool:{good.parent}")
    image = find(searched, "debian:12")
    assert image is not None and image.path == good
    warning, chosen = [record.message for record in log.records]
    assert str(bad) in warning and said in warning
    assert "\n" not in warning
    assert chosen.startswith("debian:12 is ")


def test_a_sif_file_of_several_layers(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """As `singularity pull --oci --keep-layers` makes it: it is read into the store, once."""
    layers = [make_squashfs(tmp_path / name).read_bytes() for name in ("lower", "upper")]
    made = tmp_path / "debian:12.sif"
    made.write_bytes(oci_sif(config_of(MACHINE, Env=["WHOSE=a SIF's"]), *layers))
    place = f"cwltool:{tmp_path}"
    for _ in range(2):
        image = find(libraries(tmp_path, place), "debian:12")
        assert image is not None and image.is_stored
        assert image.config.environment == ("WHOSE=a SIF's",)
        assert f"debian:12 is {made} of the library {place}, by its name only" in log.messages
    assert len([message for message in log.messages if message.startswith("loaded ")]) == 1
    assert find(libraries(tmp_path, place, trust=Trust.DIGEST), "debian:12") is None
    made.write_bytes(made.read_bytes()[:-100])
    assert find(libraries(tmp_path, place), "debian:12") is None
    assert f"passed over in the library {place}: {made} is not whole" in log.messages[-1]


def test_a_squashfs_file_that_breaks_off(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    made = make_squashfs(tmp_path / "debian+12.sqsh")
    os.truncate(made, 200)
    assert find(libraries(tmp_path, f"enroot:{tmp_path}"), "debian:12") is None
    assert str(made) in log.text


def test_an_image_for_another_processor(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    make_sif(tmp_path / "other/debian:12.sif", machine=OTHER_MACHINE)
    assert find(libraries(tmp_path, f"cwltool:{tmp_path}/other"), "debian:12") is None
    assert f"the image is for linux/{OTHER_MACHINE}, this machine is linux/{MACHINE}" in log.text


def test_images_that_apptainer_has_made(
    tmp_path: Path, log: pytest.LogCaptureFixture, workshop: Workshop
) -> None:
    """One of two can be read; the other is not, and is said to be encrypted."""
    for name, made in (("a:1.sif", sif_of_archive(workshop)), ("b:1.sif", encrypted_sif(workshop))):
        (tmp_path / name).symlink_to(made)
    searched = libraries(tmp_path, f"cwltool:{tmp_path}")
    image = find(searched, "a:1")
    assert image is not None
    assert image.config.environment == tuple(CONFIG["Env"])
    assert find(searched, "b:1") is None
    assert "encrypted" in log.records[-1].message


def test_only_what_proves_a_digest(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    made = make_sif(tmp_path / "x/debian:12.sif")
    searched = libraries(tmp_path, f"cwltool:{made.parent}", trust=Trust.DIGEST)
    assert find(searched, "debian:12") is None
    [record] = log.records
    assert record.message == (
        f"{made} in the library cwltool:{made.parent} is not used: nothing proves which image it "
        "is (--udss-library-trust digest)"
    )


def unpacked(tmp_path: Path, name: str, digest: str = DIGEST) -> Path:
    """A library as DUCC makes it."""
    value = digest.partition(":")[2]
    flat = make_directory(tmp_path / f"cvmfs/.flat/{value[:2]}/{value}")
    link = tmp_path / "cvmfs" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(flat, link.parent))
    return flat


@pytest.mark.parametrize("trust", Trust)
def test_a_link_to_a_digest_proves_it(
    tmp_path: Path, log: pytest.LogCaptureFixture, trust: Trust
) -> None:
    flat = unpacked(tmp_path, SAMTOOLS)
    place = f"unpacked:{tmp_path}/cvmfs"
    image = find(libraries(tmp_path, place, trust=trust), SAMTOOLS)
    assert image is not None
    # Where the link leads later is another image.
    assert (image.digest, image.path) == (DIGEST, flat)
    [record] = log.records
    assert record.message == (
        f"{SAMTOOLS} is {tmp_path}/cvmfs/{SAMTOOLS} of the library {place}, by its digest {DIGEST}"
    )
    # Which nearly always names a manifest, of which nothing is known here.
    assert find(libraries(tmp_path, place), f"{SAMTOOLS}@{DIGEST}") is not None
    assert find(libraries(tmp_path, place), f"{SAMTOOLS}@{OTHER_DIGEST}") is None


def test_a_link_elsewhere_proves_nothing(tmp_path: Path) -> None:
    elsewhere = make_directory(tmp_path / "elsewhere")
    link = tmp_path / "cvmfs" / SAMTOOLS
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    image = find(libraries(tmp_path, f"unpacked:{tmp_path}/cvmfs"), SAMTOOLS)
    assert image is not None and image.digest == ""


@pytest.mark.parametrize("is_new", [False, True])
def test_a_cache_by_digest_proves_it(tmp_path: Path, is_new: bool) -> None:
    """Also where what a name stands for now is wanted: a digest stands for nothing else."""
    text = f"debian:12@{DIGEST}"
    for naming in ("apptainer-cache", "singularity-cache"):
        make_sif(tmp_path / naming / NAMINGS[naming].paths(text, HERE)[0])
        searched = libraries(tmp_path, f"{naming}:{tmp_path / naming}", trust=Trust.DIGEST)
        image = find(searched, text, is_new=is_new)
        assert image is not None and image.digest == DIGEST
        assert find(searched, f"debian@{OTHER_DIGEST}") is None
        assert find(searched, "debian:12") is None


@pytest.mark.parametrize("naming", FILES)
def test_a_digest_is_never_served_by_a_name(tmp_path: Path, naming: str) -> None:
    rule = NAMINGS[naming]
    text = f"{SAMTOOLS}@{DIGEST}"
    for name in rule.paths(text, HERE):
        MAKERS[rule.kind](tmp_path / "library" / name)
    assert find(libraries(tmp_path, f"{naming}:{tmp_path}/library"), text) is None


def test_who_wants_what_a_name_stands_for_now_gets_nothing_by_name(tmp_path: Path) -> None:
    make_sif(tmp_path / "x/debian:12.sif")
    unpacked(tmp_path, "docker.io/library/debian:12")
    searched = libraries(tmp_path, f"cwltool:{tmp_path}/x", f"unpacked:{tmp_path}/cvmfs")
    assert find(searched, "debian:12", is_new=True) is None
    assert find(searched, "debian:12") is not None


LABELLED = {
    "org.opencontainers.image.base.name": "docker.io/library/debian:12",
    "org.opencontainers.image.base.digest": DIGEST,
}


@pytest.mark.parametrize("make", [make_sif, make_squashfs, make_directory])
@pytest.mark.parametrize(
    ("labels", "text", "digest"),
    [
        (LABELLED, "debian:12", DIGEST),
        (LABELLED, f"debian@{DIGEST}", DIGEST),
        (LABELLED, f"docker.io/debian:12@{DIGEST}", DIGEST),
        (
            {**LABELLED, "org.opencontainers.image.base.name": "docker://debian:12"},
            "debian:12",
            DIGEST,
        ),
        # Those of what the image was built on, which are in many an image.
        ({**LABELLED, "org.opencontainers.image.base.name": "alpine:3"}, "debian:12", ""),
        ({**LABELLED, "org.opencontainers.image.base.name": "debian:11"}, "debian:12", ""),
        ({**LABELLED, "org.opencontainers.image.base.name": "alpine:12"}, "debian:12", ""),
        ({**LABELLED, "org.opencontainers.image.base.digest": "x"}, "debian:12", ""),
        ({"org.opencontainers.image.base.digest": DIGEST}, "debian:12", ""),
        ({}, "debian:12", ""),
    ],
)
def test_labels_prove_a_digest(
    tmp_path: Path, make: object, labels: dict[str, str], text: str, digest: str
) -> None:
    naming = "sandboxes" if make is make_directory else "nextflow"
    path = tmp_path / "x" / NAMINGS[naming].paths(text, HERE)[0]
    make(path, labels)  # type: ignore[operator]
    image = find(libraries(tmp_path, f"{naming}:{tmp_path}/x"), text)
    assert image is not None
    assert image.digest == digest


def test_of_two_names_the_one_that_proves_it(tmp_path: Path) -> None:
    first, second = NAMINGS["nextflow"].paths(SAMTOOLS, HERE)
    labels = {**LABELLED, "org.opencontainers.image.base.name": SAMTOOLS}
    make_sif(tmp_path / "x" / first)
    made = make_sif(tmp_path / "x" / second, labels)
    searched = libraries(tmp_path, f"nextflow:{tmp_path}/x", trust=Trust.DIGEST)
    image = find(searched, SAMTOOLS)
    assert image is not None and (image.path, image.digest) == (made, DIGEST)


def test_labels_are_read_in_the_image_only(tmp_path: Path) -> None:
    root = make_directory(tmp_path / "x/debian:12")
    outside = make_directory(tmp_path / "outside", LABELLED) / ".singularity.d/labels.json"
    (root / ".singularity.d/labels.json").unlink()
    (root / ".singularity.d/labels.json").symlink_to(outside)
    image = find(libraries(tmp_path, f"sandboxes:{tmp_path}/x"), "debian:12")
    assert image is not None and image.digest == ""


def test_a_directory_of_another_kind_is_no_sandbox(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x/debian").mkdir(parents=True)
    assert find(libraries(tmp_path, f"sandboxes:{tmp_path}/x"), "debian") is None
    assert not log.records


def test_other_programs_places_are_known(tmp_path: Path) -> None:
    home, cvmfs = Path("/home/mia"), Path("/cvmfs")
    everywhere = [str(known.place) for known in known_places({}, home)]
    assert everywhere == [
        "apptainer-cache:/home/mia/.apptainer",
        "singularity-cache:/home/mia/.singularity",
        "unpacked:/cvmfs/unpacked.cern.ch",
        "galaxy-cvmfs:/cvmfs/singularity.galaxyproject.org",
        "osg:/cvmfs/singularity.opensciencegrid.org",
    ]
    variables = {
        "APPTAINER_CACHEDIR": "/a",
        "SINGULARITY_CACHEDIR": "/s",
        "CWL_SINGULARITY_IMAGES": "/b",
        "CWL_SINGULARITY_CACHE": "/c",
        "NXF_SINGULARITY_LIBRARYDIR": "/d",
        "NXF_APPTAINER_LIBRARYDIR": "/e",
        "NXF_SINGULARITY_CACHEDIR": "/d",
        "NXF_APPTAINER_CACHEDIR": "/g",
        "MINIWDL__SINGULARITY__IMAGE_CACHE": "/h",
        "NXF_CHARLIECLOUD_CACHEDIR": "/i",
        "CH_IMAGE_STORAGE": "",
    }
    found = known_places(variables, home, cvmfs)
    named = [f"{known.place} {known.origin}" for known in found if known.origin != "CVMFS"]
    assert named == [
        "apptainer-cache:/a $APPTAINER_CACHEDIR",
        "singularity-cache:/s $SINGULARITY_CACHEDIR",
        "sandboxes:/b $CWL_SINGULARITY_IMAGES",
        "cwltool:/c $CWL_SINGULARITY_CACHE",
        "nextflow:/d $NXF_SINGULARITY_LIBRARYDIR",
        "nextflow:/e $NXF_APPTAINER_LIBRARYDIR",
        "nextflow:/g $NXF_APPTAINER_CACHEDIR",
        "miniwdl:/h $MINIWDL__SINGULARITY__IMAGE_CACHE",
        "charliecloud:/i $NXF_CHARLIECLOUD_CACHEDIR",
    ]
    shared = known_places({"CWL_SINGULARITY_CACHE": "/c"}, home)
    assert [str(known.place) for known in shared[-2:]] == ["cwltool:/c", "sandboxes:/c"]
