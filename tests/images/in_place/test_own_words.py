# SPDX-License-Identifier: Apache-2.0
"""What is read of the files that makers of root filesystems leave in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cwl_udss.images.in_place.own_words import charliecloud_words, enroot_words, is_inside

# What enroot 3.4 makes of an image with an entry point.
ENROOT = """\
mkdir -p "/data/my dir" 2> /dev/null
cd "/data/my dir" && unset OLDPWD || exit 1

if [ -s /etc/rc.local ]; then
    . /etc/rc.local
fi

if [ $# -gt 0 ]; then
    exec '/entry point' '--x' "$@"
else
    exec '/entry point' '--x' 'bash' '-l'
fi
"""


def test_enroot() -> None:
    assert enroot_words(ENROOT, "PATH=/usr/bin\nTEXT=a b=c\n# none\n\n") == {
        "Env": ["PATH=/usr/bin", "TEXT=a b=c"],
        "Entrypoint": ["/entry point", "--x"],
        "Cmd": ["bash", "-l"],
        "WorkingDir": "/data/my dir",
    }


def test_a_distribution_has_such_files_too() -> None:
    assert enroot_words(None, "PATH=/usr/bin\n") == {}
    assert enroot_words("#!/bin/sh\n# FreeBSD\nexec /etc/rc.d/all\n", "A=b\n") == {}
    assert enroot_words('it is "not closed\n', None) == {}


def test_charliecloud() -> None:
    metadata = (
        '{"cwd": "/work", "env": {"A": "b c"}, "entrypoint": ["/e"], "cmd": null, "arch": "x"}'
    )
    words = {"Env": ["A=b c"], "WorkingDir": "/work", "Entrypoint": ["/e"]}
    assert charliecloud_words(metadata, None) == words
    assert charliecloud_words(None, "A=b\nC=d\n") == {"Env": ["A=b", "C=d"]}
    assert charliecloud_words("[", "") == {"Env": []}
    assert charliecloud_words("[]", None) == {}


def test_no_link_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "rc").write_text("of the host")
    (root / "etc/rc").symlink_to(tmp_path / "rc")
    (root / "ch").symlink_to(tmp_path)
    assert not is_inside(root, "etc/rc", stat.S_ISREG)
    assert not is_inside(root, "ch/rc", stat.S_ISREG)
    os.replace(tmp_path / "rc", root / "etc/rc")
    assert is_inside(root, "etc/rc", stat.S_ISREG)
