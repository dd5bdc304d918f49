# SPDX-License-Identifier: Apache-2.0
"""Commands in images, as those call them who call Apptainer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import cwltool
import pytest
from apptainer_door import BUSYBOX, Door
from foreign.sifs import sif_of_archive, sif_of_definition
from foreign.workshop import Workshop

from cwl_udss.doors.apptainer.running.environment import (
    file_variables,
    variables_of,
    whole_environment,
)


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
def test_the_version_that_callers_take_apart(name: str, apptainer: Door) -> None:
    """Snakemake parses the last word of the line, cwltool `(.+) version ([0-9.]+)`."""
    done = apptainer("--version", name=name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "apptainer version 1.4.5\n", "")
    assert apptainer("version", name=name).stdout == "1.4.5\n"


def test_nextflow_calls_with_nothing_but_a_path(
    doors: Path, apptainer: Door, environment: dict[str, str], tmp_path: Path
) -> None:
    """By `env -`: no HOME, and no variable of ours; an image is a file."""
    assert apptainer("pull", "x.img", BUSYBOX).returncode == 0
    work = tmp_path / "work dir"
    work.mkdir()
    done = subprocess.run(
        [
            *("env", "-", f"PATH={environment['PATH']}", f"SINGULARITYENV_NXF_TASK_WORKDIR={work}"),
            *(doors / "apptainer", "exec", "--no-home", "--pid", "-B", work, tmp_path / "x.img"),
            *("/bin/sh", "-c", 'pwd; echo $NXF_TASK_WORKDIR; echo > "$NXF_TASK_WORKDIR/out"'),
        ],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{work}\n{work}\n"), done.stderr
    assert (work / "out").exists()


def test_cwltools_line(apptainer: Door, workshop: Workshop, tmp_path: Path) -> None:
    for name in ("out", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "in put").write_text("of an input\n")
    done = apptainer(
        *("--quiet", "run", "--contain", "--ipc", "--cleanenv", "--no-eval", "--userns"),
        *("--home", f"{tmp_path}/out:/ABCDEF"),
        f"--mount=type=bind,source={tmp_path}/tmp,target=/tmp",
        f"--mount=type=bind,source={tmp_path}/in put,target=/var/lib/cwl/stg1/in put,readonly",
        *("--pwd", "/ABCDEF", "--net", "--network", "none", sif_of_archive(workshop)),
        *("in", "$HOME"),
        SINGULARITYENV_A="x y",
        SINGULARITYENV_TMPDIR="/tmp",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the entry point in $HOME\n", "")


def test_cwltools_probe_for_user_namespaces(apptainer: Door) -> None:
    """It looks for these words on the standard error, whatever the status."""
    image = Path(cwltool.__file__).parent / "hello.simg"
    done = apptainer("exec", "--userns", image, "true")
    assert done.returncode == 255
    assert 'FATAL:   "true": executable file not found in $PATH' in done.stderr


def test_miniwdls_line(apptainer: Door, tmp_path: Path) -> None:
    for name in ("work", "tmp", "var_tmp"):
        (tmp_path / name).mkdir()
    for name in ("stdout.txt", "stderr.txt", "command", "input"):
        (tmp_path / name).write_text("cat _miniwdl_inputs/0/input; echo done > out\n")
    (tmp_path / "work/_miniwdl_inputs/0").mkdir(parents=True)
    (tmp_path / "work/_miniwdl_inputs/0/input").touch()
    task = "/mnt/miniwdl_task_container"
    binds = (
        *("stdout.txt", "stderr.txt", "work"),
        *(f"command:{task}/command:ro", f"input:{task}/work/_miniwdl_inputs/0/input:ro"),
        *("tmp:/tmp", "var_tmp:/var/tmp"),
    )
    options = [
        word
        for bind in binds
        for word in ("--bind", f"{tmp_path}/{bind if ':' in bind else f'{bind}:{task}/{bind}'}")
    ]
    done = apptainer(
        *("exec", "--pwd", f"{task}/work", "--containall", "--no-mount", "hostfs", "--fakeroot"),
        *(*options, BUSYBOX, "/bin/sh", "-c", "/bin/sh ../command >> ../stdout.txt 2>&1"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work/out").read_text() == "done\n"
    assert "cat _miniwdl_inputs" in (tmp_path / "stdout.txt").read_text()


def test_galaxys_line(apptainer: Door, tmp_path: Path) -> None:
    """A place to write in what is read-only."""
    for name in ("job/working", "job/tmp", "tool"):
        (tmp_path / name).mkdir(parents=True)
    job = tmp_path / "job"
    done = apptainer(
        *("-s", "exec", "--contain", "--pwd", job / "working", "--cleanenv", "--ipc", "--pid"),
        *(
            "--no-mount",
            "tmp",
            "-B",
            f"{tmp_path}/tool:{tmp_path}/tool:ro",
            "-B",
            f"{job}/tmp:/tmp",
        ),
        *("-B", f"{job}:{job}:ro", "-B", f"{job}/working:{job}/working:rw", BUSYBOX),
        *("sh", "-c", "pwd; touch out /tmp/x; touch ../no; echo $GALAXY_SLOTS"),
        SINGULARITYENV_GALAXY_SLOTS="4",
    )
    assert done.stdout == f"{job}/working\n4\n"
    assert "Read-only file system" in done.stderr
    assert (job / "working/out").exists()
    assert (job / "tmp/x").exists()


@pytest.mark.parametrize("image", ["store", "pulled", "defined"])
@pytest.mark.parametrize("command", ["exec", "run", "shell"])
def test_shpcs_environment_is_a_script_that_is_mounted(
    image: str, command: str, apptainer: Door, workshop: Workshop, tmp_path: Path
) -> None:
    images = {"pulled": sif_of_archive, "defined": sif_of_definition}
    path = images[image](workshop) if image in images else BUSYBOX
    (tmp_path / "99-shpc.sh").write_text('export SHPC="a b"\nexport PATH="/shpc:$PATH"\n')
    words = ("sh", "-c", "echo $SHPC; echo $PATH") if command == "exec" else ()
    done = apptainer(
        *(command, "-B", "99-shpc.sh:/.singularity.d/env/99-shpc.sh", path, *words),
        input="echo $SHPC; echo $PATH\n",
    )
    if command == "run" and image != "store":  # these have an entry point of their own
        assert done.returncode == 0
        return
    said, path_said = done.stdout.splitlines()
    assert (said, path_said.startswith("/shpc:")) == ("a b", True), done.stderr


def test_an_image_of_the_store_is_run_as_docker_has_it(apptainer: Door) -> None:
    done = apptainer("exec", BUSYBOX, "sh", "-c", "pwd; echo $APPTAINER_CONTAINER")
    assert done.stdout.splitlines()[1] == BUSYBOX
    assert apptainer("run", BUSYBOX, "echo", "a  b").stdout == "a  b\n"


def test_scripts_of_an_image_without_a_shell_are_done_without(
    apptainer: Door, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for name in ("bin", ".singularity.d/env", "etc", "proc", "dev", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    (root / ".singularity.d/env/90-environment.sh").write_text("export A=1\n")
    done = apptainer("exec", root, "/bin/nope")
    assert (done.returncode, "FATAL:   /bin/nope" in done.stderr) == (255, True)


def test_a_script_that_is_broken_does_not_stop_the_others(
    apptainer: Door, workshop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "50.sh").write_text("export BEFORE=1\nexport X=`\n")
    (tmp_path / "98.sh").write_text("export AFTER=1\n")
    binds = [f"{name}.sh:/.singularity.d/env/{name}.sh" for name in ("50", "98")]
    done = apptainer(
        *("exec", "-B", ",".join(binds), sif_of_definition(workshop)),
        *("sh", "-c", "echo $BASE $AFTER"),
    )
    assert done.stdout == "/opt/base 1\n"


@pytest.mark.parametrize(
    ("hidden", "command"),
    [
        ("home", "ls -d {home}"),
        ("cwd", "ls -d {directory}"),
        ("tmp", "ls {own}"),
        ("network", "grep -q 00000000 /proc/net/route || ls /sys/class/net/eth0/nope"),
    ],
)
def test_a_site_can_close_what_is_shown_by_default(
    hidden: str, command: str, apptainer: Door, tmp_path: Path
) -> None:
    own = Path("/tmp") / f"cwl-udss-{os.getpid()}"
    own.touch()
    directory = Path("/dev/shm") / f"cwl-udss-{os.getpid()}"
    directory.mkdir(exist_ok=True)
    home = os.path.expanduser(f"~{os.environ.get('USER', '')}")
    try:
        words = ("sh", "-c", command.format(home=home, directory=tmp_path, own=own))
        cwd = tmp_path if hidden == "cwd" else directory
        shown = "tmp" if hidden == "cwd" else ""
        done = apptainer("exec", BUSYBOX, *words, cwd=cwd, CWL_UDSS_DOOR_HIDE=f"{hidden},{shown}")
        assert done.returncode != 0
    finally:
        own.unlink()
        directory.rmdir()


def test_what_a_site_has_closed_is_shown_to_who_asks_for_it(
    apptainer: Door, tmp_path: Path
) -> None:
    words = ("sh", "-c", "cat ~/file; touch /tmp/own && ls /tmp")
    (tmp_path / "file").write_text("mine\n")
    hidden = {"CWL_UDSS_DOOR_HIDE": "home,cwd,tmp,network"}
    done = apptainer("exec", "--home", f"{tmp_path}:/home/me", BUSYBOX, *words, **hidden)
    assert done.stdout == "mine\nown\n", done.stderr


def test_what_a_step_was_given_is_in_the_log(apptainer: Door, tmp_path: Path) -> None:
    done = apptainer("--debug", "exec", "--no-home", "-B", ".:/data:ro", BUSYBOX, "true")
    assert f"given: {tmp_path}:/data:ro" in done.stderr
    assert "given: the network" in done.stderr
    assert apptainer("exec", "-B", ".:/data:ro", BUSYBOX, "true").stderr == ""


def test_what_is_ignored_is_said_only_to_who_asks(apptainer: Door) -> None:
    apptainer("exec", BUSYBOX, "true")  # pulls it, if no other test has, and says so
    assert apptainer("exec", "--pid", "--no-eval", BUSYBOX, "true").stderr == ""
    assert "--pid changes nothing" in apptainer("-d", "exec", "-p", BUSYBOX, "true").stderr
    assert "--nv" in apptainer("exec", "--nv", BUSYBOX, "true").stderr
    assert apptainer("-s", "exec", "--nv", BUSYBOX, "true").stderr == ""


def test_a_caller_may_be_in_shared_memory(apptainer: Door) -> None:
    """Which all commands of a job share by default, as processes of MPI do."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        done = apptainer("exec", BUSYBOX, "sh", "-c", "pwd; touch here", cwd=Path(work))
        assert (done.returncode, done.stdout) == (0, f"{work}\n"), done.stderr
        listing = ("exec", "--contain", "-B", work, BUSYBOX, "ls", "/dev/shm", work)
        done = apptainer(*listing, cwd=Path(work))
        assert done.stdout.split() == ["/dev/shm:", Path(work).name, f"{work}:", "here"]


