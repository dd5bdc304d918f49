# SPDX-License-Identifier: Apache-2.0
"""Merges the layers of an image into one tree, oldest first; no path is resolved on the host.

The rules are those of the OCI image-spec's layer.md, where that is silent umoci's: a whiteout never
removes what its own layer adds; parents are resolved inside the image, through its symbolic links;
of two entries of one name in a layer the last wins.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from cwl_udss.errors import InvalidImage
from cwl_udss.images.layers.members import Kind, LayerIndex, Member
from cwl_udss.images.trees.modes import directory_mode, file_mode
from cwl_udss.images.trees.tree import Directory, Node, RegularFile, SymbolicLink, Tree

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
MAXIMUM_SYMLINKS = 40  # as the kernel: path_resolution(7)
LONGEST_PATH = 4095
LONGEST_NAME = 255

# What a sandbox mounts something on, so that no mount point has to be made later.
_MOUNT_DIRECTORIES = (b"dev", b"proc", b"sys", b"tmp", b"var/lib/cwl", b"var/spool/cwl", b"etc")
_MOUNT_FILES = (b"passwd", b"group", b"hosts", b"resolv.conf")

# Stands for any special file while layers are merged: it replaces and is replaced, linked to and
# whited out as others are.
_SPECIAL_FILE = RegularFile(0, 0, 0, layer=0, offset=0, extents=None, attributes={})


def merge_layers(layers: Sequence[LayerIndex]) -> Tree:
    """Merge layers, the oldest first. Raises InvalidImage for a layer that is malformed."""
    merger = _Merger()
    for layer in layers:
        merger.add(layer)
    count = merger.leave_out_special_files()
    notes = (f"{count} device nodes, pipes and other special files left out",) if count else ()
    return Tree(root=merger.root, linked=frozenset(merger.linked), notes=notes)


def regular_file(member: Member, layer: int) -> RegularFile:
    """What a member becomes in the tree, if it is a regular file."""
    return RegularFile(
        mode=file_mode(member.mode),
        mtime=member.mtime,
        size=member.size,
        layer=layer,
        offset=member.offset,
        extents=member.extents,
        attributes=kept_attributes(member.attributes),
    )


def ensure_mount_points(tree: Tree) -> None:
    """Add what a sandbox mounts its own things on, where the image does not have it."""
    merger = _Merger(tree.root)
    for path in _MOUNT_DIRECTORIES:
        merger.directory(_components(path))
    etc = merger.directory([b"etc"])
    for name in _MOUNT_FILES:
        # resolv.conf is often a link into /run, which leads nowhere here.
        if not isinstance(merger.find([b"etc", name]), RegularFile):
            empty = RegularFile(0o644, 0, 0, layer=0, offset=0, extents=None, attributes={})
            etc.entries[name] = empty


class _Merger:
    """A tree to which layers are added."""

    def __init__(self, root: Directory | None = None) -> None:
        self.root = root or Directory()
        self.linked: set[Node] = set()
        self._special_files: list[tuple[Directory, bytes]] = []
        self._layer = 0
        self._is_oldest = True
        # What this layer has added, which it does not remove; the oldest removes nothing anyway.
        self._added: defaultdict[Directory, set[bytes]] = defaultdict(set)
        self._whited_out: set[tuple[Directory, bytes]] = set()

    def add(self, layer: LayerIndex) -> None:
        """Apply a layer's members in their order."""
        self._layer = layer.number
        for member in layer.members:
            self._apply(member)
        self._is_oldest = False
        self._added.clear()
        self._whited_out.clear()

    def leave_out_special_files(self) -> int:
        """Remove them at last. Returns how many there were."""
        found = {
            (directory, name)
            for directory, name in self._special_files
            if directory.entries.get(name) is _SPECIAL_FILE
        }
        for directory, name in found:
            del directory.entries[name]
        return len(found)

    def _apply(self, member: Member) -> None:
        components = _components(member.path)
        if not components:
            if member.kind is not Kind.DIRECTORY:
                raise _invalid(member.path, "a root that is no directory")
            self._update(self.root, member)
            return
        *parents, name = components
        if name.startswith(_WHITEOUT):
            self._white_out(parents, name, member)
            return
        directory = self.directory(parents)
        existing = directory.entries.get(name)
        if member.kind is Kind.DIRECTORY:
            node: Node = existing if isinstance(existing, Directory) else Directory()
            self._update(node, member)
        elif member.kind is Kind.HARD_LINK:
            node = self._link_target(member)
            self.linked.add(node)
        elif member.kind is Kind.SYMBOLIC_LINK:
            if not 0 < len(member.link) <= LONGEST_PATH or b"\0" in member.link:
                raise _invalid(member.path, "a symbolic link to what can be no path")
            node = SymbolicLink(member.link, member.mtime)
        elif member.kind is Kind.OTHER:
            node = _SPECIAL_FILE
        else:
            node = regular_file(member, self._layer)
        if node is _SPECIAL_FILE:
            self._special_files.append((directory, name))
        self._put(directory, name, node)

    def _put(self, directory: Directory, name: bytes, node: Node) -> None:
        # Not checked earlier: the name of a whiteout is longer than what it hides.
        if len(name) > LONGEST_NAME:
            raise _invalid(name, "a name that no file system can hold")
        directory.entries[name] = node
        if not self._is_oldest:
            self._added[directory].add(name)

    def _update(self, node: Node, member: Member) -> None:
        assert isinstance(node, Directory)
        node.mode = directory_mode(member.mode)
        node.mtime = member.mtime
        node.attributes = kept_attributes(member.attributes)

    def _white_out(self, parents: list[bytes], name: bytes, member: Member) -> None:
        if name != _OPAQUE and name.startswith(_AUFS):
            return  # AUFS' own notes
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise _invalid(member.path, "a whiteout of no name")
        directory = self.find(parents)
        if self._is_oldest or not isinstance(directory, Directory):
            return
        # Once is enough: what the layer adds itself stays anyway.
        if (directory, name) in self._whited_out:
            return
        self._whited_out.add((directory, name))
        for entry in list(directory.entries) if name == _OPAQUE else [hidden]:
            self._remove_lower(directory, entry)

    def _remove_lower(self, directory: Directory, name: bytes) -> None:
        """Remove an entry, and all below it, as far as it is older than this layer."""
        pending = [(directory, name, False)]
        while pending:
            parent, entry, emptied = pending.pop()
            node = parent.entries.get(entry)
            if isinstance(node, Directory) and node.entries and not emptied:
                pending.append((parent, entry, True))  # again, when its entries are done
                pending.extend((node, child, False) for child in node.entries)
            elif node is not None and entry not in self._added[parent]:
                still_needed = isinstance(node, Directory) and node.entries
                if not still_needed:
                    del parent.entries[entry]

    def _link_target(self, member: Member) -> Node:
        *parents, name = _components(member.link) or [b""]
        parent = self.find(parents)
        node = parent.entries.get(name) if isinstance(parent, Directory) else None
        if node is None or isinstance(node, Directory):
            target = member.link.decode(errors="replace")
            raise _invalid(member.path, f"a hard link to {target!r}, which is no file of the image")
        return node

    def directory(self, components: list[bytes]) -> Directory:
        """The directory at a path, made with its parents if it is not there; what else is in the
        way is replaced."""
        found = self._walk(components, make=True)
        assert isinstance(found, Directory)
        return found

    def find(self, components: list[bytes]) -> Node | None:
        """What is at a path, following links; None if there is nothing."""
        return self._walk(components, make=False)

    def _walk(self, components: list[bytes], *, make: bool) -> Node | None:
        """Resolve a path as a process whose root is the image would; but ".." leads back even from
        what is no directory, as in umoci (filepath-securejoin), so that none is made for it."""
        pending = deque(components)
        path: list[Directory] = [self.root]
        missing: list[bytes] = []
        links = 0
        while pending:
            name = pending.popleft()
            if name == b"..":
                if missing:
                    missing.pop()
                else:
                    path = path[:-1] or path
                continue
            node = None if missing else path[-1].entries.get(name)
            if isinstance(node, Directory):
                path.append(node)
            elif isinstance(node, SymbolicLink):
                links += 1
                if links > MAXIMUM_SYMLINKS:
                    raise _invalid(b"/".join(components), "symbolic links that go round")
                if node.target.startswith(b"/"):
                    path = [self.root]
                pending.extendleft(
                    reversed([part for part in node.target.split(b"/") if part not in (b"", b".")])
                )
            else:
                missing.append(name)
        if missing and not make:
            return path[-1].entries.get(missing[0]) if len(missing) == 1 else None
        for name in missing:
            made = Directory()
            self._put(path[-1], name, made)
            path.append(made)
        return path[-1]


def _components(path: bytes) -> list[bytes]:
    """A member's path in pieces; absolute is taken as below the root, as tar(1) does.

    Raises InvalidImage if it leads out of the image, or no file system could hold it.
    """
    components: list[bytes] = []
    for name in path.split(b"/"):
        if name in (b"", b"."):
            continue
        if name == b"..":
            if not components:
                raise _invalid(path, "a path that leaves the image")
            components.pop()
        elif b"\0" in name:
            raise _invalid(path, "a name that no file system can hold")
        else:
            components.append(name)
    if len(path) > LONGEST_PATH:
        raise _invalid(path, "a path that is too long")
    return components


def kept_attributes(attributes: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the extended attributes that mean something to an ordinary user; overlayfs would take
    its own (user.overlay.) for instructions."""
    return attributes and {
        name: value
        for name, value in attributes.items()
        if name.startswith("user.") and not name.startswith("user.overlay.")
    }


def _invalid(path: bytes, problem: str) -> InvalidImage:
    name = path[:80].decode(errors="replace")
    return InvalidImage(f"a layer has {problem} ({name!r})", "the image cannot be used")
