# SPDX-License-Identifier: Apache-2.0
"""Runs demo.cwl with an image that is made on the spot, of this machine's shell and coreutils.

The image takes the same way as any other: from a registry (a small one in this process, on
loopback) into a store, and from there into the sandbox. No registry has to be in reach.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

from cwl_udss.images.manifests.manifest import this_platform

HERE = Path(__file__).parent
PROGRAMS = ("sh", "wc", "touch")
OUTPUT = Path("demo-output")


def libraries(program: Path) -> list[Path]:
    """The shared libraries that a program needs, and the loader."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return [Path(word) for word in listed.stdout.split() if word.startswith("/")]


def make_layer() -> bytes:
    """A tar archive with the programs and their libraries, compressed."""
    files: dict[str, Path] = {}
    for name in PROGRAMS:
        program = Path(shutil.which(name) or f"/bin/{name}").resolve()
        files[f"/bin/{name}"] = program
        files.update({str(library): library for library in libraries(program)})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for path, source in sorted(files.items()):
            archive.add(source, arcname=path)
    return gzip.compress(buffer.getvalue(), mtime=0)


def make_image() -> tuple[dict[str, bytes], bytes]:
    """The blobs of the image by digest, and its manifest."""
    layer = make_layer()
    platform = this_platform()
    config = {
        "os": platform.os,
        "architecture": platform.architecture,
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}"],
        },
    }
    blobs: dict[str, bytes] = {}

    def descriptor(content: bytes, media_type: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs[digest] = content
        media_type = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(json.dumps(config).encode(), "config.v1+json"),
        "layers": [descriptor(layer, "layer.v1.tar+gzip")],
    }
    return blobs, json.dumps(manifest).encode()


def serve(blobs: dict[str, bytes], manifest: bytes) -> int:
    """Answer as a registry with this one image, on a free port of loopback; return the port."""

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = self.path.split("/")[-2:]
            content = manifest if kind == "manifests" else blobs.get(name, b"")
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def main() -> int:
    """Make the image, run the workflow, and show what came out."""
    blobs, manifest = make_image()
    print(f"An image of this machine's {', '.join(PROGRAMS)} and their libraries is served by a")
    print("registry on loopback; cwl-udss pulls it from there as it would from any other.\n")
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        (scratch / "registries.conf").write_text(
            f'[[registry]]\nprefix = "localhost"\nlocation = "127.0.0.1:{serve(blobs, manifest)}"\n'
        )
        command = [
            str(Path(sys.executable).with_name("cwltool")),
            *("--udss", "--parallel", "--disable-color", "--outdir", str(OUTPUT)),
            *(str(HERE / "demo.cwl"), str(HERE / "job.yml")),
        ]
        print("$", " ".join(["cwltool", *command[1:]]), "\n", flush=True)
        environment = {
            **os.environ,
            "CWL_UDSS_STORE": str(scratch / "store"),
            "CONTAINERS_REGISTRIES_CONF": str(scratch / "registries.conf"),
        }
        exit_code = subprocess.run(command, env=environment, check=False).returncode
    if exit_code == 0:
        print(f"\n{OUTPUT}/report.txt:")
        print((OUTPUT / "report.txt").read_text())
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
