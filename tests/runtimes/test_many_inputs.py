# SPDX-License-Identifier: Apache-2.0
"""A step with thousands of inputs: what it sees of them, and what it can do to them."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from steps import Step

from cwl_udss.errors import SandboxError
from cwl_udss.images.node.mounter import can_enter_mounts
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.trees import MANY
from cwl_udss.sandbox import Bind, RootFilesystem

PACKAGE = "cwl_udss"
ODD_NAMES = ("a b", "tab\t", "line\nbreak", "back\\slash", "octal\\040", "#", "ü", "\udcff")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Inputs, beside which there is what is no input."""
    directory = tmp_path / "sources"
    (directory / "directory/below").mkdir(parents=True)
    (directory / "directory/below/file").write_text("deep\n")
    (directory / "no-input").write_text("secret\n")
    return directory


def given(step: Step, *binds: Bind) -> Step:
    """The step with these binds instead of its inputs."""
    return replace(step, sandbox=replace(step.sandbox, binds=(*step.sandbox.binds[:2], *binds)))


def files(sources: Path, number: int) -> tuple[Bind, ...]:
    """That many inputs, each in a directory of its own as cwltool has them."""
    binds = []
    for n in range(number):
        source = sources / f"file{n}"
        source.write_text(f"{n}\n")
        binds.append(Bind(source=str(source), destination=f"/var/lib/cwl/stg{n}/file{n}"))
    return tuple(binds)


@pytest.fixture
def large_step(small_step: Step, sources: Path) -> Step:
    """A step with more than enough inputs, among them a directory and a writable one."""
    (sources / "writable").write_text("before\n")
    return given(
        small_step,
        *files(sources, MANY),
        Bind(source=f"{sources}/directory", destination="/var/lib/cwl/directory"),
        Bind(source=f"{sources}/writable", destination="/var/lib/cwl/writable", writable=True),
    )


def test_three_thousand_inputs(small_step: Step, sources: Path) -> None:
    step = given(small_step, *files(sources, 3000))
    outcome = step.run("for n in $(busybox seq 0 2999); do cat /var/lib/cwl/stg$n/file$n; done")
    assert outcome.stdout.split() == [str(n) for n in range(3000)], outcome.stderr


def test_nothing_but_the_inputs_is_in_sight(large_step: Step) -> None:
    outcome = large_step.run("busybox find /var/lib/cwl -type f; cat /proc/self/mountinfo")
    lines = outcome.stdout.splitlines()
    mounted = [line.split()[4] for line in lines if " - " in line]
    inputs = {bind.destination for bind in large_step.sandbox.binds[2:]}
    assert {line for line in lines if " - " not in line} == {
        *(inputs - {"/var/lib/cwl/directory"}),
        "/var/lib/cwl/directory/below/file",
    }
    assert {path for path in mounted if path.startswith("/var/")} == {*inputs, "/var/lib/cwl"}
    assert PACKAGE not in outcome.stdout
    few = given(large_step, *large_step.sandbox.binds[2:4]).run("cat /proc/self/mountinfo")
    expected = len(few.stdout.splitlines()) + len(inputs) - 2
    assert len(mounted) == expected


@pytest.mark.parametrize(
    "script",
    [
        "echo x > /var/lib/cwl/stg5/file5",
        "echo x >> /var/lib/cwl/stg5/file5",
        "busybox chmod 666 /var/lib/cwl/stg5/file5",
        "touch /var/lib/cwl/stg5/file5",
        "busybox rm -f /var/lib/cwl/stg5/file5",
        "busybox mv /var/lib/cwl/stg5/file5 /var/lib/cwl/stg5/other",
        "busybox ln /var/lib/cwl/stg5/file5 /out/link",
        "busybox ln /var/lib/cwl/stg5/file5 /var/lib/cwl/stg5/link",
        "exec 5< /var/lib/cwl/stg5/file5; echo x > /proc/self/fd/5",
        "echo x > /proc/self/root/var/lib/cwl/stg5/file5",
        "echo x > /proc/1/root/var/lib/cwl/stg5/file5",
        "echo x > /proc/self/cwd/../var/lib/cwl/stg5/file5",
        "busybox mount -o remount,bind,rw /var/lib/cwl/stg5/file5",
        "busybox umount /var/lib/cwl/stg5/file5",
        "echo x > /var/lib/cwl/new",
        "echo x > /var/lib/cwl/stg5/new",
        "echo x > /var/lib/cwl/directory/new",
        "echo x > /var/lib/cwl/directory/below/file",
        "busybox rm /var/lib/cwl/writable",
    ],
)
def test_inputs_cannot_be_changed(large_step: Step, sources: Path, script: str) -> None:
    before = contents(sources)
    outcome = large_step.run(script)
    assert outcome.result.exit_code != 0
    assert contents(sources) == before
    assert list(large_step.outdir.iterdir()) == []


