# SPDX-License-Identifier: Apache-2.0
"""`udocker` as cwltool, Snakemake's container plugin, miniwdl and Galaxy call it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign.workshop import Workshop

from cwl_udss.doors.shims import install

Door = Callable[..., "subprocess.CompletedProcess[str]"]
BUSYBOX = "busybox:1.36"


@pytest.fixture
def udocker(environment: dict[str, str], tmp_path: Path) -> Door:
    """Run `udocker` of ours, in a directory of the test's own, with containers of its own."""
    [script] = install(tmp_path / "door", ["udocker"])
    (tmp_path / "work").mkdir()

    def run(*arguments: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *arguments],
            cwd=tmp_path / "work",
            env={**environment, "XDG_CACHE_HOME": str(tmp_path / "cache"), "UDOCKER_DIR": "/nope"},
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_cwltools_line(udocker: Door, tmp_path: Path) -> None:
    for name in ("out", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "in put").write_text("of an input\n")
    done = udocker(
        *("--quiet", "run", "--nobanner", f"--volume={tmp_path}/out:/ABCDEF"),
        *(f"--volume={tmp_path}/tmp:/tmp", f"--volume={tmp_path}/in put:/var/lib/cwl/stg1/in put"),
        *("--workdir=/ABCDEF", "--rm", "--env=A=x y", "--env=TMPDIR=/tmp", "--env=HOME=/ABCDEF"),
        *(BUSYBOX, "sh", "-c", 'cat "/var/lib/cwl/stg1/in put"; echo "$A" > ~/out; pwd; exit 3'),
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "of an input\n/ABCDEF\n", "")
    assert (tmp_path / "out/out").read_text() == "x y\n"
    assert udocker("ps").stdout.splitlines()[1:] == []


def test_snakemakes_lines(udocker: Door, tmp_path: Path) -> None:
    here = tmp_path / "work"
    assert udocker("install").returncode == 0
    assert udocker("pull", BUSYBOX).returncode == 0
    done = udocker(
        *("--quiet", "run", "--rm", "--nobanner", "--env", "TINI_SUBREAPER=1", "--env", "B=v"),
        *(
            "-w",
            here,
            "-v",
            f"{tmp_path}:{tmp_path}",
            "-v",
            f"{here}:{here}",
            "-v",
            f"{here}:{here}",
        ),
        *(BUSYBOX, "sh", "-c", "echo $B > out; pwd"),
    )
    assert (done.returncode, done.stdout) == (0, f"{here}\n"), done.stderr
    assert (here / "out").read_text() == "v\n"