def test_a_command_may_believe_to_be_root_and_write_over_the_image(apptainer: Door) -> None:
    words = ("sh", "-c", "id -u; touch /x && ls /x; hostname; echo $HOME | grep /root")
    done = apptainer("exec", "-f", "--writable-tmpfs", "--hostname", "box", BUSYBOX, *words)
    assert done.stdout == "0\n/x\nbox\n/root\n", done.stderr
    done = apptainer("exec", BUSYBOX, *words)
    assert done.stdout == f"{os.getuid()}\n{socket.gethostname()}\n"
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_the_commands(
    number: signal.Signals, doors: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """It gets its time; what it has left behind ends with it."""
    script = "trap 'sleep 0.2; echo got; exit 5' TERM HUP USR1; echo ready; sleep 71 & wait"
    with subprocess.Popen(
        [doors / "apptainer", "exec", BUSYBOX, "sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "got\n"
        assert process.wait(timeout=60) == 5


def test_a_command_ends_with_a_client_that_is_killed(
    doors: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """cwltool and Toil end clients by SIGKILL."""
    script = "echo ready; while sleep 0.1; do date > beat; done"
    with subprocess.Popen(
        [doors / "apptainer", "exec", BUSYBOX, "sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        (tmp_path / "beat").unlink(missing_ok=True)
        time.sleep(0.5)
        if not (tmp_path / "beat").exists():
            return
    pytest.fail("it goes on")


def test_streamflow_reads_which_file_says_what_is_mounted(apptainer: Door) -> None:
    lines = apptainer("buildcfg").stdout.splitlines()
    [path] = [line.partition("=")[2] for line in lines if "CONF_FILE" in line]
    assert Path(path).read_text() == ""


def test_the_cache_is_the_store(apptainer: Door, tmp_path: Path) -> None:
    own = {"CWL_UDSS_STORE": str(tmp_path / "store")}
    assert apptainer("exec", BUSYBOX, "true", **own).returncode == 0
    said = apptainer("cache", "list", **own).stdout
    assert said.startswith("There are 1 container file(s) using ")
    assert "Removing sha256:" in apptainer("cache", "clean", "--dry-run", **own).stdout
    assert apptainer("cache", "clean", input="n\n", **own).returncode == 0
    assert "There are 1 " in apptainer("cache", "list", **own).stdout
    assert apptainer("cache", "clean", "-f", **own).returncode == 0
    assert "There are 0 " in apptainer("cache", "list", **own).stdout


def test_a_setting_that_means_nothing_is_fatal(apptainer: Door) -> None:
    done = apptainer("exec", BUSYBOX, "true", CWL_UDSS_DOOR_HIDE="everything")
    assert done.returncode == 255
    assert done.stderr.startswith("FATAL:   door_hide from $CWL_UDSS_DOOR_HIDE")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["A=b"], {"A": "b"}),
        (["export A='b c'", "", "# no", '  B="$A d"'], {"A": "b c", "B": "b c d"}),
        (["A=${HOST}x", "B='$HOST'", r"C=\$HOST"], {"A": "hx", "B": "$HOST", "C": "$HOST"}),
        (["A=", "B=x # a comment"], {"A": "", "B": "x"}),
    ],
)
def test_a_file_of_variables(lines: list[str], found: dict[str, str]) -> None:
    assert file_variables(lines, {"HOST": "h"}) == found


@pytest.mark.parametrize("line", ["A b", "1=2", "if true; then A=b; fi"])
def test_a_file_that_is_more_than_variables(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        file_variables([line], {})


def test_the_environment_of_an_image_without_scripts() -> None:
    caller = {"A": "host", "B": "host", "C": "host", "PATH": "/host", "APPTAINERENV_D": "named"}
    variables = variables_of(caller, {"E": "option"}, {"HOME": "/h"}, clean=False)
    found = whole_environment({"PATH": "/x:/bin", "A": "image", "B": "", "D": "image"}, variables)
    assert found["PATH"] == "/x:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin"
    assert {name: found.get(name) for name in "ABCDE"} == {
        **{"A": "image", "B": None, "C": "host"},
        **{"D": "named", "E": "option"},
    }
