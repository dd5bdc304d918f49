# SPDX-License-Identifier: Apache-2.0
"""Merges the layers of an image into one tree, oldest first; no path is resolved on the host.

The rules are those of the OCI image-spec's layer.md, where that is silent umoci's: a whiteout never
removes what its own layer adds; parents are resolved inside the image, through its symbolic links;
of two entries of one name in a layer the last wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from cwl_udss.files.paths import MAXIMUM_SYMLINKS
from cwl_udss.images.layers.members import Kind, LayerIndex, Member
from cwl_udss.images.trees.member_paths import (
    LONGEST_NAME,
    LONGEST_PATH,
    check_path,
    invalid,
    path_components,
)
from cwl_udss.images.trees.modes import directory_mode, file_mode
from cwl_udss.images.trees.table import EntryTable, TableEntries
from cwl_udss.images.trees.tree import (
    Directory,
    Node,
    RegularFile,
    SymbolicLink,
    Tree,
    notes_of,
)

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."

# What a sandbox mounts something on, so that no mount point has to be made later.
_MOUNT_DIRECTORIES = (b"dev", b"proc", b"sys", b"tmp", b"var/lib/cwl", b"var/spool/cwl", b"etc")
_MOUNT_FILES = (b"passwd", b"group", b"hosts", b"resolv.conf")

_NO_NAMES = (b"", b".", b"..")
_MOST_FOUND = 1000

# Stands for any special file while layers are merged: it replaces and is replaced, linked to and
# whited out as others are.
_SPECIAL_FILE = RegularFile(0, 0, 0, layer=0, offset=0, extents=None, attributes={})


def merge_layers(layers: Sequence[LayerIndex], table: EntryTable | None = None) -> Tree:
    """Merge layers, the oldest first; `table` is empty, and holds the tree. Raises InvalidImage for
    a layer that is malformed."""
    merger = _Merger(table or EntryTable())
    for layer in layers:
        merger.add(layer)
    return merger.tree()


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


def ensure_mount_points(tree: Tree, table: EntryTable) -> None:
    """Add what a sandbox mounts its own things on, where the image does not have it; `table` is the
    one that holds the tree."""
    merger = _Merger(table, tree.root)
    for path in _MOUNT_DIRECTORIES:
        merger.directory(path_components(path))
    etc = merger.directory([b"etc"])
    for name in _MOUNT_FILES:
        # resolv.conf is often a link into /run, which leads nowhere here.
        if not isinstance(merger.find([b"etc", name]), RegularFile):
            empty = RegularFile(0o644, 0, 0, layer=0, offset=0, extents=None, attributes={})
            etc.entries[name] = empty


class _Merger:
    """A tree to which layers are added."""

    def __init__(self, table: EntryTable, root: Directory | None = None) -> None:
        self._table = table
        self._root = root or table.directory()
        table.link(_SPECIAL_FILE)
        self._layer = 0
        self._is_oldest = True
        # Directories by their paths as members have them, to be forgotten where one may have
        # become another: nearly all members are where the one before was.
        self._found: dict[bytes, Directory] = {}
        self._whited_out: set[Directory] = set()

    def add(self, layer: LayerIndex) -> None:
        """Apply a layer's members in their order."""
        self._layer = layer.number
        self._table.layer += 1
        for member in layer.members:
            self._apply(member)
        self._is_oldest = False
        self._whited_out.clear()

    def tree(self) -> Tree:
        """What the layers have made."""
        count = self._table.remove_all(_SPECIAL_FILE)
        linked = self._table.linked - {_SPECIAL_FILE}
        return Tree(root=self._root, linked=linked, notes=notes_of(count))

    def _apply(self, member: Member) -> None:
        place = self._place(member)
        if place is None:
            return
        directory, name = place
        existing: Node | None = directory.entries.get(name)
        if member.kind is Kind.FILE:
            node: Node = regular_file(member, self._layer)
        elif member.kind is Kind.DIRECTORY:
            node = existing if isinstance(existing, Directory) else self._table.directory()
            self._update(node, member)
        elif member.kind is Kind.HARD_LINK:
            node = self._link_target(member)
        elif member.kind is Kind.SYMBOLIC_LINK:
            if not 0 < len(member.link) <= LONGEST_PATH or b"\0" in member.link:
                raise invalid(member.path, "a symbolic link to what can be no path")
            node = SymbolicLink(member.link, member.mtime)
        else:
            node = _SPECIAL_FILE
        self._put(directory, name, node, existing)

    def _place(self, member: Member) -> tuple[Directory, bytes] | None:
        """Where a member is to be put: in which directory, which is made if need be, and by which
        name. None for what is not put anywhere, and is done then."""
        parent, _, name = member.path.rpartition(b"/")
        known = self._found.get(parent)
        if known is not None and name not in _NO_NAMES and not name.startswith(_WHITEOUT):
            check_path(member.path, name)
            return known, name
        components = path_components(member.path)
        if not components:
            if member.kind is not Kind.DIRECTORY:
                raise invalid(member.path, "a root that is no directory")
            self._update(self._root, member)
            return None
        *parents, name = components
        if name.startswith(_WHITEOUT):
            self._white_out(parents, name, member)
            return None
        directory = self.directory(parents)
        parent, _, last = member.path.rstrip(b"/").rpartition(b"/")
        if last == name:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[parent] = directory
        return directory, name

    def _put(self, directory: Directory, name: bytes, node: Node, existing: Node | None) -> None:
        # Not checked earlier: the name of a whiteout is longer than what it hides.
        if len(name) > LONGEST_NAME:
            raise invalid(name, "a name that no file system can hold")
        if isinstance(node, SymbolicLink) or (
            isinstance(existing, Directory | SymbolicLink) and existing is not node
        ):
            self._found.clear()
        directory.entries[name] = node

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
            raise invalid(member.path, "a whiteout of no name")
        directory = self.find(parents)
        if self._is_oldest or not isinstance(directory, Directory):
            return
        if name == _OPAQUE:
            self._remove_lower(directory)
            return
        node = directory.entries.get(hidden)
        if isinstance(node, Directory):
            self._remove_lower(node)
        if node is not None:
            self._remove(directory, hidden, node)

    def _remove_lower(self, directory: Directory) -> None:
        """Remove all below a directory, as far as it is older than this layer."""
        # Once is enough: what the layer adds itself stays anyway.
        if directory in self._whited_out:
            return
        self._found.clear()
        pending = [(directory, False)]
        while pending:
            parent, are_emptied = pending.pop()
            entries = _entries(parent)
            directories = entries.directories()
            if are_emptied:
                for name, node in directories:
                    self._remove(parent, name, node)
            elif parent not in self._whited_out:
                self._whited_out.add(parent)
                entries.discard_older()
                pending.append((parent, True))  # again, when what is in its directories is done
                pending.extend((node, False) for _, node in directories)

    def _remove(self, directory: Directory, name: bytes, node: Node) -> None:
        """Remove an entry if it is older than this layer, and nothing is left in it."""
        still_needed = isinstance(node, Directory) and node.entries
        if not still_needed and not _entries(directory).is_new(name):
            del directory.entries[name]
            if not isinstance(node, RegularFile):
                self._found.clear()

    def _link_target(self, member: Member) -> Node:
        *parents, name = path_components(member.link) or [b""]
        parent = self.find(parents)
        node = _entries(parent).link(name) if isinstance(parent, Directory) else None
        if node is None or isinstance(node, Directory):
            target = member.link.decode(errors="replace")
            raise invalid(member.path, f"a hard link to {target!r}, which is no file of the image")
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
        path: list[Directory] = [self._root]
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
                    raise invalid(b"/".join(components), "symbolic links that go round")
                if node.target.startswith(b"/"):
                    path = [self._root]
                pending.extendleft(
                    reversed([part for part in node.target.split(b"/") if part not in (b"", b".")])
                )
            else:
                missing.append(name)
        if missing and not make:
            return path[-1].entries.get(missing[0]) if len(missing) == 1 else None
        for name in missing:
            made = self._table.directory()
            self._put(path[-1], name, made, None)
            path.append(made)
        return path[-1]


def _entries(directory: Directory) -> TableEntries:
    """Those of a directory that a merger has made."""
    assert isinstance(directory.entries, TableEntries)
    return directory.entries


def kept_attributes(attributes: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the extended attributes that mean something to an ordinary user; overlayfs would take
    its own (user.overlay.) for instructions."""
    return attributes and {
        name: value
        for name, value in attributes.items()
        if name.startswith("user.") and not name.startswith("user.overlay.")
    }
