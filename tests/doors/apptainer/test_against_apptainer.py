# SPDX-License-Identifier: Apache-2.0
"""The same lines by a real Apptainer and by ours: status, output, environment, what is seen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign.sid import Sid
from foreign.sifs import (
    sandbox_directory,
    sif_of_archive,
    sif_of_definition,
    sif_of_directory,
)
from foreign.workshop import Workshop

Both = Callable[..., tuple["subprocess.CompletedProcess[str]", "subprocess.CompletedProcess[str]"]]
IMAGES = {
    "pulled": sif_of_archive,
    "defined": sif_of_definition,
    "of-directory": sif_of_directory,
    "sandbox": sandbox_directory,
}
# Apptainer's own scripts quote values of Docker's twice; a pulled image's are read as they were.
QUOTED_TWICE = ("QUOTED",)
# What a caller of programs is told of by their shells, in any order.
SHELLS_OWN = ("_", "SHLVL", "OLDPWD", "USER_PATH")


@pytest.fixture
def both(sid: Sid, doors: Path, environment: dict[str, str], tmp_path: Path) -> Both:
    """Run a line by both, each in a directory of its own, which is called the same."""
    sid.write_script(tmp_path / "real", "apptainer")

    def run(
        *arguments: str | Path, input: str = "", **variables: str
    ) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
        done = []
        for program in (tmp_path / "real", doors / "apptainer"):
            place = tmp_path / "place"
            place.mkdir()
            (place / "file").write_text("of the host\n")
            done.append(
                subprocess.run(
                    [program, *arguments],
                    cwd=place,
                    env={**environment, "HOST_VARIABLE": "of the host", **variables},
                    input=input,
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
            )
            place.rename(tmp_path / f"place-{len(list(tmp_path.iterdir()))}")
        return done[0], done[1]

    return run


# `{}` stands for the image.
LINES: dict[str, tuple[str, ...]] = {
    "status": ("exec", "{}", "sh", "-c", "exit 7"),
    "signal": ("exec", "{}", "sh", "-c", "kill -TERM $$"),
    "killed": ("exec", "{}", "sh", "-c", "kill -KILL $$"),
    "missing program": ("exec", "{}", "nope"),
    "missing path": ("exec", "{}", "/nope/nope"),
    "a directory": ("exec", "{}", "/etc"),
    "missing image": ("exec", "/nope.sif", "true"),
    "no command": ("exec", "{}"),
    "no arguments": ("exec",),
    "unknown option": ("exec", "--nope", "{}", "true"),
    "unknown command": ("nope",),
    "nothing": (),
    "options of the command": ("exec", "{}", "echo", "--nv", "-B", "x", "--", "y"),
    "dashes": ("exec", "--", "{}", "echo", "x"),
    "dashes behind the image": ("exec", "{}", "--", "echo", "x"),
    "a flag's value": ("exec", "--no-home=true", "--contain=false", "{}", "pwd"),
    "short options together": ("exec", "-ec", "{}", "sh", "-c", "echo ${HOST_VARIABLE-unset}"),
    "working directory": ("exec", "--no-home", "{}", "sh", "-c", "pwd; cat file"),
    "pwd": ("exec", "--no-home", "--pwd", "/tmp", "{}", "pwd"),
    "pwd=": ("exec", "--no-home", "--pwd=/etc", "{}", "pwd"),
    "cwd": ("exec", "--no-home", "--cwd", "/tmp", "{}", "pwd"),
    "pwd that is missing": ("exec", "--no-home", "--pwd", "/nope", "{}", "pwd"),
    "contain": ("exec", "--contain", "{}", "sh", "-c", "pwd; ls -A . /tmp /var/tmp; touch x"),
    "containall": ("exec", "-C", "{}", "sh", "-c", "pwd; ls -A .; echo ${HOST_VARIABLE-unset}"),
    "no-home": ("exec", "--no-home", "{}", "sh", "-c", "ls -d $HOME || echo none"),
    "home": ("exec", "--home", ".:/home/x", "{}", "sh", "-c", "pwd; echo $HOME; ls $HOME; cd; pwd"),
    "home alone": ("exec", "--home", "{place}", "{}", "sh", "-c", "pwd; echo $HOME; cat ~/file"),
    "home that is contained": ("exec", "-c", "-H", ".:/home/x", "{}", "sh", "-c", "pwd; ls"),
    "home in too many parts": ("exec", "--home", "a:b:c", "{}", "true"),
    "bind": ("exec", "--no-home", "--bind", "{place}:/data", "{}", "sh", "-c", "cat /data/file"),
    "relative bind": ("exec", "--no-home", "-B", ".:/ds", "{}", "sh", "-c", "echo x > /ds/y; ls"),
    "read-only bind": ("exec", "--no-home", "-B", ".:/ds:ro", "{}", "sh", "-c", "touch /ds/y"),
    "deep bind": ("exec", "--no-home", "-B", "file:/a/b/c", "{}", "cat", "/a/b/c"),
    "several binds": ("exec", "--no-home", "-B", "file:/a,file:/b:ro,.:/c", "{}", "ls", "/", "/c"),
    "bind in a bind": ("exec", "-B", ".:/c:ro,file:/c/file", "{}", "sh", "-c", "echo x >> /c/file"),
    "bind over tmp": ("exec", "--no-home", "-B", ".:/tmp", "{}", "ls", "/tmp"),
    "missing bind": ("exec", "--no-home", "-B", "/nope:/x", "{}", "true"),
    "empty bind": ("exec", "--no-home", "-B", "", "{}", "true"),
    "bind of an empty variable": ("exec", "--no-home", "-B", "::ro", "{}", "true"),
    "bind to a relative path": ("exec", "--no-home", "-B", ".:x", "{}", "true"),
    "bind with an unknown option": ("exec", "--no-home", "-B", ".:/x:foo", "{}", "true"),
    "mount": (
        *("exec", "--no-home", "--mount", "type=bind,source={place},target=/data,readonly"),
        *("{}", "sh", "-c", "cat /data/file; touch /data/x"),
    ),
    "mount of another type": ("exec", "--mount", "type=tmpfs,destination=/x", "{}", "true"),
    "scratch": (
        "exec",
        "--no-home",
        "--scratch",
        "/scr",
        "{}",
        "sh",
        "-c",
        "touch /scr/x; ls /scr",
    ),
    "workdir": ("exec", "-c", "-W", ".", "{}", "sh", "-c", "touch /tmp/x /var/tmp/y ~/z"),
    "workdir that is missing": ("exec", "-c", "-W", "/nope/nope", "{}", "true"),
    "no-mount": ("exec", "--no-home", "--no-mount", "tmp,cwd", "{}", "sh", "-c", "ls -A /tmp"),
    "env": ("exec", "--env", "A=b,C=d", "--env", "E=f g", "{}", "sh", "-c", "echo $A-$C-$E"),
    "env with a comma": ("exec", "--env", "A=b,c", "{}", "sh", "-c", "echo $A"),
    "env that is none": ("exec", "--env", "A", "{}", "true"),
    "env-file": ("exec", "--env-file", "{place}/../env", "{}", "sh", "-c", "echo $ONE-$TWO-$THREE"),
    "network none": ("exec", "--net", "--network", "none", "{}", "cat", "/proc/net/route"),
    "net alone": ("exec", "--net", "{}", "true"),
    "another network": ("exec", "--net", "--network", "bridge", "{}", "true"),
    "writing": ("exec", "--no-home", "{}", "touch", "/x"),
    "writable": ("exec", "--writable", "{}", "true"),
    "run": ("run", "--no-eval", "{}"),
    "run with arguments": ("run", "--no-eval", "{}", "a", "b  c", "$HOME"),
    "shell": ("shell", "--no-home", "{}"),
    "shell with words": ("shell", "--no-home", "{}", "words"),
    "test": ("test", "--no-home", "{}"),
    "home of a wrong kind": ("exec", "--home", "{place}/file", "{}", "true"),
}
# Of which the output is how it would be right.
OF_USAGE = (
    *("unknown command", "nothing", "no command", "no arguments", "unknown option"),
    "env that is none",
)
# Apptainer has a script for it in every image that says that there is none.
OF_SCRIPTS = ("test",)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.replace(" ", "-"))
def test_a_line_does_what_it_does_for_apptainer(
    line: str, both: Both, workshop: Workshop, tmp_path: Path
) -> None:
    image = sif_of_archive(workshop)
    (tmp_path / "env").write_text("ONE='a b'\nexport TWO=$ONE\n# no more\nTHREE=\"${ONE}c\"\n")
    words = [
        str(image) if word == "{}" else word.replace("{place}", str(tmp_path / "place"))
        for word in LINES[line]
    ]
    real, ours = both(*words, input="echo of standard input; pwd\n")
    said = f"{real.stderr}\n---\n{ours.stderr}"
    assert ours.returncode == real.returncode, said
    if line not in OF_USAGE + OF_SCRIPTS:
        assert ours.stdout == real.stdout, said
    assert ("FATAL:   " in ours.stderr) == ("FATAL:   " in real.stderr), said


def variables(output: str) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in output.split("\0") if entry)
    return {name: value for name, _, value in pairs if name not in SHELLS_OWN}


ENVIRONMENTS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "as it is": ((), {}),
    "clean": (("--cleanenv",), {"TERM": "dumb", "https_proxy": "http://proxy"}),
    "contained": (("--containall",), {}),
    "given by name": ((), {"APPTAINERENV_X": "1", "SINGULARITYENV_Y": "a b"}),
    "given by both names": (("-e",), {"APPTAINERENV_X": "1", "SINGULARITYENV_X": "2"}),
    "the image's are stronger": ((), {"GREETING": "host", "EMPTY": "host", "BASE": "host"}),
    "what is given is stronger": ((), {"APPTAINERENV_GREETING": "host", "APPTAINERENV_BASE": "x"}),
    "what an option gives": (("--env", "GREETING=option"), {"APPTAINERENV_GREETING": "host"}),
    "PATH with more": ((), {"SINGULARITYENV_PREPEND_PATH": "/a", "APPTAINERENV_APPEND_PATH": "/z"}),
    "another PATH": ((), {"APPTAINERENV_PATH": "/bin:/zzz"}),
    "libraries": ((), {"LD_LIBRARY_PATH": "/y", "APPTAINERENV_LD_LIBRARY_PATH": "/x"}),
    "home is not to be had": ((), {"APPTAINERENV_HOME": "/x", "HOME": "/y"}),
    "values with anything": ((), {"ODD": "a\nb 'c' \"$d\" `e` \\ *", "APPTAINERENV_ODD2": "*\n"}),
    "names with anything": ((), {"a.b": "1", "BASH_FUNC_x%%": "() { :; }"}),
    "options by variables": ((), {"SINGULARITY_CLEANENV": "1", "APPTAINER_NO_HOME": "true"}),
    "variables of modules": ((), {"SINGULARITY_CONTAINER": "x.sif", "SINGULARITY_NAME": "y"}),
}


@pytest.mark.parametrize("case", ENVIRONMENTS, ids=lambda case: case.replace(" ", "-"))
@pytest.mark.parametrize("image", IMAGES)
def test_the_environment_is_apptainers(
    image: str, case: str, both: Both, workshop: Workshop
) -> None:
    options, given = ENVIRONMENTS[case]
    path = IMAGES[image](workshop)
    real, ours = both("exec", *options, path, "cat", "/proc/self/environ", **given)
    assert (ours.returncode, real.returncode) == (0, 0), ours.stderr + real.stderr
    wanted, found = variables(real.stdout), variables(ours.stdout)
    for name in QUOTED_TWICE:
        assert name in found
        del wanted[name], found[name]
    assert found == wanted


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--json",),
        ("-e", "-d", "-l", "-r", "-H", "-t", "--json"),
        ("-rs",),
        ("-e",),
        ("--all",),
    ],
    ids=lambda flags: "".join(flags) or "none",
)
@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_says_of_itself(
    image: str, flags: tuple[str, ...], both: Both, workshop: Workshop
) -> None:
    real, ours = both("inspect", *flags, IMAGES[image](workshop))
    assert (ours.returncode, real.returncode) == (0, 0), ours.stderr + real.stderr
    if flags and flags[-1] in ("--json", "--all"):  # Go writes & and < by their numbers
        assert json.loads(ours.stdout) == json.loads(real.stdout)
    else:
        assert ours.stdout == real.stdout
