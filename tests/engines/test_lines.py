# SPDX-License-Identifier: Apache-2.0
"""Command lines of programs that the tests cannot run, as these type them: Galaxy, Arvados,
nf-core's download, fmriprep-docker, Snakemake's container plugin, and older wrappers of
singularity-hpc.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from accounts import Account

IMAGE = "debian:stable-slim"
USER = f"{os.getuid()}:{os.getgid()}"


def shell(
    account: Account, directory: Path, script: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of a caller; `$IMAGE` and `$USER_IDS` are set."""
    given = {"IMAGE": IMAGE, "USER_IDS": USER, **variables}
    return account.run("bash", "-c", script, cwd=directory, variables=given)


GALAXY_DOCKER = """\
docker inspect $IMAGE > /dev/null 2>&1
[ $? -ne 0 ] && docker pull $IMAGE > /dev/null 2>&1
J=$PWD
_on_exit() { docker kill 0123456789abcdef0123456789abcdef &> /dev/null; }
trap _on_exit EXIT
docker run -e "GALAXY_SLOTS=$GALAXY_SLOTS" -e "HOME=$J/home" \\
  --name 0123456789abcdef0123456789abcdef -v $J/tmp:/tmp:rw -v $J/tool:$J/tool:ro -v $J:$J:ro \\
  -v $J/working:$J/working:rw -v $J/outputs:$J/outputs:rw \\
  --cpus ${GALAXY_SLOTS:-1} -w $J/working --net none --rm --user $USER_IDS $IMAGE \\
  sh -c 'echo $GALAXY_SLOTS $HOME; pwd; cat ../tool/script; touch /tmp/x ../outputs/out ../no'
"""


def test_galaxy_with_docker(account: Account, tmp_path: Path) -> None:
    for name in ("tmp", "tool", "working", "outputs"):
        (tmp_path / name).mkdir()
    (tmp_path / "tool" / "script").write_text("a script\n")
    done = shell(account, tmp_path, GALAXY_DOCKER, GALAXY_SLOTS="2")
    said = f"2 {tmp_path}/home\n{tmp_path}/working\na script\n"
    assert (done.stdout, done.returncode) == (said, 1)
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "tmp" / "x").exists()
    assert (tmp_path / "outputs" / "out").exists()


def test_what_has_gone_is_killed_quickly(account: Account, tmp_path: Path) -> None:
    """Galaxy does it after each tool."""
    start = time.monotonic()
    done = shell(account, tmp_path, "docker kill 0123456789abcdef0123456789abcdef")
    assert done.returncode == 1
    assert "No such container" in done.stderr
    assert time.monotonic() - start < 5


ARVADOS = """\
singularity build image.sif docker-archive://$PWD/image.tar
singularity exec --containall --cleanenv --pwd=/work --net --network=none \\
  --cpus 1 --memory 100000000 --home $PWD/home:/home/crunch \\
  --bind $PWD/keep:/keep:ro --bind $PWD/work:/work:rw image.sif \\
  sh -c 'pwd; echo $HOME $GREETING; cat /keep/file; touch out; touch /keep/no'
"""


def test_arvados(account: Account, tmp_path: Path) -> None:
    for name in ("home", "keep", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "keep" / "file").write_text("kept\n")
    account.succeed("docker", "pull", IMAGE, cwd=tmp_path)
    account.succeed("docker", "save", "-o", "image.tar", IMAGE, cwd=tmp_path)
    own = {"SINGULARITYENV_GREETING": "hello  world", "SINGULARITY_NO_EVAL": "1"}
    done = shell(account, tmp_path, ARVADOS, **own)
    assert done.stdout == "/work\n/home/crunch hello world\nkept\n", done.stderr
    assert done.returncode == 1
    assert (tmp_path / "work" / "out").exists()


@pytest.mark.parametrize("name", ["docker", "singularity", "apptainer"])
def test_nf_core_download(account: Account, tmp_path: Path, name: str) -> None:
    """It goes by words, not by statuses."""
    failed = ("Error response from daemon:", "invalid reference format", "FATAL:")
    lines = {
        "docker": "docker info; docker image pull {image}; docker image save {image} --output out",
    }
    line = lines.get(name, f"{name} pull --name out docker://{{image}}")
    good = shell(account, tmp_path, line.format(image="docker.io/library/" + IMAGE))
    assert not any(word in good.stdout + good.stderr for word in failed), good.stderr
    assert (tmp_path / "out").stat().st_size > 1_000_000
    (tmp_path / "out").unlink()
    bad = shell(account, tmp_path, line.format(image="docker.io/library/debian:none"))
    assert any(word in bad.stdout + bad.stderr for word in failed)
    assert "manifest unknown" in bad.stdout + bad.stderr
    assert not (tmp_path / "out").exists()


