# SPDX-License-Identifier: Apache-2.0
"""Images by all that callers know them by: names, digests, and the ids that `images` shows."""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
from collections.abc import Sequence

from cwl_udss.doors.docker.errors import ContainerError, NoSuchObject, UsageError
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.docker.words import ALIAS
from cwl_udss.errors import InvalidReference
from cwl_udss.images.manifests.manifest import this_platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.pull import Images, When
from cwl_udss.images.store.image import StoredImage

_PULLS = {
    **{"": When.MISSING, "missing": When.MISSING, "ifnotpresent": When.MISSING},
    **{"always": When.ALWAYS, "newer": When.ALWAYS, "never": When.NEVER},
    **{"true": When.ALWAYS, "false": When.MISSING},
}
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


def pulls(policy: str | None) -> When:
    """Return when --pull has a registry asked. Raises UsageError."""
    when = _PULLS.get((policy or "").lower())
    if when is None:
        raise UsageError(f"unsupported pull policy {policy!r}")
    return when


def wanted_image(session: Session, options: argparse.Namespace) -> StoredImage:
    """Return the image of a container, pulled if that is wanted. Raises UdssError."""
    check_platform(options.platform)
    if looks_like_id(options.image):
        image = find_by_id(session.store.images(), options.image)
        if image is not None:
            return image
        if options.image.startswith("sha256:"):
            raise NoSuchObject(f"No such image: {options.image}")
    if options.quiet:
        logging.getLogger("cwl_udss").setLevel(logging.WARNING)
    when = pulls(options.pull)
    image = None if when is When.ALWAYS else _stored(session, options.image)
    if image is not None and not image.config.has_own_words:
        return image
    # What gets images takes longer to import than a short command to run.
    from cwl_udss.images.request import ImageRequest

    with session.steps(when) as steps:
        return steps.image(ImageRequest(pull=options.image))


def _stored(session: Session, name: str) -> StoredImage | None:
    """What is in the store by a name, if it is one."""
    try:
        return images_of(session).find_name(name)
    except InvalidReference:
        return None


def say_progress(options: argparse.Namespace) -> None:
    """Have it said how images come, unless that was not wanted."""
    level = logging.WARNING if options.quiet else logging.INFO
    logger = logging.getLogger("cwl_udss")
    if logger.level != logging.DEBUG:
        logger.setLevel(level)


def check_platform(wanted: str | None) -> None:
    """Raise ContainerError for a platform that is not this machine's."""
    here = this_platform()
    if not wanted:
        return
    os, _, rest = wanted.partition("/")
    architecture = rest.partition("/")[0]
    if (os, architecture or here.architecture) != (here.os, here.architecture):
        raise ContainerError(
            f"no image found for platform {wanted!r}", f"this machine runs {here} only"
        )


def looks_like_id(text: str) -> bool:
    """Say whether a text may be an image's id, whole or its beginning."""
    return _ID.fullmatch(text) is not None


def node_images(session: Session) -> NodeImages:
    """Return what makes images usable on this node."""
    return NodeImages(
        session.store,
        session.runtime,
        scratch=session.settings.scratch,
        scratch_bytes=session.settings.scratch_images,
        environment=session.environment,
    )


def images_of(session: Session) -> Images:
    """Return what finds images by name."""
    return Images(session.store, session.environment, session.home)


def find_image(session: Session, text: str) -> StoredImage:
    """Return the image of a name or id, of those that are in the store. Raises NoSuchObject."""
    stored = session.store.images()
    image = None
    try:
        named = images_of(session).find_name(text)
        image = next((one for one in stored if named and one.digest == named.digest), named)
    except InvalidReference:
        pass
    if image is None and looks_like_id(text):
        image = find_by_id(stored, text)
    if image is None:
        raise NoSuchObject(f"No such image: {text}")
    return image


def find_by_id(images: Sequence[StoredImage], text: str) -> StoredImage | None:
    """Return the image of which this is the id, or its beginning; None if there is none, or are
    several. What was pulled, and was loaded from an archive, too, is there twice, with one id."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    found = {
        id: image
        for image in images
        for id in (*ids_of(image), image.digest[7:])
        if id.startswith(match[1])
    }
    return next(iter(found.values())) if len(found) == 1 else None


def ids_of(image: StoredImage) -> list[str]:
    """Return an image's ids, in hexadecimal: the digest of its configuration as its registry has
    it, and those of what was saved of it."""
    document = (image.path.parent / "config.json").read_bytes()
    saved = [name.removeprefix(ALIAS) for name in image.references if name.startswith(ALIAS)]
    return [hashlib.sha256(document).hexdigest(), *saved]
