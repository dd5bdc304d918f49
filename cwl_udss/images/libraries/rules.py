# SPDX-License-Identifier: Apache-2.0
"""The rules by which programs name images: each is that program's own code, in values.

A rule is given what the person has written for the image, since most of them make their name of
that, and gives paths below the program's directory, the best first.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from urllib.parse import unquote

from cwl_udss.errors import InvalidReference
from cwl_udss.images.manifests.manifest import Platform, is_digest
from cwl_udss.images.reference import DOCKER_HUB, ImageReference, parse_reference

_DOCKER = "docker://"
_SCHEME = re.compile(r"[a-z]+://")
_BIOCONTAINERS = "biocontainers/"
_DEPOT = "depot.galaxyproject.org/singularity"
# nf-core/tools, nf_core/utils.py, "ContainerRegistryUrls", and the registry of its pipelines.
_NF_CORE_REGISTRIES = (
    "quay.io",
    _DEPOT,
    "community.wave.seqera.io/library",
    "community-cr-prod.seqera.io/docker/registry/v2",
)
# What DUCC's lists call Docker Hub (cvmfs/ducc), and what it may be called as well.
_HUB_AT_DUCC = ("registry.hub.docker.com", DOCKER_HUB)


def cwltool(text: str, _: Platform) -> Iterator[str]:
    """By cwltool since 3.3.20260925 (singularity.py, "get_image"), and cwl-utils since 0.43
    (image_puller.py)."""
    for name in _docker_names(text):
        current = _with_latest(name, ":latest")
        yield _escaped(current)
        # Of older ones only what cannot be another image's name now ("_could_be_current_image").
        for old in (_underscored(current, "/:"), f"{current.replace('/', '_')}.sif"):
            if "_" in old.replace("___", "").replace("_s_", ""):
                yield old


def _escaped(name: str) -> str:
    return f"{name.replace('_', '___').replace('/', '_s_')}.sif"


def cwltool_3_2(text: str, _: Platform) -> Iterator[str]:
    """By cwltool until 3.2.20260720."""
    for name in _docker_names(text):
        yield f"{_with_latest(name, '_latest').replace('/', '_')}.sif"


def cwl_utils(text: str, _: Platform) -> Iterator[str]:
    """By cwl-utils until 0.42; cwl-docker-extract adds the tag, other callers do not."""
    for name in _docker_names(text):
        yield _underscored(_with_latest(name, ":latest"), "/:")
        yield _underscored(name, "/:")


def docker_extract(text: str, _: Platform) -> Iterator[str]:
    """By cwl-docker-extract without --singularity."""
    for name in _docker_names(text):
        yield f"{_with_latest(name, ':latest').replace('/', '').replace(':', '_')}.tar"


def nextflow(text: str, _: Platform) -> Iterator[str]:
    """By Nextflow (SingularityCache.groovy, "simpleName")."""
    for name in _nextflow_names(text):
        stem, extension = name, ".img"
        if ".sif:" in name:
            stem, extension = name.replace(".sif:", "-"), ".sif"
        elif name.endswith(".sif"):
            stem, extension = name.removesuffix(".sif"), ".sif"
        yield f"{_dashed(stem)}{extension}"


def nf_core(text: str, platform: Platform) -> Iterator[str]:
    """By nf-core pipelines download (container_fetcher.py, "get_container_filename"), which cuts
    registries off, and makes links by the whole names."""
    names = list(nextflow(text, platform))
    for name in names:
        for registry in map(_dashed, _NF_CORE_REGISTRIES):
            if name.startswith(registry):
                yield name.removeprefix(registry).removeprefix("-")
    yield from names


def _nextflow_names(text: str) -> Iterator[str]:
    """What Nextflow may have been asked for: pipelines of nf-core name BioContainers by Galaxy's
    depot where Singularity is used."""
    yield text.partition("://")[2] or text
    container = _biocontainer(text)
    if container:
        yield f"{_DEPOT}/{container}"


def snakemake(text: str, _: Platform) -> Iterator[str]:
    """By Snakemake (deployment/singularity.py), of the URL as it is in the Snakefile."""
    url = text if "://" in text else f"{_DOCKER}{text}"
    checksum = hashlib.md5(url.encode(errors="surrogateescape"), usedforsecurity=False)
    yield f"{checksum.hexdigest()}.simg"


def miniwdl(text: str, _: Platform) -> Iterator[str]:
    """By miniwdl (runtime/backend/singularity.py), and Toil's WDL, which uses it."""
    for name in _docker_names(text):
        yield _underscored(f"{_DOCKER}{name}", "/:")


def apptainer_cache(text: str, platform: Platform) -> Iterator[str]:
    """Apptainer's cache (internal/pkg/build/oci/oci.go): by a checksum of the digest that the
    registry names for the tag, and of the processor."""
    digest = _digest(text)
    variants = (platform.variant, "") if digest else ()
    for variant in dict.fromkeys(variants):
        facts = f"{digest.partition(':')[2]}{platform.architecture}{variant}"
        yield from _in_cache(f"oci-tmp/{hashlib.sha256(facts.encode()).hexdigest()}")


