# SPDX-License-Identifier: Apache-2.0
"""Images of Charliecloud and enroot, which are directories, and SquashFS files of these."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from foreign.workshop import CONFIG, Workshop, pack_squashfs

DOCKERFILE = f"""\
FROM base
ENV GREETING hello world
WORKDIR {CONFIG["WorkingDir"]}
LABEL org.example.label="of the image"
ENTRYPOINT ["/bin/echo", "the entry point"]
CMD ["two words", "last"]
"""


def charliecloud_directory(workshop: Workshop) -> Path:
    """An image directory that ch-image has built and ch-convert written (Charliecloud 0.45).

    `ch/metadata.json` is of its own form: `arch`, `cmd`, `cwd`, `entrypoint`, `env`, `labels`,
    `volumes` and more. `ch/environment` has lines NAME=VALUE; `ch/entrypoint` and `ch/cmd` are
    binary, words with a byte for their length before. There are empty files in `etc` to mount
    over, and directories to mount on in `mnt`.
    """

    def make(root: Path) -> None:
        work = root.parent / "work"
        work.mkdir()
        (work / "Dockerfile").write_text(DOCKERFILE)
        archive = work / "base.tar.gz"
        source = workshop.unpacked()
        subprocess.run(["tar", "-czf", archive, "-C", source, "."], check=True)
        own = {"CH_IMAGE_STORAGE": str(root.parent / "storage"), "CH_IMAGE_CACHE": "disabled"}
        workshop.sid.run("ch-image", "import", archive, "base", env=own)
        workshop.sid.run("ch-image", "build", "--tag", "built", work, env=own)
        workshop.sid.run("ch-convert", "-i", "ch-image", "-o", "dir", "built", root, env=own)

    return workshop.keep("charliecloud", make)


def charliecloud_squashfs(workshop: Workshop) -> Path:
    """That directory as a SquashFS file of ch-convert, of blocks of 64 KiB."""
    source = charliecloud_directory(workshop)
    return workshop.keep(
        "charliecloud.sqfs", lambda path: workshop.sid.run("ch-convert", "-i", "dir", source, path)
    )


def enroot_squashfs(workshop: Workshop) -> Path:
    """A file like those of `enroot import`, of a stand-in with CONFIG.

    enroot is no package of Debian. This is what docker::configure in its src/docker.sh (4.1)
    writes, and how it packs by default: LZO, data as it is, all owned by root.
    """

    def make(path: Path) -> None:
        root = path.parent / "root"
        subprocess.run(["cp", "--archive", workshop.unpacked(), root], check=True)
        for name, content in _configured_by_enroot().items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(content)
        (root / CONFIG["WorkingDir"].lstrip("/")).mkdir(parents=True, exist_ok=True)
        pack_squashfs(workshop.sid, root, path, "-all-root", "-comp", "lzo", "-noD")

    return workshop.keep("example.org+busybox+1.sqsh", make)


def _configured_by_enroot() -> dict[str, str]:
    labels = "".join(f"# {name} {value}\n" for name, value in CONFIG["Labels"].items())
    entrypoint, command = (shlex.join(CONFIG[name]) for name in ("Entrypoint", "Cmd"))
    workdir = CONFIG["WorkingDir"]
    return {
        "etc/fstab": "",
        "etc/environment": "".join(f"{variable}\n" for variable in CONFIG["Env"]),
        "etc/rc": f"""\
{labels}
mkdir -p "{workdir}" 2> /dev/null
cd "{workdir}" && unset OLDPWD || exit 1

if [ -s /etc/rc.local ]; then
    . /etc/rc.local
fi

if [ $# -gt 0 ]; then
    exec {entrypoint} "$@"
else
    exec {entrypoint} {command}
fi
""",
        "etc/rc.local": """\
# This file is sourced by /etc/rc when the container starts.
# It can be used to manipulate the entrypoint or the command of the container.
""",
    }
