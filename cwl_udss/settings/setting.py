# SPDX-License-Identifier: Apache-2.0
"""How a setting is set, and what its text may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.machine.quantities import AMOUNTS
from cwl_udss.records import record

if TYPE_CHECKING:
    from cwl_udss.images.libraries.place import LibraryPlace

DEFAULT = "default"
"""Where the value of a setting comes from that nothing sets."""


@record(frozen=True, kw_only=True)
class Setting:
    """How one of them is set."""

    name: str
    help: str
    default: Callable[[Mapping[str, str], Path], Any]
    convert: Callable[[str], Any]
    """Raises ValueError with what would be right."""
    show: Callable[[Any], str] = str
    """Writes a value such that `convert` gives it again."""
    metavar: str = ""
    is_flag: bool = False
    """Is given by the option alone."""
    is_list: bool = False
    """It is a list: the option may be repeated, and between the parts are commas (see
    split_list)."""
    adds_up: bool = False
    """It is a list to which each source may add, the site's file whichever others are read: none
    can take away from it. Its value says where each part is from."""
    is_driver: bool = False
    """Only matters to a driver."""
    is_batch: bool = False
    """Only matters where steps are jobs."""

    @property
    def is_amount(self) -> bool:
        """Whether a mere number may stand in a file."""
        return self.convert in AMOUNTS

    @property
    def option(self) -> str:
        """As typed."""
        return f"--udss-{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """In the environment."""
        return f"CWL_UDSS_{self.name.upper()}"

    @property
    def attribute(self) -> str:
        """As argparse has it."""
        return f"udss_{self.name}"


def always(value: Any) -> Callable[[Mapping[str, str], Path], Any]:
    """Return what gives this default, wherever it is asked for."""
    return lambda environment, home: value


def parse_path(text: str) -> Path:
    """Return a path, which is relative to the current directory."""
    return Path(text).absolute()


def split_list(text: str) -> tuple[str, ...]:
    """Return the parts of a list, which have commas between them; a backslash before one makes it
    part of the part."""
    parts = (re.sub(r"\\([\\,])", r"\1", part).lstrip() for part in re.findall(_PART, text))
    return tuple(part for part in parts if part)


def join_list(parts: Iterable[str]) -> str:
    """Write a list as it is read."""
    return ",".join(re.sub(r"([\\,])", r"\\\1", part) for part in parts)


_PART = r"(?:\\[\\,]|[^,])+"


def parse_places(text: str) -> tuple[LibraryPlace, ...]:
    """Return places of libraries. Raises ValueError."""
    from cwl_udss.images.libraries.place import parse_place

    return tuple(parse_place(part) for part in split_list(text))


def show_places(places: tuple[LibraryPlace, ...]) -> str:
    """Write places as they are read."""
    return join_list(map(str, places))


def parse_paths(text: str) -> tuple[Path, ...]:
    """Return paths (see parse_path)."""
    return tuple(map(parse_path, split_list(text)))


def show_paths(paths: tuple[Path, ...]) -> str:
    """Write paths as they are read."""
    return join_list(map(str, paths))


def parse_trust(text: str) -> Trust:
    """Return what is trusted. Raises ValueError."""
    try:
        return Trust(text)
    except ValueError:
        raise ValueError("it must be digest or name") from None


def show_trust(value: Trust) -> str:
    """Write what is trusted as it is read."""
    return value.value


def parse_yes_or_no(text: str) -> bool:
    """Return what a yes or no means. Raises ValueError for anything else."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("it must be yes or no") from None


def show_yes_or_no(value: bool) -> str:
    """Write yes or no."""
    return "yes" if value else "no"


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def one_of(*words: str) -> Callable[[str], str]:
    """Return what takes one of these words only."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}")
        return text

    return convert


def some_of(*words: str) -> Callable[[str], tuple[str, ...]]:
    """Return what takes a list of any of these words."""

    def convert(text: str) -> tuple[str, ...]:
        given = split_list(text)
        for word in given:
            if word not in words:
                raise ValueError(f"there is no {word!r}, only {', '.join(words)}")
        return given

    return convert


def parse_limited(text: str) -> tuple[str, ...]:
    """Return what is limited; nothing if it is "no". Raises ValueError."""
    return () if text == "no" else _some_limited(text)


def show_limited(names: tuple[str, ...]) -> str:
    """Write what is limited as it is read."""
    return join_list(names) or "no"


_some_limited = some_of("memory", "cores")


def parse_format(text: str) -> ImageFormat | None:
    """Return a format, None for "auto". Raises ValueError."""
    if text == "auto":
        return None
    try:
        return ImageFormat(text)
    except ValueError:
        raise ValueError("it must be auto, directory or squashfs") from None


def show_format(value: ImageFormat | None) -> str:
    """Write a format as it is read."""
    return "auto" if value is None else value.value


def parse_compression(text: str) -> Compression:
    """Return a compression. Raises ValueError."""
    try:
        return Compression(text)
    except ValueError:
        raise ValueError("it must be zstd or gzip") from None


def show_compression(value: Compression) -> str:
    """Write a compression as it is read."""
    return value.value