def test_miniwdls_lines(udocker: Door, tmp_path: Path) -> None:
    assert udocker("--allow-root", "--version").returncode == 0
    assert udocker("--allow-root", "pull", BUSYBOX).returncode == 0
    (tmp_path / "stdout.txt").touch()
    done = udocker(
        *("--allow-root", "run", "--workdir", "/mnt/work", "--nobanner", "--rm"),
        *("-v", f"{tmp_path}/stdout.txt:/mnt/stdout.txt", "-v", f"{tmp_path}/work:/mnt/work"),
        *(BUSYBOX, "/bin/sh", "-c", "pwd >> ../stdout.txt"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stdout.txt").read_text() == "/mnt/work\n"


def test_options_of_the_command_are_its_own(udocker: Door) -> None:
    assert udocker("run", BUSYBOX, "echo", "-v", "--rm", "--").stdout == "-v --rm --\n"


def test_what_a_command_has(udocker: Door) -> None:
    """The machine's files are out of sight; what it may write to is its own, and gone then."""
    words = "ls -A /tmp; touch /tmp/x /var/tmp/y ~/z && ls /tmp; ls -d {} 2> /dev/null"
    done = udocker("run", BUSYBOX, "sh", "-c", words.format(Path(__file__).parent))
    assert (done.returncode, done.stdout) == (1, "x\n")
    done = udocker("run", "-v", ".:/data:ro", BUSYBOX, "touch", "/data/x")
    assert "Read-only file system" in done.stderr
    assert udocker("run", BUSYBOX, "sh", "-c", "id -u; touch /x && ls /x").stdout == "0\n/x\n"
    assert udocker("run", BUSYBOX, "ls", "/x").returncode == 1


def test_containers_have_identifiers_and_names(udocker: Door) -> None:
    done = udocker("create", "--name=mine", BUSYBOX)
    identifier = done.stdout.strip()
    assert (done.returncode, len(identifier)) == (0, 36)
    assert "container name already exists" in udocker("create", "--name=mine", BUSYBOX).stderr
    for name in ("mine", identifier):
        assert udocker("run", name, "echo", "in it").stdout == "in it\n"
    [line] = udocker("ps").stdout.splitlines()[1:]
    assert line.split() == [identifier, ".", "R", "['mine']", BUSYBOX]
    assert udocker("setup", "--execmode=P1", "mine").returncode == 0
    assert udocker("rm", "mine").returncode == 0
    done = udocker("rm", "mine")
    assert (done.returncode, done.stderr) == (1, "Error: invalid container id mine\n")


def test_a_run_may_leave_a_container(udocker: Door) -> None:
    assert udocker("run", "--name=x", BUSYBOX, "true").returncode == 0
    assert "['x']" in udocker("ps").stdout
    assert udocker("run", "--name=x", "--pull=reuse", BUSYBOX, "echo", "again").stdout == "again\n"
    assert udocker("run", "--rm", "x", "true").returncode == 0
    assert "['x']" not in udocker("ps").stdout


def test_what_an_image_runs(udocker: Door, workshop: Workshop) -> None:
    done = udocker("load", "-i", workshop.archive())
    assert done.stdout == "example.org/busybox:1\n"
    image = "example.org/busybox:1"
    run = ("run", "--workdir=/", image)
    assert udocker(*run).stdout == "the entry point two words last\n"
    assert udocker(*run, "a").stdout == "the entry point a\n"
    assert udocker(*run[:-1], "--entrypoint=", image, "echo", "b").stdout == "b\n"
    assert udocker(*run[:-1], "--nometa", image, "/bin/echo", "c").stdout == "c\n"
    variables = udocker(*run[:-1], "--entrypoint=", image, "env").stdout.splitlines()
    assert "GREETING=hello world" in variables
    assert f"{image:<60} ." in udocker("images").stdout.splitlines()
    config = json.loads(udocker("inspect", image).stdout)
    assert config["config"]["Entrypoint"] == ["/bin/echo", "the entry point"]
    assert udocker("rmi", image).returncode == 0
    assert image not in udocker("images").stdout


def test_a_root_filesystem_is_imported(udocker: Door, workshop: Workshop, tmp_path: Path) -> None:
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", workshop.unpacked(), "-cf", tar, "."], check=True)
    assert udocker("import", tar, "mine:root").returncode == 0
    assert udocker("run", "mine:root", "echo", "in it").stdout == "in it\n"
    done = udocker("import", "--tocontainer", "--name=imported", tar)
    assert len(done.stdout.strip()) == 36
    assert udocker("run", "imported", "echo", "in it").stdout == "in it\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("run", BUSYBOX, "nope"), 2, "command not found or has no execute bit set: nope"),
        (("run", "-v", "/nope:/x", BUSYBOX, "true"), 1, "invalid host volume path: /nope"),
        (("run", "-w", "/nope", BUSYBOX, "true"), 1, "invalid working directory: /nope"),
        (("run", "--user=nobody", BUSYBOX, "true"), 1, "cannot be the user nobody"),
        (("run", "--pull=never", "no/such:image", "true"), 1, "not in the store"),
        (("run", "--device=/dev/x", BUSYBOX, "true"), 1, "cwl-udss does not take --device"),
        (("run", "--nope", BUSYBOX, "true"), 1, "unknown flag: --nope"),
        (("run",), 1, "requires at least 1 arg(s)"),
        (("protect", "x"), 1, "cwl-udss has no udocker protect"),
        (("setup", "--execmode=P1", "nope"), 1, "invalid container id nope"),
    ],
)
def test_what_fails(udocker: Door, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = udocker(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert f"Error: {said}" in done.stderr or (said in done.stderr and "Error: " in done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("user", ["root", "0", "0:0"])
def test_who_a_command_may_be_called(udocker: Door, user: str) -> None:
    assert udocker("run", f"--user={user}", BUSYBOX, "true").returncode == 0


def test_variables(udocker: Door, tmp_path: Path) -> None:
    (tmp_path / "work/env").write_text("# no\nA=from a file\nHOME\n")
    done = udocker("run", "--env-file=env", "-e", "B=b", BUSYBOX, "sh", "-c", "echo $A $B")
    assert done.stdout == "from a file b\n"
    assert "UDOCKER_DIR" not in udocker("run", BUSYBOX, "env").stdout
    assert "UDOCKER_DIR" in udocker("run", "--hostenv", BUSYBOX, "env").stdout
