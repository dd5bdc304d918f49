#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches the libraries of the report's page, by `npm pack`, to where the package has them.

Run it when a version here is raised: `tools/page_libraries.py`. What is fetched is part of the
repository, and of the wheel; nothing is fetched when a report is made or read.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

TARGET = Path(__file__).parent.parent / "cwl_udss/report/page/libraries"
# The package, the SHA-256 of its archive, and which of its files are taken, by the name they get.
PACKAGES = (
    (
        "datatables.net@3.1.5",
        "929abd7ebe941812372f363b0b8c5fbb4c666064492ba8829ce92c8a27510fc1",
        {"js/dataTables.min.js": "datatables.js", "License.txt": "datatables.LICENSE"},
    ),
    (
        "datatables.net-dt@3.1.2",
        "30c329884bd8fcc46ce8da0836657b05d867b5daa317d40c1fdd210ab6ba3ec5",
        {"css/dataTables.dataTables.min.css": "datatables.css"},
    ),
    (
        "echarts@6.1.0",
        "681aff88cc1038c3fa941a3a53d1b177a52250b05335efc607d6105ae13be481",
        {
            "dist/echarts.min.js": "echarts.js",
            "LICENSE": "echarts.LICENSE",
            "NOTICE": "echarts.NOTICE",
            "licenses/LICENSE-d3": "echarts-d3.LICENSE",
        },
    ),
    (
        "@dagrejs/dagre@3.1.3",
        "12441833c8af49e5a241d94bfd53159875965876b3f4f3214abafe1ed6a9ee4c",
        {"dist/dagre.min.js": "dagre.js", "LICENSE": "dagre.LICENSE"},
    ),
)


def main() -> None:
    """Fetch them all."""
    TARGET.mkdir(exist_ok=True)
    for package, digest, files in PACKAGES:
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["npm", "pack", "--silent", package], cwd=directory, check=True)
            [archive] = Path(directory).iterdir()
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != digest:
                raise SystemExit(f"{package} has the SHA-256 {found}, not {digest}")
            with tarfile.open(archive) as members:
                for name, ours in files.items():
                    member = members.extractfile(f"package/{name}")
                    assert member is not None
                    (TARGET / ours).write_bytes(member.read())
        print(f"fetched {package}")


if __name__ == "__main__":
    main()