FMRIPREP = """\
docker version > /dev/null || exit 1
[ -n "$(docker images -q $IMAGE)" ] || docker pull $IMAGE > /dev/null 2>&1
docker run --rm --entrypoint=free $IMAGE -m | grep -q '^Mem:' || echo no memory
docker run --rm -e DOCKER_VERSION_8395080871=$(docker version --format '{{.Server.Version}}') -it \\
  -v $PWD/license:/opt/freesurfer/license.txt:ro -v $PWD/data:/data:ro -v $PWD/out:/out \\
  -v $PWD/work:/scratch $IMAGE \\
  bash -c 'cat /opt/freesurfer/license.txt; echo "$@"; touch /out/x /scratch/y' \\
  bash /data /out participant --participant-label 01 -w /scratch
"""


def test_fmriprep_docker(account: Account, tmp_path: Path) -> None:
    for name in ("data", "out", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "license").write_text("licensed\n")
    done = shell(account, tmp_path, FMRIPREP, IMAGE="quay.io/nextflow/bash:latest")
    said = "licensed\n/data /out participant --participant-label 01 -w /scratch\n"
    assert (done.stdout, done.returncode) == (said, 0), done.stderr
    assert (tmp_path / "out" / "x").exists()


SHPC = """\
podman pull $IMAGE > /dev/null 2>&1
podman tag $IMAGE docker.io/org/x:1.0
podman inspect docker.io/org/x:1.0 > /dev/null
podman ${PODMAN_OPTS} run ${PODMAN_COMMAND_OPTS} -i -u $USER_IDS --rm --env-file env \\
  -v ${PWD} -w ${PWD} --entrypoint sh docker.io/org/x:1.0 "$@" -c 'pwd; echo $GREETING; id -u'
"""


def test_a_wrapper_of_singularity_hpc(account: Account, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("GREETING=hello\n")
    done = shell(account, tmp_path, SHPC)
    assert done.stdout == f"{tmp_path}\nhello\n{os.getuid()}\n", done.stderr


PLUGIN = """\
udocker install || exit 1
UDOCKER_DIR=$PWD/images udocker pull $IMAGE > /dev/null || exit 1
UDOCKER_DIR=$PWD/images udocker --quiet run --rm --nobanner --env TINI_SUBREAPER=1 \\
  --env GREETING=hello -w "$PWD" -v /tmp:/tmp -v "$PWD":"$PWD" $IMAGE \\
  bash -c 'pwd; echo $GREETING; touch of-udocker'
podman  run --rm -w "$PWD" -v "$PWD":"$PWD" -v "$PWD":"$PWD" $IMAGE bash -c 'pwd; touch of-podman'
docker  run --rm --user $USER_IDS --env GREETING -w "$PWD" -v "$PWD":"$PWD" $IMAGE \\
  bash -c 'echo $GREETING'
apptainer pull $PWD/image.sif docker://$IMAGE || exit 1
apptainer  exec --env GREETING=hello --cwd "$PWD" --bind "$PWD":"$PWD" \\
  docker://$IMAGE bash -c 'pwd; echo $GREETING'
"""


def test_the_container_plugin_of_snakemake(account: Account, tmp_path: Path) -> None:
    """Snakemake 9.27 has no way to choose it yet."""
    done = shell(account, tmp_path, PLUGIN, GREETING="from outside")
    place = f"{tmp_path}\n"
    said = f"{place}hello\n{place}from outside\n{place}hello\n"
    assert done.stdout.endswith(said), done.stdout + done.stderr
    assert {path.name for path in tmp_path.glob("of-*")} == {"of-udocker", "of-podman"}


NOWHERE = """\
mkdir gone; cd gone; rmdir ../gone
podman run --name nowhere-$$ -v "$1:/there" -w /there $IMAGE pwd
docker rm nowhere-$$ > /dev/null
env - PATH="$PATH" apptainer exec --no-home -B "$1:/there" docker://$IMAGE sh -c 'cd /there; pwd'
"""


def test_a_directory_that_is_gone(account: Account, tmp_path: Path) -> None:
    """Nextflow removes a task's scratch directory, and then calls `docker rm` in it."""
    command = ("bash", "-ec", NOWHERE, "bash", tmp_path)
    done = account.succeed(*command, cwd=tmp_path, variables={"IMAGE": IMAGE})
    assert done.stdout == "/there\n/there\n"


LINKED = """\
mkdir -p large/work; ln -s large room; ln -s "$PWD/large" whole
for link in room whole; do
  W=$PWD/$link/work
  podman run --rm -v "$PWD:$PWD" -v "$W:$W" -w "$W" $IMAGE \\
    bash -c 'echo by podman >> said; ls ..'
  apptainer exec --no-home -B "$PWD:$PWD:ro" -B "$W" --pwd "$W" docker://$IMAGE \\
    bash -c 'echo by apptainer >> said; ls ..'
done
"""


def test_a_work_directory_behind_a_link(account: Account, tmp_path: Path) -> None:
    """That lies in another directory that is mounted, as Nextflow has it."""
    command = ("bash", "-ec", LINKED)
    done = account.succeed(*command, cwd=tmp_path, variables={"IMAGE": IMAGE})
    assert done.stdout == "work\n" * 4
    assert (tmp_path / "large" / "work" / "said").read_text() == "by podman\nby apptainer\n" * 2
