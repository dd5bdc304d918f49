# SPDX-License-Identifier: Apache-2.0
"""The options that the doors podman and docker know, and what becomes of each.

A table, from which the parsers and the list in docs/doors.md are made. What is not in it is refused
by its name.
"""

from __future__ import annotations

from cwl_udss.doors.docker.option import Fate, Kind, Option

_FLAG, _LIST = Kind.FLAG, Kind.LIST
_IGNORED, _REFUSED = Fate.IGNORED, Fate.REFUSED
_NO_LIMITS = "no limit is set: the batch job's holds"
_ALL = Option(("--all", "-a"), _FLAG)
_LATEST = Option(("--latest",), _FLAG, _REFUSED, "name the container")
_FORMAT = Option(("--format", "-f"))
_CIDFILES = Option(("--cidfile",), _LIST)

KILL = (Option(("--signal", "-s")), _ALL, _CIDFILES, _LATEST)
STOP = (
    Option(("--time", "--timeout", "-t"), note="seconds before it is killed"),
    Option(("--signal", "-s"), Kind.VALUE, _REFUSED, "name it when the container is made"),
    Option(("--ignore", "-i"), _FLAG, _IGNORED),
    *(_ALL, _CIDFILES, _LATEST),
)
PRUNE = (
    Option(("--force", "-f"), _FLAG, _IGNORED, "nobody is asked"),
    Option(("--filter",), _LIST, _REFUSED, "all that have ended are removed"),
)
REMOVE = (
    Option(("--force", "-f"), _FLAG),
    Option(("--ignore", "-i"), _FLAG),
    Option(("--volumes", "-v"), _FLAG, _IGNORED, "there are no volumes"),
    Option(("--time", "-t"), Kind.VALUE, _IGNORED),
    Option(("--link", "-l"), _FLAG, _IGNORED),
    *(_ALL, _CIDFILES),
)
WAIT = (
    Option(("--condition",), Kind.VALUE, _IGNORED, "its end"),
    Option(("--interval", "-i"), Kind.VALUE, _IGNORED),
    _LATEST,
)
START = (
    Option(("--attach", "-a"), _FLAG),
    Option(("--interactive", "-i"), _FLAG),
    Option(("--sig-proxy",), _FLAG, _IGNORED, "signals are handed on always"),
    Option(("--detach-keys",), Kind.VALUE, _IGNORED),
    _LATEST,
)
EXEC = (
    Option(("--interactive", "-i"), _FLAG),
    Option(("--tty", "-t"), _FLAG, note="the caller's own terminal, if it has one"),
    Option(("--detach", "-d"), _FLAG),
    Option(("--env", "-e"), _LIST),
    Option(("--env-file",), _LIST),
    Option(("--workdir", "-w")),
    Option(("--user", "-u"), note="the container's own user only"),
    Option(("--privileged",), _FLAG, _REFUSED, "a sandbox gives no privileges"),
    Option(("--preserve-fds",), Kind.VALUE, _REFUSED, "descriptors are never handed on"),
    Option(("--detach-keys",), Kind.VALUE, _IGNORED),
    _LATEST,
)
COPY = (
    Option(("--follow-link", "-L"), _FLAG),
    Option(("--archive", "-a"), _FLAG, _IGNORED, "what is copied is its receiver's always"),
    Option(("--overwrite",), _FLAG, _IGNORED, "what is there is replaced"),
    Option(("--quiet", "-q"), _FLAG, _IGNORED, "it says nothing"),
    Option(("--pause",), _FLAG, _IGNORED, "containers are never paused"),
)
PS = (
    *(_ALL, Option(("--quiet", "-q"), _FLAG), Option(("--no-trunc",), _FLAG)),
    *(Option(("--format",)), Option(("--filter", "-f"), _LIST, note="name, id, status, label")),
    Option(("--noheading", "-n"), _FLAG),
    Option(("--size", "-s"), _FLAG, _IGNORED, "what a container writes is not counted"),
    Option(("--external",), _FLAG, _IGNORED),
    Option(("--last",), Kind.VALUE, _REFUSED, "it lists all"),
    Option(("--sync",), _FLAG, _IGNORED),
)
INSPECT = (
    _FORMAT,
    Option(("--type", "-t")),
    Option(("--size", "-s"), _FLAG, _IGNORED, "what a container writes is not counted"),
)
LOGS = (
    Option(("--follow", "-f"), _FLAG),
    Option(("--tail", "-n")),
    Option(("--since",), Kind.VALUE, _REFUSED, "no times are kept"),
    Option(("--until",), Kind.VALUE, _REFUSED, "no times are kept"),
    Option(("--timestamps", "-t"), _FLAG, _REFUSED, "no times are kept"),
    Option(("--details",), _FLAG, _IGNORED),
    Option(("--names",), _FLAG, _IGNORED),
)
STATS = (
    *(_ALL, Option(("--format",)), Option(("--no-stream",), _FLAG)),
    Option(("--no-trunc",), _FLAG),
    Option(("--no-reset",), _FLAG, _IGNORED, "the screen is never cleared"),
    Option(("--interval", "-i")),
)
PULL = (
    Option(("--quiet", "-q"), _FLAG),
    Option(("--platform",), note="this machine's only"),
    Option(("--all-tags", "-a"), _FLAG, _REFUSED, "name each"),
    Option(("--policy",)),
    Option(("--tls-verify",), _FLAG, _IGNORED, "as registries.conf says"),
    Option(("--authfile",), Kind.VALUE, _IGNORED, "$REGISTRY_AUTH_FILE counts"),
    Option(("--creds",), Kind.VALUE, _REFUSED, "log in before"),
    Option(("--cert-dir",), Kind.VALUE, _IGNORED),
    Option(("--disable-content-trust",), _FLAG, _IGNORED),
    Option(("--retry",), Kind.VALUE, _IGNORED),
)
IMAGES = (
    *(_ALL, Option(("--quiet", "-q"), _FLAG), Option(("--no-trunc",), _FLAG)),
    *(Option(("--format",)), Option(("--filter", "-f"), _LIST, note="reference")),
    *(Option(("--digests",), _FLAG), Option(("--noheading", "-n"), _FLAG)),
    Option(("--history",), _FLAG, _IGNORED),
    Option(("--sort",), Kind.VALUE, _IGNORED),
)
SAVE = (
    Option(("--output", "-o")),
    Option(("--format",), note="docker-archive"),
    Option(("--quiet", "-q"), _FLAG),
    Option(("--compress",), _FLAG, _REFUSED, "layers are not compressed"),
    Option(("--multi-image-archive", "-m"), _FLAG, _IGNORED),
    Option(("--platform",)),
)
LOAD = (
    *(Option(("--input", "-i")), Option(("--quiet", "-q"), _FLAG)),
    Option(("--signature-policy",), Kind.VALUE, _IGNORED),
    Option(("--platform",)),
)
IMPORT = (
    Option(("--change", "-c"), _LIST, _REFUSED, "`build` makes such images, by a Dockerfile"),
    Option(("--message", "-m"), Kind.VALUE, _IGNORED),
    *(Option(("--quiet", "-q"), _FLAG), Option(("--platform",))),
)
BUILD = (
    *(Option(("--tag", "-t"), _LIST), Option(("--file", "-f"))),
    *(Option(("--build-arg",), _LIST), Option(("--target",))),
    *(Option(("--quiet", "-q"), _FLAG), Option(("--iidfile",)), Option(("--pull",), _FLAG)),
    Option(("--platform",)),
    Option(("--rm",), _FLAG, _IGNORED),
    Option(("--force-rm",), _FLAG, _IGNORED),
    Option(("--no-cache",), _FLAG, _IGNORED, "an instruction that is the same is not done again"),
    Option(("--progress",), Kind.VALUE, _IGNORED),
    Option(("--network",), Kind.VALUE, _IGNORED),
    Option(("--memory", "-m"), Kind.VALUE, _IGNORED, _NO_LIMITS),
    Option(("--layers",), _FLAG, _IGNORED),
    Option(("--isolation",), Kind.VALUE, _IGNORED),
    Option(("--squash",), _FLAG, _IGNORED),
    Option(("--load",), _FLAG, _IGNORED),
    Option(("--secret",), _LIST, _REFUSED, "builds get no secrets"),
)
RMI = (
    *(Option(("--force", "-f"), _FLAG), _ALL, Option(("--ignore", "-i"), _FLAG)),
    Option(("--no-prune",), _FLAG, _IGNORED),
)
IMAGE_PRUNE = (_ALL, *PRUNE)
LOGIN = (
    *(Option(("--username", "-u")), Option(("--password", "-p"))),
    Option(("--password-stdin",), _FLAG),
    Option(("--tls-verify",), _FLAG, _IGNORED, "as registries.conf says"),
    *(Option(("--authfile",)), Option(("--get-login",), _FLAG)),
)
LOGOUT = (Option(("--authfile",)), _ALL)
INFO = (_FORMAT, Option(("--debug", "-D"), _FLAG, _IGNORED))
NOTHING: tuple[Option, ...] = ()