def singularity_cache(text: str, _: Platform) -> Iterator[str]:
    """SingularityCE's cache, by the digest of the manifest for the processor."""
    digest = _digest(text)
    if digest:
        yield from _in_cache(f"oci-tmp/{digest}")
        yield from _in_cache(f"oci-sif/{digest}")


def _in_cache(path: str) -> Iterator[str]:
    """By the variable for the cache, and by the directory that is made in it."""
    yield f"cache/{path}"
    yield path


def galaxy(text: str, platform: Platform) -> Iterator[str]:
    """Galaxy's own (tool_util/deps/container_resolvers/mulled.py)."""
    for container in galaxy_depot(text, platform):
        yield f"mulled/{container}"
        yield container


def galaxy_depot(text: str, _: Platform) -> Iterator[str]:
    """depot.galaxyproject.org/singularity, which has all of BioContainers."""
    container = _biocontainer(text)
    if container:
        yield container


def galaxy_cvmfs(text: str, platform: Platform) -> Iterator[str]:
    """The same by CVMFS, where it is in a directory by its first two letters as well."""
    for container in galaxy_depot(text, platform):
        yield f"all/{container}"
        yield f"{container[0]}/{container[1]}/{container}"


def unpacked(text: str, _: Platform) -> Iterator[str]:
    """unpacked.cern.ch, by DUCC (ducc/lib/image.go, "GetPublicSymlinkPath")."""
    reference = _reference(text)
    if reference is not None:
        hub = reference.on(reference.registry or DOCKER_HUB)
        version = reference.tag or reference.digest
        registries = _HUB_AT_DUCC if hub.registry == DOCKER_HUB else (hub.registry,)
        for registry in registries:
            yield f"{registry}/{hub.repository}:{version}"


def osg(text: str, _: Platform) -> Iterator[str]:
    """singularity.opensciencegrid.org (cvmfs-singularity-sync), which names no registries."""
    reference = _reference(text)
    if reference is not None and reference.tag:
        repository = reference.on(reference.registry or DOCKER_HUB).repository
        yield f"{repository}:{reference.tag}"


def enroot(text: str, _: Platform) -> Iterator[str]:
    """By enroot import (docker.sh), whose URLs have `REGISTRY#` before the image, or begin with the
    registry as others do."""
    reference = _reference(text)
    if reference is not None and reference.digest is None:
        written = text.removeprefix(_DOCKER)
        repository = reference.repository.removeprefix("library/")
        tags = [reference.tag] if written.endswith(f":{reference.tag}") else ["", reference.tag]
        for name in (repository, reference.name):
            for tag in tags:
                yield f"{name.replace('/', '+')}{tag and f'+{tag}'}.sqsh"


def charliecloud(text: str, _: Platform) -> Iterator[str]:
    """ch-image's storage directory (lib/image_ref.py, "for_path"), Nextflow's for it as well."""
    for written in _docker_names(text):
        has_version = ":" in written.rpartition("/")[2]
        for version in ("",) if has_version else ("", ":latest"):
            name = f"{written}{version}".replace("/", "%").replace(":", "+")
            yield f"img/{name}"
            yield name


def sandboxes(text: str, _: Platform) -> Iterator[str]:
    """By cwltool for directories (singularity.py, "sandbox_image_path"): by the name as it is."""
    yield text.removesuffix("/")


def _docker_names(text: str) -> Iterator[str]:
    """A name as programs take it that know Docker's images only; none for those of others."""
    name = text.removeprefix(_DOCKER)
    if not _SCHEME.search(name):
        yield name


def _with_latest(name: str, tag: str) -> str:
    """As cwltool adds it: not where a registry's port is the only colon."""
    return name if ":" in name else f"{name}{tag}"


def _underscored(name: str, characters: str) -> str:
    return f"{re.sub(f'[{characters}]', '_', name)}.sif"


def _dashed(name: str) -> str:
    return name.replace(":", "-").replace("/", "-")


def _reference(text: str) -> ImageReference | None:
    """What a name of Docker's means; None of others."""
    for name in _docker_names(text):
        with contextlib.suppress(InvalidReference):
            return parse_reference(name)
    return None


def _digest(text: str) -> str:
    """The digest that a reference names, "" if it names none."""
    reference = _reference(text)
    digest = reference.digest if reference else None
    return digest if digest and is_digest(digest) else ""


def _biocontainer(text: str) -> str:
    """NAME:TAG of one of BioContainers' images, which Galaxy has as files; "" of others."""
    scheme, _, rest = text.partition("://")
    if scheme in ("http", "https") and rest.startswith(f"{_DEPOT}/"):
        container = unquote(rest.removeprefix(f"{_DEPOT}/"))
        return container if re.fullmatch(r"[^/:]{2,}:[^/:]+", container) else ""
    reference = _reference(text)
    if reference is None or reference.registry != "quay.io" or not reference.tag:
        return ""
    name = reference.repository.removeprefix(_BIOCONTAINERS)
    is_one = name != reference.repository and "/" not in name and len(name) > 1
    return f"{name}:{reference.tag}" if is_one else ""