def contents(directory: Path) -> dict[Path, tuple[bytes, int, int]]:
    found = {path: path.stat() for path in directory.rglob("*") if path.is_file()}
    return {
        path: (path.read_bytes(), status.st_mode, status.st_mtime_ns)
        for path, status in found.items()
    }


def test_every_mount_has_the_flags_that_bwrap_gives(large_step: Step) -> None:
    outcome = large_step.run("cat /proc/self/mountinfo")
    flags = {fields[4]: fields[5] for fields in map(str.split, outcome.stdout.splitlines())}
    for bind in large_step.sandbox.binds[2:]:
        assert flags[bind.destination].startswith("rw" if bind.writable else "ro")
        assert {"nosuid", "nodev"} < set(flags[bind.destination].split(","))
    assert flags["/var/lib/cwl"].startswith("ro,")


def test_a_writable_one_among_them_stays_writable(large_step: Step, sources: Path) -> None:
    outcome = large_step.run("cat /var/lib/cwl/writable; echo after > /var/lib/cwl/writable")
    assert (outcome.result.exit_code, outcome.stdout) == (0, "before\n")
    assert (sources / "writable").read_text() == "after\n"


@pytest.mark.parametrize("number", [1, MANY])
def test_many_in_the_output_directory(small_step: Step, sources: Path, number: int) -> None:
    """As InitialWorkDirRequirement stages them."""
    binds = [replace(b, destination=f"/out/{Path(b.source).name}") for b in files(sources, number)]
    outcome = given(small_step, *binds).run("cat file0; echo x > file0; echo new > new; ls | cat")
    assert outcome.stdout.split() == ["0", *sorted([f"file{n}" for n in range(number)] + ["new"])]
    assert (small_step.outdir / "new").read_text() == "new\n"
    assert (sources / "file0").read_text() == "0\n"
    assert (small_step.outdir / "file0").read_text() == ""  # the mount point


def test_names_that_mountinfo_escapes(small_step: Step, sources: Path) -> None:
    odd = []
    for name in ODD_NAMES:
        (sources / name).write_text("odd\n")
        odd.append(Bind(source=str(sources / name), destination=f"/var/lib/cwl/{name}/{name}"))
    step = given(small_step, *files(sources, MANY), *odd)
    outcome = step.run('for file in /var/lib/cwl/[!s]*/*; do cat "$file"; echo x > "$file"; done')
    assert outcome.stdout == "odd\n" * len(ODD_NAMES)
    assert {(sources / name).read_text() for name in ODD_NAMES} == {"odd\n"}


