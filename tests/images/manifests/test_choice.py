# SPDX-License-Identifier: Apache-2.0
"""Which image a list has for a platform, whatever the list leaves out or has beside it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from cwl_udss.errors import ImageError, InvalidImage, MissingPart
from cwl_udss.images.manifests.choice import Documents, candidates, choose_from_layout, choose_image
from cwl_udss.images.manifests.manifest import ImageIndex, IndexEntry, Platform

OCI = "application/vnd.oci.image"
AMD64 = Platform(os="linux", architecture="amd64")
Entry = dict[str, Any]


def platform(text: str) -> Platform:
    os, architecture, variant = [*text.split("/"), "", ""][:3]
    return Platform(os=os, architecture=architecture, variant=variant)


class Library:
    """Documents by digest."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.reads = 0

    @property
    def documents(self) -> Documents:
        return Documents(manifest=self.read, config=lambda descriptor: self.read(descriptor.digest))

    def read(self, digest: str) -> bytes:
        self.reads += 1
        if digest not in self.contents:
            raise MissingPart(f"lacks {digest}")
        return self.contents[digest]

    def add(self, content: Any, kind: str, **fields: Any) -> Entry:
        document = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(document).hexdigest()}"
        self.contents[digest] = document
        return {"mediaType": kind, "digest": digest, "size": len(document), **fields}

    def image(self, actual: str, said: str | None = None, name: str = "") -> Entry:
        """An image for one platform, which a list says to be for another, or for none."""
        config = {
            **vars(platform(actual)),
            "config": {"User": name},
            "rootfs": {"diff_ids": ["sha256:x"]},
        }
        manifest = {
            "config": self.add(config, f"{OCI}.config.v1+json"),
            "layers": [{"mediaType": "", "digest": f"sha256:{0:064}", "size": 1}],
        }
        fields = {} if said is None else {"platform": vars(platform(said))}
        return self.add(manifest, f"{OCI}.manifest.v1+json", **fields)

    def index(self, *entries: Entry, **fields: Any) -> Entry:
        return self.add({"manifests": entries}, f"{OCI}.index.v1+json", **fields)

    def helm(self) -> Entry:
        config = self.add({}, "application/vnd.cncf.helm.config.v1+json")
        return self.add({"config": config, "layers": []}, f"{OCI}.manifest.v1+json")

    def choose(self, top: Entry, wanted: Platform = AMD64) -> str:
        digest = top["digest"]
        found = choose_image(self.contents[digest], digest, self.documents, wanted)
        assert found.diff_ids == ("sha256:x",)
        return found.digest

    def choose_from_layout(self, *entries: Entry) -> str:
        index = json.dumps({"manifests": entries}).encode()
        return choose_from_layout(index, self.documents, AMD64).digest


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.mark.parametrize(
    ("offered", "wanted", "groups"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", [[1], [], []]),
        (["linux/arm64", "linux/arm64/v8"], "linux/arm64/v8", [[1], [0], []]),
        (["linux/amd64", "linux/amd64", ""], "linux/amd64", [[0, 1], [], [2]]),
        (["linux/amd64/v3", "linux/amd64/v1"], "linux/amd64", [[], [1], []]),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", [[], [1], [0], [], []]),
        (["windows/amd64", "linux", "/amd64", "windows"], "linux/amd64", [[], [], [1, 2]]),
    ],
)
def test_candidates(offered: list[str], wanted: str, groups: list[list[int]]) -> None:
    entries = tuple(
        IndexEntry(digest=str(number), platform=platform(text))
        for number, text in enumerate(offered)
    )
    found = candidates(ImageIndex(entries=entries), platform(wanted))
    assert found == [[entries[number] for number in group] for group in groups]


def test_an_image_in_no_list(library: Library) -> None:
    ours, theirs = library.image("linux/amd64"), library.image("linux/arm64")
    assert library.choose(ours) == ours["digest"]
    with pytest.raises(ImageError, match=r"is for linux/arm64, this machine is linux/amd64"):
        library.choose(theirs)


@pytest.mark.parametrize("actual", ["", "amd64", "arm64"])
@pytest.mark.parametrize("said", ["", "amd64", "arm64"])
def test_schema_1_names_the_processor_in_two_places(
    library: Library, said: str, actual: str
) -> None:
    image = {"os": "linux", "architecture": actual}
    manifest = {
        "schemaVersion": 1,
        "architecture": said,
        "fsLayers": [{"blobSum": f"sha256:{0:064}"}],
        "history": [{"v1Compatibility": json.dumps(image)}],
    }
    document = json.dumps(manifest).encode()
    if (actual or said) == "arm64":
        with pytest.raises(ImageError, match="the image is for linux/arm64"):
            choose_image(document, "x", library.documents, AMD64)
    else:
        found = choose_image(document, "x", library.documents, AMD64)
        assert [(layer.digest, layer.size) for layer in found.layers] == [(f"sha256:{0:064}", None)]


