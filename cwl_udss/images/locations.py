# SPDX-License-Identifier: Apache-2.0
"""Where an image is said to be: at a path, at a URL, or behind a name that is neither."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from cwl_udss.errors import ImageError
from cwl_udss.images.transports import path_after_transport
from cwl_udss.images.trees.listing import walk
from cwl_udss.web.addresses import is_remote, without_password

DOCUMENT_ENDINGS = (".cwl", ".yml", ".yaml", ".json")
IMAGE_ENDINGS = (
    *(".sif", ".simg", ".img", ".sqfs", ".sqsh", ".squashfs"),
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.lzma", ".tar.zst"),
    *(".tzst", ".tar.lz4", ".zip", ".ext3", ".ext4", ".iso", ".oci"),
)
"""Of what is tried as an image."""
# As registries keep blobs (distribution's registry/storage/paths.go), and as they give them.
_BLOB = r"/blobs/sha256(?:/[0-9a-f]{2}/|:)([0-9a-f]{64})(?:/data)?/?"
DOTS = (".", "..")
"""Paths with no slash in them."""


def file_name(text: str) -> str:
    """Return what the store calls an image that is at a path, wherever the person is; another name
    as it is. Raises ImageError."""
    text = public_name(text)
    path = local_path(text, Path()) if is_path(text) else None
    if path is None or not os.path.exists(path):
        return text
    return stored_name(path, split_member(text, Path())[1])


def public_name(text: str) -> str:
    """Return what an image is called in the store and in messages: no password that is in a URL."""
    return without_password(text) if is_remote(text) else text


def stored_name(path: Path, member: str) -> str:
    """Return what the store calls an image in a file or directory."""
    return os.path.realpath(path) + (f":{member}" if member else "")


def address_digest(url: str) -> str | None:
    """Return the digest that a URL says to be that of what is there, if it says one."""
    from urllib.parse import unquote, urlsplit

    found = re.search(_BLOB, unquote(urlsplit(url).path))
    return f"sha256:{found[1]}" if found else None


def local_path(location: str, base: Path) -> Path | None:
    """The path that a location means, None for a URL of another machine. Raises ImageError."""
    if is_remote(location):
        return None
    if "\0" in location:
        raise ImageError(f"{location!r} is no path", "look at it")
    location, _ = split_member(location, base)
    path = Path(location)
    if location.startswith("file:/"):
        host, rest = _split_file_url(location)
        if host not in ("", "localhost"):
            raise ImageError(
                f"{location} is a file of the machine {host}",
                "write file:/// and an absolute path, or the path alone",
            )
        from urllib.parse import unquote

        path = Path(unquote(rest))
    return _found(path, base).absolute()


def split_member(location: str, base: Path) -> tuple[str, str]:
    """Return the location of a file or directory, and what names one of several images in it; ""
    for what names none: only after a prefix (`oci:DIRECTORY:NAME`) it can be named."""
    rest = path_after_transport(location)
    if rest is None or "\0" in rest:
        return rest or location, ""
    # A path may have colons in it, too.
    ends = [place for place, c in enumerate(rest) if c == ":"]
    for end in (len(rest), *reversed(ends)):
        if _may_be_there(_found(Path(rest[:end]), base)):
            return rest[:end], rest[end + 1 :]
    path, _, member = rest.partition(":")
    return path, member


def _found(path: Path, base: Path) -> Path:
    """Relative to the document; else to where the person is, as with cwltool."""
    return base / path if _may_be_there(base / path) else path


def _may_be_there(path: Path) -> bool:
    """Whether something is at a path, or that is not for us to know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _split_file_url(url: str) -> tuple[str, str]:
    """Host and path (RFC 8089, 2), of any text that begins so."""
    rest = url.removeprefix("file:")
    if not rest.startswith("//"):
        return "", rest
    host, _, path = rest[2:].partition("/")
    return host, f"/{path}"


def is_path(text: str) -> bool:
    """Say whether a text can only be meant as a file's or directory's path, not as an image's name.
    Names of images may have slashes and dots in them, too."""
    if path_after_transport(text) is not None:
        return True
    if "://" in text or text.startswith("file:/"):
        return text.startswith("file:/")
    if text.startswith(("/", "./", "../", "~")) or text.endswith("/") or "#" in text:
        return True
    has_tag_or_digest = "@" in text or ":" in text.rpartition("/")[2]
    return text in DOTS or (
        not has_tag_or_digest and text.lower().endswith((*DOCUMENT_ENDINGS, *IMAGE_ENDINGS))
    )


def no_file(text: str) -> ImageError:
    """What to raise for a path at which there is nothing."""
    path = (path_after_transport(text) or text).partition("#")[0]
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ImageError(f"there is no file {path}", "look at its path")
    except OSError as error:
        return ImageError(f"{path} cannot be read: {error.strerror}", "look at its path")
    return ImageError(f"{text} is no name of an image", f"for the file, write ./{path}")


def file_stamp(path: Path) -> str:
    """What is another as soon as a file has changed, or one in a directory."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{status.st_size} {status.st_mtime_ns}"
    checksum = hashlib.sha256()
    for name, _, found in walk(os.fsencode(path)):
        checksum.update(b"%s\0%d %d\n" % (name, found.st_size, found.st_mtime_ns))
    return checksum.hexdigest()