def test_a_directory_of_the_image_with_many_entries_is_opened(
    small_step: Step, sources: Path, busybox_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", busybox_root, root], check=True)
    for n in range(MANY):
        (root / f"bin/tool{n}").write_text("tool\n")
        (root / f"bin/link{n}").symlink_to(f"tool{n}")
    (script,) = files(sources, 1)
    step = given(small_step, replace(script, destination="/bin/script"))
    outcome = step.run(
        "cat /bin/script /bin/tool5 /bin/link7; touch /bin/x; ls /bin | cat",
        root=RootFilesystem(path=root),
    )
    assert outcome.stdout.startswith("0\ntool\ntool\n")
    entries = {path.name for path in (root / "bin").iterdir()}
    assert set(outcome.stdout.split()[3:]) == {*entries, "script"}
    assert "script" not in entries


def test_a_mount_within_an_input_is_read_only_too(large_step: Step, sources: Path) -> None:
    """The driver itself runs where something is mounted in the directory that it gives."""
    below = sources / "directory/below"
    step = replace(
        large_step.sandbox,
        command=("sh", "-c", "cd /var/lib/cwl/directory/below; ls file; echo x > new; ls new"),
    )
    done = subprocess.run(
        [
            *(large_step.runtime.path, "--unshare-user", "--dev-bind", "/", "/"),
            *("--tmpfs", below, "--", sys.executable, "-c", DRIVER),
        ],
        input=pickle.dumps(step),
        capture_output=True,
        check=False,
    )
    assert done.stdout == b""
    assert done.stderr.count(b"No such file") == 2
    assert b"Read-only file system" in done.stderr


DRIVER = """
import pickle, sys
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.errors import SandboxError
from cwl_udss.sandbox import Streams
find_bubblewrap(None).start(
    pickle.load(sys.stdin.buffer), Streams(stdin=0, stdout=1, stderr=2)
).wait()
"""


def test_an_image_that_only_another_process_sees(
    step: Step, runtime: Bubblewrap, tmp_path: Path
) -> None:
    """As SquashFS images are mounted."""
    place = tmp_path / "place"
    place.mkdir()
    with holding(runtime, step.sandbox.root.path, place) as process:
        assert list(place.iterdir()) == []
        root = RootFilesystem(path=place, mounted_by=process)
        if not can_enter_mounts(step.runtime):
            with pytest.raises(SandboxError, match="cannot enter the mount"):
                step.run("true", root=root)
            return
        outcome = step.run("cat /var/lib/cwl/1/input; id -u; touch /bin/x", root=root)
    assert outcome.stdout == f"input\n{os.getuid()}\n"
    assert "Read-only file system" in outcome.stderr


@contextlib.contextmanager
def holding(runtime: Bubblewrap, image: Path, place: Path) -> Iterator[int]:
    """A process in namespaces of its own, in which an image is at a place."""
    read, write = os.pipe()
    with subprocess.Popen(
        [
            *(runtime.path, "--unshare-user", "--unshare-pid", "--die-with-parent"),
            *("--dev-bind", "/", "/", "--bind", image, place, "--cap-add", "CAP_SYS_ADMIN"),
            *("--info-fd", str(write), "--", "sh", "-c", "echo; exec sleep 60"),
        ],
        stdout=subprocess.PIPE,
        pass_fds=[write],
    ) as holder:
        os.close(write)
        try:
            with open(read) as stream:
                process = int(re.findall(r'"child-pid": (\d+)', stream.read())[0])
            assert holder.stdout is not None
            holder.stdout.readline()  # all is mounted
            yield process
        finally:
            holder.kill()


@pytest.fixture
def confined_runtime(runtime: Bubblewrap, tmp_path: Path) -> Bubblewrap:
    """A bwrap that gives nobody capabilities, as AppArmor's profile of it on Ubuntu."""
    script = tmp_path / "bwrap"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *--cap-add*) echo "bwrap: not allowed" >&2; exit 1;; esac\n'
        f'exec {runtime.path} "$@"\n'
    )
    script.chmod(0o755)
    return replace(runtime, path=str(script))


def test_without_a_namespace_around_it_bwrap_binds_them(
    large_step: Step, confined_runtime: Bubblewrap, caplog: pytest.LogCaptureFixture
) -> None:
    step = replace(large_step, runtime=confined_runtime)
    for _ in range(2):
        assert step.run("cat /var/lib/cwl/stg7/file7").stdout == "7\n"
    assert [record.message for record in caplog.records] == [
        f"steps with more than {MANY} inputs start slowly here: bwrap: not allowed"
    ]


def test_and_those_that_it_cannot_are_refused(
    small_step: Step, sources: Path, confined_runtime: Bubblewrap
) -> None:
    step = replace(given(small_step, *files(sources, 3000)), runtime=confined_runtime)
    with pytest.raises(SandboxError, match="arguments"):
        step.run("true")


def test_a_command_of_more_words_than_bwrap_takes_is_refused(small_step: Step) -> None:
    assert small_step.execute(("true", *["word"] * 8000)).result.exit_code == 0
    with pytest.raises(SandboxError, match="arguments"):
        small_step.execute(("true", *["word"] * 9000))


def test_an_input_that_is_gone_is_named(large_step: Step, sources: Path) -> None:
    (sources / "file9").unlink()
    with pytest.raises(SandboxError):
        large_step.run("true")
    assert str(sources / "file9") in (large_step.tmpdir.parent / "stderr").read_text()