@pytest.mark.parametrize("said", [None, "", "linux", "/amd64"])
def test_where_the_list_does_not_say_the_configuration_does(
    library: Library, said: str | None
) -> None:
    theirs, ours = library.image("linux/arm64", said), library.image("linux/amd64", said)
    for order in ((theirs, ours), (ours, theirs), (ours,)):
        assert library.choose(library.index(*order)) == ours["digest"]


def test_what_the_list_says_comes_first(library: Library) -> None:
    silent = library.image("linux/amd64", name="silent")
    named = library.image("linux/amd64", "linux/amd64", name="named")
    assert library.choose(library.index(silent, named)) == named["digest"]


def test_a_list_that_is_wrong(library: Library) -> None:
    wrong = library.image("linux/arm64", "linux/amd64")
    ours = library.image("linux/amd64")
    assert library.choose(library.index(wrong, ours)) == ours["digest"]
    with pytest.raises(ImageError, match=r"no image for linux/amd64, only for linux/arm64:"):
        library.choose(library.index(wrong))


def test_the_best_variant_where_the_list_does_not_say(library: Library) -> None:
    images = [library.image(f"linux/arm/{variant}") for variant in ("v5", "v7", "v6", "v8")]
    index = library.index(*images)
    assert library.choose(index, platform("linux/arm/v7")) == images[1]["digest"]
    assert library.choose(index, platform("linux/arm/v6")) == images[2]["digest"]
    with pytest.raises(ImageError, match="no image for linux/amd64, only for linux/amd64/v4"):
        library.choose(library.index(library.image("linux/amd64/v4")))


def test_lists_in_lists(library: Library) -> None:
    ours = library.image("linux/amd64", "linux/amd64")
    theirs = library.image("linux/arm64", "linux/arm64")
    inner = library.index(theirs, ours)
    named = {**inner, "platform": vars(AMD64)}
    for index in (
        library.index(inner),
        library.index(named),
        library.index(library.index(theirs), inner),
        library.index(library.index(library.index(inner))),
    ):
        assert library.choose(index) == ours["digest"]
    with pytest.raises(ImageError, match=r"no image for linux/s390x, only for linux/amd64, linux/"):
        library.choose(library.index(inner), platform("linux/s390x"))


def test_lists_without_end(library: Library) -> None:
    deep = library.image("linux/amd64")
    for _ in range(10):
        deep = library.index(deep)
    with pytest.raises(InvalidImage, match="list of lists"):
        library.choose(deep)
    wide = library.index(*(library.image("linux/arm64", name=str(n)) for n in range(200)))
    library.reads = 0
    with pytest.raises(InvalidImage, match="more images than are looked through"):
        library.choose(wide)
    assert library.reads == 100


def test_what_is_no_image_is_passed_over(library: Library) -> None:
    ours = library.image("linux/amd64")
    assert library.choose(library.index(library.helm(), ours)) == ours["digest"]
    with pytest.raises(InvalidImage, match="a Helm chart"):
        library.choose(library.index(library.helm()))
    with pytest.raises(ImageError, match="only for linux/arm64:"):
        library.choose(library.index(library.helm(), library.image("linux/arm64")))
    with pytest.raises(InvalidImage, match="a list in which there is no image"):
        library.choose(library.index())


def test_a_list_of_more_than_there_is(library: Library) -> None:
    """A registry may have some images of a list only (distribution-spec, "sparse")."""
    ours, absent = library.image("linux/amd64"), library.image("linux/arm64")
    del library.contents[absent["digest"]]
    assert library.choose(library.index(absent, ours)) == ours["digest"]
    theirs = library.image("linux/s390x", "linux/s390x")
    with pytest.raises(MissingPart, match=absent["digest"]):
        library.choose(library.index(absent, theirs))


def test_no_name_is_empty(library: Library) -> None:
    images = [library.image("windows/amd64"), library.image("linux/arm64/v8", "linux/arm64/v8")]
    with pytest.raises(ImageError) as raised:
        library.choose(library.index(*images))
    assert "only for linux/arm64/v8, windows/amd64:" in str(raised.value)


def test_one_image_of_a_layout_is_chosen_by_platform_never_by_chance(library: Library) -> None:
    ours = library.image("linux/amd64", name="a")
    other = library.image("linux/amd64", name="b")
    theirs = library.image("linux/arm64")
    assert library.choose_from_layout(theirs, ours) == ours["digest"]
    assert library.choose_from_layout(library.index(theirs, ours)) == ours["digest"]
    for entries in ((ours, other), (ours, library.index(other))):
        with pytest.raises(InvalidImage, match="holds 2 images"):
            library.choose_from_layout(*entries)
    named = [{**image, "platform": vars(AMD64)} for image in (ours, other)]
    assert library.choose_from_layout(named[0], other) == ours["digest"]
    with pytest.raises(InvalidImage, match="holds 2 images"):
        library.choose_from_layout(*named)
    with pytest.raises(ImageError, match="only for linux/arm64"):
        library.choose_from_layout(theirs)
