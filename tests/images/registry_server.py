# SPDX-License-Identifier: Apache-2.0
"""A small registry on loopback that can be made to misbehave, for the tests of the client."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

OCI = "application/vnd.oci.image"
EMPTY_LAYER = gzip.compress(bytes(1024), mtime=0)


@dataclass
class Registry:
    """What the server has, how it behaves, and what it was asked."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    authentication: str = "none"
    """"none", "basic" or "bearer"."""
    user: str = "mia:secret"
    tokens_last: int = 1_000_000
    """Requests for which a token is good."""
    busy: int = 0
    """How many requests are answered with `busy_status` first."""
    busy_status: int = 429
    break_after: int | None = None
    """Bytes of a blob after which the connection is cut."""
    breaks: int = 0
    """How many times that happens."""
    ranges: bool = True
    redirect_to: str | None = None
    says_gzip: bool = False
    """Whether manifests are compressed for the way, and blobs are said to be."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further ones of manifests."""
    cuts: int = 0
    """How many manifests are cut in the middle."""
    says_no_length: bool = False
    """Whether blobs come without their length, ended by the end of the connection."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    _token_uses: int = 0
    _token_number: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add_blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add_manifest(self, name: str, document: dict[str, Any], media_type: str) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for key in (name, digest):
            self.manifests[key] = (content, media_type)
        return digest

    def add_schema_1(
        self,
        tag: str,
        *layers: bytes | None,
        media_type: str = "application/vnd.docker.distribution.manifest.v1+json",
        signed: bool = False,
    ) -> str:
        """Add an image of the old kind; what has changed no file has an empty layer that is to be
        thrown away. Returns the digest, which is that of what is signed."""
        images: list[dict[str, Any]] = [
            {"id": f"{number:064}", **({"parent": f"{number - 1:064}"} if number else {})}
            for number in range(len(layers))
        ]
        for image, layer in zip(images, layers, strict=True):
            if layer is None:
                image["throwaway"] = True
        images[-1] |= {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]}}
        blobs = [self.add_blob(layer or EMPTY_LAYER, "")["digest"] for layer in layers]
        document = {
            "schemaVersion": 1,
            "fsLayers": [{"blobSum": digest} for digest in reversed(blobs)],
            "history": [{"v1Compatibility": json.dumps(image)} for image in reversed(images)],
        }
        payload = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(payload).hexdigest()}"
        content = _signed(payload) if signed else payload
        for key in (tag, digest):
            self.manifests[key] = (content, media_type)
        return digest

    def add_image(
        self,
        tag: str,
        *layers: bytes,
        architecture: str = "amd64",
        diff_ids: list[str] | None = None,
    ) -> str:
        if diff_ids is None:
            plain = (gzip.decompress(x) if x.startswith(b"\x1f\x8b") else x for x in layers)
            diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in plain]
        config = {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": ["A=b"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.add_blob(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
            "layers": [self.add_blob(layer, f"{OCI}.layer.v1.tar+gzip") for layer in layers],
        }
        return self.add_manifest(tag, manifest, f"{OCI}.manifest.v1+json")

    def paths(self, part: str) -> list[str]:
        return [path for path, _ in self.requests if part in path]

    def refuses(self, headers: dict[str, str]) -> str | None:
        """The challenge for a request that is not allowed."""
        given = headers.get("Authorization", "")
        if self.authentication == "basic":
            expected = base64.b64encode(self.user.encode()).decode()
            return None if given == f"Basic {expected}" else 'Basic realm="test"'
        if self.authentication == "bearer":
            good = given == f"Bearer token{self._token_number}"
            if good and self._token_uses < self.tokens_last:
                self._token_uses += 1
                return None
            return (
                f'Bearer realm="http://{self.address}/token",service="test",'
                'scope="repository:image:pull"'
            )
        return None

    def token(self, authorization: str) -> str | None:
        expected = base64.b64encode(self.user.encode()).decode()
        if authorization not in ("", f"Basic {expected}"):
            return None
        self._token_number += 1
        self._token_uses = 0
        return f"token{self._token_number}"


def _signed(payload: bytes) -> bytes:
    """As a registry keeps it: signed by a key that is not looked at."""
    protected = json.dumps({"formatLength": len(payload) - 1, "formatTail": "fQ"}).encode()
    signature = {"protected": base64.urlsafe_b64encode(protected).decode().rstrip("=")}
    return payload[:-1] + b', "signatures": ' + json.dumps([signature]).encode() + b"}"


def _handler(registry: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = dict(self.headers.items())
            registry.requests.append((self.path, headers))
            path = urlsplit(self.path).path
            if path == "/token":
                self._token(headers)
            elif path == "/v2/":
                self._answer(200, b"{}")
            elif registry.busy:
                registry.busy -= 1
                self._answer(registry.busy_status, b"", {"Retry-After": "7"})
            elif (challenge := registry.refuses(headers)) is not None:
                self._answer(401, b"", {"WWW-Authenticate": challenge})
            else:
                self._content(path, headers)

        def _token(self, headers: dict[str, str]) -> None:
            assert parse_qs(urlsplit(self.path).query)["scope"] == ["repository:image:pull"]
            token = registry.token(headers.get("Authorization", ""))
            if token is None:
                self._answer(401, b"{}")
            else:
                self._answer(200, json.dumps({"token": token}).encode())

        def _content(self, path: str, headers: dict[str, str]) -> None:
            kind, name = path.split("/")[-2:]
            if kind == "manifests" and name in registry.manifests:
                content, media_type = registry.manifests[name]
                extra = {"Content-Type": media_type, **registry.headers}
                if registry.says_gzip:
                    content, extra["Content-Encoding"] = gzip.compress(content), "gzip"
                self._answer(200, content, extra, cut=registry.cuts > 0)
                registry.cuts -= 1
            elif kind == "blobs" and registry.redirect_to:
                self._answer(307, b"", {"Location": f"{registry.redirect_to}{path}"})
            elif kind == "blobs" and name in registry.blobs:
                self._blob(registry.blobs[name], headers)
            else:
                self._answer(404, b"{}")

        def _blob(self, content: bytes, headers: dict[str, str]) -> None:
            start = 0
            if registry.ranges and "Range" in headers:
                start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if not registry.says_no_length:
                self.send_header("Content-Length", str(len(content) - start))
            if registry.says_gzip:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            end = len(content)
            if registry.breaks and registry.break_after is not None:
                registry.breaks -= 1
                end = start + registry.break_after
            with contextlib.suppress(ConnectionError):  # who asked has had enough
                self.wfile.write(content[start:end])

        def _answer(
            self,
            status: int,
            body: bytes,
            extra: dict[str, str] | None = None,
            *,
            cut: bool = False,
        ) -> None:
            self.send_response(status)
            for name, value in (extra or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serve(registry: Registry, certificate: Path | None = None) -> Iterator[Registry]:
    """Serve a registry on a free port; by TLS with a certificate, the file of which has the key."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    registry.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
