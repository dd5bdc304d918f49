# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss` as a person types it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from commands import COMMANDS, Command
from mortal import remaining
from needs import need
from terminals import terminal

from cwl_udss.commands.findings import Finding
from cwl_udss.commands.printing.findings import describe
from cwl_udss.runtimes.bubblewrap.probe import bundled_bubblewrap

DEBIAN = "docker.io/library/debian:stable-slim"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("run",),
        ("images",),
        ("images", "pull"),
        ("images", "list"),
        ("images", "rm"),
        ("doctor",),
    ],
)
def test_every_command_has_a_help_page(run_command: Command, arguments: tuple[str, ...]) -> None:
    done = run_command("cwl-udss", *arguments, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: cwl-udss")
    assert len(done.stdout.splitlines()) > 5


def test_as_a_module(run_command: Command) -> None:
    module = run_command("python", "-m", "cwl_udss", "--help")
    assert module.stdout == run_command("cwl-udss", "--help").stdout


def test_no_command_is_a_usage_error(run_command: Command) -> None:
    assert run_command("cwl-udss").returncode == 2


def test_run_asks_no_registry_offline(run_command: Command, tmp_path: Path) -> None:
    done = run_command(
        *("cwl-udss", "run", "--udss-offline", DEBIAN, "true"), CWL_UDSS_STORE=f"{tmp_path}/store"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the image {DEBIAN} is not in the store {tmp_path}/store" in done.stderr


def test_run_works_in_the_current_directory_only(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("content")
    done = run_command(
        *("cwl-udss", "run", DEBIAN, "--", "sh", "-c"),
        f"cat input; echo x > output; pwd; ls {tmp_path.parent} /root; touch /etc/x; exit 7",
    )
    assert done.returncode == 7
    assert done.stdout == f"content{tmp_path}\n/root:\n\n{tmp_path.parent}:\n{tmp_path.name}\n"
    assert (tmp_path / "output").read_text() == "x\n"


def test_run_only_adds_to_the_callers_files(
    run_command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    run_command("cwl-udss", "images", "pull", DEBIAN)  # which would be told
    log = tmp_path / "log"
    log.write_text("a line of last week\n")
    with log.open("a") as stream:
        subprocess.run(
            [
                *(COMMANDS / "cwl-udss", "run", DEBIAN, "--", "sh", "-c"),
                "echo one > /dev/stdout; echo two > /dev/stderr; cat /dev/stdout",
            ],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
            timeout=60,
        )
    assert log.read_text().splitlines()[:3] == ["a line of last week", "one", "two"]
    assert log.read_text().count("last week") == 1


def test_run_in_a_shells_loop_leaves_the_loop_its_input(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("1\n2\n3\n")
    loop = f"while read line; do cwl-udss run {DEBIAN} -- echo got $line; done < list"
    done = subprocess.run(
        ["sh", "-c", loop], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"got 1\ngot 2\ngot 3\n"


def test_run_in_a_loop_at_the_end_of_a_pipe_leaves_the_loop_its_input(
    environment: dict[str, str], tmp_path: Path
) -> None:
    loop = f"printf '1\\n2\\n' | while read line; do cwl-udss run {DEBIAN} -- echo got $line; done"
    done = subprocess.run(
        ["sh", "-c", loop], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"got 1\ngot 2\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_run_without_all_of_the_standard_streams(
    environment: dict[str, str], tmp_path: Path, closed: str
) -> None:
    """The first files that the program opens would be those of the step."""
    script = "cat; echo said; echo said >&2; touch done; exit 3"
    done = subprocess.run(
        ["sh", "-c", f"exec cwl-udss run {DEBIAN} -- sh -c '{script}' {closed}"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert (tmp_path / "done").exists()


def test_run_where_the_ends_of_children_are_ignored(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Whoever ignores SIGCHLD hands that on to all programs that it starts."""
    starter = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    done = subprocess.run(
        [
            *(sys.executable, "-c", f"{starter}os.execvp(sys.argv[1], sys.argv[1:])"),
            *("cwl-udss", "run", DEBIAN, "--", "sh", "-c", "exit 3"),
        ],
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 3


def test_run_says_nothing_of_a_reader_that_has_left(
    run_command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    run_command("cwl-udss", "images", "pull", DEBIAN)  # which would be told
    done = subprocess.run(
        ["sh", "-c", f"cwl-udss run {DEBIAN} -- yes | head -1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"y\n", b"")


def test_run_at_a_terminal_has_the_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [COMMANDS / "cwl-udss", "run", DEBIAN, "--", "sh", "-c", "test -t 0 && test -t 1; exit $?"],
        cwd=tmp_path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        _, errors = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    marker = f"7{os.getpid()}"
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(
        [
            *(COMMANDS / "cwl-udss", "run", "--udss-scratch", tmp_path / "scratch", DEBIAN, "--"),
            *("sh", "-c", f"echo begun; sleep {marker}"),
        ],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert b"Traceback" not in errors
    assert remaining(marker) == []
    assert not list((tmp_path / "scratch").glob("*/runs/*"))


@pytest.mark.parametrize("runtime", ["bwrap", "crun", "runc"])
@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 7), (b"\x1c", 8)])
def test_what_is_typed_is_for_the_command(
    environment: dict[str, str], tmp_path: Path, runtime: str, typed: bytes, code: int
) -> None:
    """Ctrl-C and Ctrl-\\: it does with them what it will, and goes on."""
    if runtime != "bwrap" and shutil.which(runtime) is None:
        need(f"needs the Debian package of {runtime}")
    script = (
        "trap 'echo interrupted; code=7' INT; trap 'echo quit; code=8' QUIT; echo begun; "
        "read line; sleep 0.2; echo read $line; exit $code"
    )
    process, ours = os.forkpty()
    if process == 0:
        for number in (signal.SIGINT, signal.SIGQUIT):  # who runs tests may ignore them
            signal.signal(number, signal.SIG_DFL)
        os.chdir(tmp_path)
        command = str(COMMANDS / "cwl-udss")
        environment["CWL_UDSS_RUNTIME"] = runtime
        os.execve(command, [command, "run", DEBIAN, "--", "bash", "-c", script], environment)
    said = until(ours, b"begun")
    os.write(ours, typed)
    said += until(ours, b"interrupted" if code == 7 else b"quit")
    os.write(ours, b"word\n")
    said += until(ours, b"read word")
    _, status = os.waitpid(process, 0)
    os.close(ours)
    assert os.waitstatus_to_exitcode(status) == code, said


def until(terminal: int, words: bytes) -> bytes:
    """Read until that was said; what is no answer within a minute is none."""
    said = b""
    while words not in said:
        assert select.select([terminal], [], [], 60)[0], said
        said += os.read(terminal, 1024)
    return said


def test_run_without_a_command_runs_the_images(run_command: Command) -> None:
    done = run_command("cwl-udss", "run", "docker.io/library/entrypoint:1")
    assert (done.returncode, done.stdout) == (0, "the image's own command\n")
    assert "entry point" in done.stderr


@pytest.mark.parametrize("format", ["directory", "squashfs"])
def test_run_what_cannot_be_executed(run_command: Command, tmp_path: Path, format: str) -> None:
    store = ("--udss-store", tmp_path / "store", "--udss-format", format)
    for command, reason in (
        ("no-such-program", "no such program is in the image (PATH is /usr/local/bin:"),
        ("/etc/os-release", "/usr/lib/os-release is not executable (mode 0644)"),
    ):
        done = run_command("cwl-udss", "run", *store, DEBIAN, command)
        assert done.returncode == 127
        assert f"{command!r} cannot be executed in {DEBIAN}: {reason}" in done.stderr


def test_run_what_a_signal_ends(run_command: Command) -> None:
    done = run_command("cwl-udss", "run", DEBIAN, "sh", "-c", "kill -SEGV $$")
    assert done.returncode == 128 + signal.SIGSEGV
    assert "terminated by signal: SIGSEGV" in done.stderr
    silent = run_command("cwl-udss", "run", DEBIAN, "sh", "-c", "exit 200")
    assert (silent.returncode, silent.stderr) == (200, "")


def test_run_in_an_image_of_nothing_but_busybox(run_command: Command) -> None:
    done = run_command("cwl-udss", "run", "docker.io/library/busybox:1.36", "sh", "-c", "id -u")
    assert done.stdout == f"{os.getuid()}\n"


def test_images(run_command: Command, tmp_path: Path) -> None:
    store = ("--udss-store", tmp_path / "store")
    empty = run_command("cwl-udss", "images", "list", *store)
    assert (empty.returncode, empty.stdout) == (0, "")
    pulled = run_command("cwl-udss", "images", "pull", *store, "busybox:1.36", DEBIAN)
    assert pulled.returncode == 0, pulled.stderr
    assert [line.split()[1] for line in pulled.stdout.splitlines()] == ["busybox:1.36", DEBIAN]
    assert "pulled docker.io/library/busybox:1.36" in pulled.stderr
    listed = run_command("cwl-udss", "images", "list", *store)
    assert "docker.io/library/busybox:1.36" in listed.stdout
    assert len(listed.stdout.splitlines()) == 3
    assert listed.stderr.startswith("2 images, ")
    found = run_command("cwl-udss", "images", "list", *store, "--filter", "*busybox:1*", "--json")
    [image] = json.loads(found.stdout)
    assert image["references"] == ["docker.io/library/busybox:1.36"]
    removed = run_command("cwl-udss", "images", "rm", *store, "busybox:1.36")
    assert removed.returncode == 0
    assert "busybox" not in run_command("cwl-udss", "images", "list", *store).stdout


def test_pulling_goes_on_after_one_that_fails(run_command: Command, tmp_path: Path) -> None:
    done = run_command(
        *("cwl-udss", "images", "pull", "--udss-store", tmp_path / "store"),
        *("127.0.0.1:1/nothing", "busybox:1.36"),
    )
    assert done.returncode == 1
    assert "busybox:1.36" in done.stdout
    assert "127.0.0.1:1 does not answer" in done.stderr


def test_a_mistyped_path_is_not_pulled(run_command: Command) -> None:
    names = ("none.cwl", "./none.sif", "none.tar", "dir/none.cwl", "none.cwl#main")
    done = run_command("cwl-udss", "images", "pull", *names)
    assert done.returncode == 1
    paths = [name.partition("#")[0] for name in names]
    assert done.stderr.splitlines() == [
        f"cwl-udss: there is no file {path}: look at its path" for path in paths
    ]


def test_an_image_in_a_file_is_pulled_and_exported_by_its_path(
    run_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/content").write_text("x")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(tmp_path / "root", ".")
    store = ("--udss-store", tmp_path / "store")
    for command in (("pull",), ("export", "bundle.tar")):
        done = run_command("cwl-udss", "images", *command, *store, "root.tar")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle.tar").exists()
    for name in ("./root.tar", f"file://{tmp_path}/root.tar"):
        shown = run_command("cwl-udss", "images", "inspect", *store, name)
        assert json.loads(shown.stdout)["references"] == [str(tmp_path / "root.tar")]
    assert run_command("cwl-udss", "images", "rm", *store, "./root.tar").returncode == 0
    assert run_command("cwl-udss", "images", "list", *store).stdout == ""


def test_a_workflow_may_be_called_anything(run_command: Command, tmp_path: Path) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {"dockerPull": "busybox:1.36"}},
        "inputs": [],
        "outputs": [],
        "baseCommand": "true",
    }
    (tmp_path / "tool").write_text(json.dumps(tool))
    done = run_command("cwl-udss", "images", "pull", "./tool")
    assert done.stdout.split()[1:] == ["busybox:1.36"], done.stderr


@pytest.mark.parametrize("named", [{}, {"dockerImageId": "built:1"}], ids=["unnamed", "named"])
def test_what_a_workflow_needs_can_be_carried(
    run_command: Command, tmp_path: Path, named: dict[str, str]
) -> None:
    """An image that is built, and what it is built of, which says what it is; and a file."""
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root/root.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/sh")
    images = (
        {"dockerFile": "FROM busybox:1.36\nRUN touch /made\n", **named},
        {"dockerImport": "root/root.tar", **named},
        {"dockerImageId": "./root/root.tar"},
    )
    for number, requirement in enumerate(images):
        tool = {
            "cwlVersion": "v1.2",
            "class": "CommandLineTool",
            "requirements": {"DockerRequirement": requirement},
            "inputs": [],
            "outputs": [],
            "baseCommand": ["sh", "-c", "true"],
        }
        (tmp_path / "tool.cwl").write_text(json.dumps(tool))
        here = ("--udss-store", tmp_path / "store")
        there = ("--udss-store", tmp_path / f"store{number}", "--udss-offline")
        bundle = f"bundle{number}"
        for command in (
            ("cwl-udss", "images", "pull", *here, "tool.cwl"),
            ("cwl-udss", "images", "export", *here, bundle, "tool.cwl"),
            ("cwl-udss", "images", "import", *there, bundle),
            ("cwltool", "--udss", *there, "tool.cwl"),
        ):
            done = run_command(*command)
            assert done.returncode == 0, done.stderr


def test_what_cannot_be_exported_or_imported(run_command: Command, tmp_path: Path) -> None:
    """Each is called by its name, and nothing is blamed on the store."""
    (tmp_path / "root").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "tool.cwl").write_text("cwlVersion: v1.2\n")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/sh")
    assert run_command("cwl-udss", "images", "pull", "busybox:1.36").returncode == 0
    for arguments, message in (
        (("export", ".", "busybox:1.36"), ". is a directory: name a file in it"),
        (
            ("export", "none/bundle", "busybox:1.36"),
            "there is no directory none: name another place",
        ),
        (
            ("export", "bundle", "./root"),
            f"{tmp_path}/root is used where it is: carry it as any other directory",
        ),
        (("export", "bundle", "./none.tar"), "there is no file ./none.tar: look at its path"),
        (
            ("import", "root.tar"),
            "root.tar holds nothing that `cwl-udss images export` has written: what others have "
            "written is an image by its path: cwl-udss images pull ./FILE",
        ),
        (
            ("import", "empty"),
            "empty is empty, and no bundle of images: give what `cwl-udss images export` has "
            "written",
        ),
        (
            ("import", "tool.cwl"),
            "tool.cwl is a CWL document, and no bundle of images: give what `cwl-udss images "
            "export` has written",
        ),
    ):
        done = run_command("cwl-udss", "images", *arguments)
        assert (done.returncode, done.stderr) == (1, f"cwl-udss: {message}\n")
    assert not (tmp_path / "bundle.tar").exists()


def test_an_error_is_one_line(run_command: Command) -> None:
    for arguments in (
        ("images", "rm", "nothing:1"),
        ("run", "Upper/Case@x", "true"),
        ("images", "list", "--udss-store", "/proc/store"),
    ):
        done = run_command("cwl-udss", *arguments)
        assert done.returncode == (0 if arguments[1] == "list" else 1)
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_doctor(run_command: Command) -> None:
    done = run_command("cwl-udss", "doctor")
    assert done.returncode == 0, done.stdout
    for subject in ("versions", "cwltool command", "sandbox", "JavaScript", "store"):
        assert f"ok    {subject}: " in done.stdout


def test_doctor_shows_what_is_set_and_by_what(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('batch_memory = "4096M"\nlibrary = ["/one", "/two"]')
    done = run_command(
        *("cwl-udss", "doctor", "--udss-batch-walltime", "5400", "--udss-store", "store"),
        CWL_UDSS_CONFIG=str(tmp_path / "config.toml"),
        CWL_UDSS_BATCH_JOBS="200",
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    first = lines.index("ok    settings:            all are at their defaults but")
    assert lines[first + 1 : first + 7] == [
        f"store = {tmp_path}/store (--udss-store)",
        f"library = /one,/two ({tmp_path}/config.toml)",
        f"batch_memory = 4G ({tmp_path}/config.toml)",
        "batch_walltime = 1:30:00 (--udss-batch-walltime)",
        "batch_jobs = 200 ($CWL_UDSS_BATCH_JOBS)",
        next(line for line in lines if " sandbox:" in line),
    ]


def test_doctor_says_first_what_there_is_to_be_done() -> None:
    findings = [
        Finding(subject="one", text="well"),
        Finding(subject="another", text="slow", advice="do this"),
        Finding(subject="third", text="wrong", well=False),
    ]
    assert list(describe(findings)) == [
        "FAIL  third:   wrong",
        "note  another: slow: do this",
        "ok    one:     well",
    ]


def test_doctor_for_monitoring(run_command: Command) -> None:
    done = run_command("cwl-udss", "doctor", "--json", CWL_UDSS_BATCH_JOBS="7", TERM="xterm")
    found = json.loads(done.stdout)
    assert found["well"] is (done.returncode == 0) is True
    assert found["settings"]["batch_jobs"] == {"value": "7", "origin": "$CWL_UDSS_BATCH_JOBS"}
    assert "retries" not in found["settings"]
    states = [finding["state"] for finding in found["findings"]]
    assert states == sorted(states, key=["FAIL", "note", "ok"].index)
    refused = run_command("cwl-udss", "doctor", "--json", "--runtime", "bwrap")
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.parametrize("width", [20, 80, 200])
def test_doctor_at_a_terminal(width: int, environment: dict[str, str], tmp_path: Path) -> None:
    variables = {"CWL_UDSS_RETRIES": "3", "CWL_UDSS_BATCH_NAME": "[red]x[/red]"}
    with terminal(
        [COMMANDS / "cwl-udss", "doctor"],
        directory=tmp_path,
        environment={**environment, **variables},
        size=(width, 80),
    ) as seen:
        assert seen.look_to_the_end() == 0
        text = seen.text
    assert "retries = 3" in " ".join(text.split())
    if width >= 80:
        assert "[red]x[/red]" in text
        assert max(map(len, text.splitlines())) <= width
        # What is folded stays in its column.
        assert all(line.startswith(("FAIL ", "note ", "ok ", "   ")) for line in text.splitlines())


def test_doctor_names_what_is_wrong(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "registries.conf").write_text("x =")
    done = run_command(
        *("cwl-udss", "doctor", "--udss-bwrap", "/bin/false", "--udss-store", "/proc/none"),
        CONTAINERS_REGISTRIES_CONF=str(tmp_path / "registries.conf"),
    )
    assert done.returncode == 1
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert [line.split(":")[0].split(None, 1)[1] for line in failures] == [
        "sandbox",
        "JavaScript",
        "store",
        "registries",
    ]


def test_who_reads_the_output_may_stop(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", "cwl-udss doctor | true"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


@pytest.fixture
def other_installation(tmp_path: Path) -> Path:
    """An environment that shares this one's packages, and has commands of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    packages = next((tmp_path / "other/lib").glob("python*/site-packages"))
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "here.pth").write_text("\n".join([*here, str(Path(__file__).parent.parent)]))
    return tmp_path / "other/bin"


ORIGINAL = "#!{python}\nimport sys\nfrom cwltool.main import run\nsys.exit(run(sys.argv[1:]))\n"


@pytest.mark.parametrize("before", ["original", "missing"])
def test_doctor_notices_and_mends_the_command(
    environment: dict[str, str], other_installation: Path, before: str
) -> None:
    """What an upgrade of cwltool, or an installer with an order of its own, leaves behind."""
    command = other_installation / "cwltool"
    if before == "original":
        command.write_text(ORIGINAL.format(python=other_installation / "python"))
        command.chmod(0o755)
    doctor = [str(other_installation / "python"), "-m", "cwl_udss", "doctor"]
    variables = {**environment, "PATH": f"{other_installation}:/usr/bin:/bin"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(arguments, env=variables, capture_output=True, text=True, check=False)

    found = run(*doctor)
    assert found.returncode == 1
    assert f"it is {before}" in found.stdout
    assert "type: cwl-udss doctor --mend" in found.stdout
    assert run(*doctor, "--mend").returncode == 0
    assert "with cwl-udss" in run(str(command), "--version").stdout


def test_doctor_notices_another_command_first_on_path(
    run_command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "cwltool").write_text("#!/bin/sh\n")
    (tmp_path / "cwltool").chmod(0o755)
    done = run_command("cwl-udss", "doctor", PATH=f"{tmp_path}:{environment['PATH']}")
    assert done.returncode == 1
    assert f"PATH finds another first, {tmp_path}/cwltool" in done.stdout


def test_a_bad_setting_is_one_line_from_both_commands(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('stroe = "x"')
    (tmp_path / "tool.cwl").write_text(json.dumps({"class": "CommandLineTool"}))
    for command in (("cwl-udss", "images", "list"), ("cwltool", "--udss", "tool.cwl")):
        done = run_command(*command, CWL_UDSS_CONFIG=str(tmp_path / "config.toml"))
        assert done.returncode == 1
        assert "did you mean 'store'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_machine_without_user_namespaces(environment: dict[str, str], tmp_path: Path) -> None:
    """Simulated: in a sandbox of bubblewrap that allows no further one."""
    bwrap = [bundled_bubblewrap().path, "--dev-bind", "/", "/"]
    bwrap += ["--unshare-user", "--disable-userns", "--"]
    done = subprocess.run(
        [*bwrap, str(COMMANDS / "cwl-udss"), "run", DEBIAN, "true"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "no sandbox can be made" in line
    assert "ask for `sysctl" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_list_without_all_of_the_standard_streams(run_command: Command, closed: str) -> None:
    whole = run_command("cwl-udss", "images", "list").stdout
    done = run_command("/bin/sh", "-c", f"cwl-udss images list {closed}")
    assert (done.returncode, done.stdout) == (0, "" if " >&-" in f" {closed}" else whole)
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    "command", ["cwl-udss images list", "cwl-udss --help", "cwltool --udss --version"]
)
def test_output_that_cannot_be_written(run_command: Command, command: str) -> None:
    run_command("cwl-udss", "images", "pull", DEBIAN)
    done = run_command("/bin/sh", "-c", f"{command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{command.split()[0]}: standard output")
    assert done.stderr.endswith(": No space left on device\n")
    assert len(done.stderr.splitlines()) == 1


def test_output_that_is_not_in_utf_8(run_command: Command) -> None:
    done = run_command("cwltool", "--udss", "missing.cwl", PYTHONIOENCODING="latin-1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run", "is no image reference"),
        ("images pull", "is no image reference"),
        ("images rm", r"there is no image '\udcff' in the store"),
    ],
)
def test_an_image_whose_name_is_no_text(run_command: Command, command: str, said: str) -> None:
    done = run_command("cwl-udss", *command.split(), os.fsdecode(b"\xff"))
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves(run_command: Command) -> None:
    done = run_command("/bin/bash", "-c", "cwl-udss --help | exec true; exit $PIPESTATUS")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("missing/file", "there is no directory missing: name another place"),
        (".", ". is a directory: name a file in it"),
        ("read-only/file", "the images cannot be written: read-only/"),
    ],
)
def test_exporting_to_where_nothing_can_be_written(
    run_command: Command, tmp_path: Path, target: str, said: str
) -> None:
    (tmp_path / "read-only").mkdir(mode=0o555)
    run_command("cwl-udss", "images", "pull", DEBIAN)
    done = run_command("cwl-udss", "images", "export", target, DEBIAN)
    assert done.returncode == 1
    assert said in done.stderr
    assert "the store" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".tar") == []


def test_exporting_to_what_is_there(run_command: Command, tmp_path: Path) -> None:
    """A link stays one, and what is no file is written to."""
    (tmp_path / "old.tar").write_text("old")
    (tmp_path / "link.tar").symlink_to("old.tar")
    run_command("cwl-udss", "images", "pull", DEBIAN)
    assert run_command("cwl-udss", "images", "export", "link.tar", DEBIAN).returncode == 0
    assert (tmp_path / "link.tar").is_symlink()
    assert tarfile.is_tarfile(tmp_path / "old.tar")
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["wc", "-c", tmp_path / "pipe"], stdout=subprocess.PIPE) as wc:
        assert run_command("cwl-udss", "images", "export", "pipe", DEBIAN).returncode == 0
        assert wc.stdout is not None
        assert int(wc.stdout.read().split()[0]) == (tmp_path / "old.tar").stat().st_size


def test_options_of_ours_without_udss(run_command: Command) -> None:
    """Steps would be run by Docker, or on this machine, and nobody would be told."""
    for option in (["--udss-store", "x"], ["--udss-offline"], ["--udss-detach"]):
        done = run_command("cwltool", *option, "missing.cwl")
        assert done.returncode == 2
        assert done.stderr == f"cwltool: {option[0]} is for runs with --udss: add that\n"


def test_a_root_filesystem_needs_no_pull(run_command: Command) -> None:
    assert run_command("cwl-udss", "images", "pull", "/").stdout == "- /\n"


def test_doctor_names_a_library_that_is_not_there(run_command: Command) -> None:
    done = run_command("cwl-udss", "doctor", "--udss-library", "/missing")
    assert "library:" in done.stdout
    assert "/missing has no images, and is passed over" in done.stdout


def test_doctor_names_the_libraries_that_are_there(run_command: Command, tmp_path: Path) -> None:
    for name in ("nextflow", "cwltool"):
        (tmp_path / name).mkdir()
    done = run_command(
        *("cwl-udss", "doctor", "--udss-library", f"nextflow:{tmp_path}/nextflow"),
        *("--udss-library", "enroot:/missing"),
        CWL_SINGULARITY_CACHE=str(tmp_path / "cwltool"),
        NXF_SINGULARITY_CACHEDIR="/nowhere",
        HOME=str(tmp_path),  # others may have a cache of Apptainer in theirs
    )
    assert "library: " in done.stdout
    assert "enroot:/missing is not there, and is passed over" in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("ok    libraries:"))
    assert lines[first].endswith("images in them are used by their names")
    assert lines[first + 1 : first + 4] == [
        f"nextflow:{tmp_path}/nextflow, named by Nextflow (--udss-library)",
        f"cwltool:{tmp_path}/cwltool, named by cwltool and cwl-utils ($CWL_SINGULARITY_CACHE)",
        f"sandboxes:{tmp_path}/cwltool, named by cwltool (directories) ($CWL_SINGULARITY_CACHE)",
    ]
    assert "/nowhere" not in done.stdout
    done = run_command(
        *("cwl-udss", "doctor", "--udss-known-libraries", "no"),
        CWL_SINGULARITY_CACHE=str(tmp_path / "cwltool"),
    )
    assert "libraries:" not in done.stdout


def test_a_bubblewrap_that_is_none(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "fails").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "fails").chmod(0o755)
    for name, said in (
        ("missing", "missing cannot be executed: No such file or directory"),
        ("fails", "fails --help fails: is it bubblewrap?"),
    ):
        done = run_command("cwl-udss", "run", "--udss-bwrap", tmp_path / name, DEBIAN, "true")
        assert done.returncode == 1
        assert f"{tmp_path}/{said}" in done.stderr
        assert "--udss-bwrap" in done.stderr
