# SPDX-License-Identifier: Apache-2.0
"""Every setting, in one place: option > environment > user's file > site's file > default."""

from __future__ import annotations

import argparse
import difflib
import re
import string
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import SettingsError
from cwl_udss.images.formats import Compression, ImageFormat

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SITE_FILE = Path("/etc/cwl-udss/config.toml")
FILE_VARIABLE = "CWL_UDSS_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set; each field is an option `--udss-NAME`, a variable `CWL_UDSS_NAME` and a key
    of the configuration files."""

    store: Path
    """Directory of the converted images."""
    library: tuple[Path, ...]
    """Other stores, only read, looked into before that."""
    offline: bool
    """Never use the network."""
    format: ImageFormat | None
    """Of new images; None chooses by the store's filesystem."""
    compression: Compression
    keep_layers: bool
    """Keep the layers that were downloaded."""
    scratch: Path | None
    """A directory on this node; None looks for one."""
    scratch_images: int
    """How many bytes unpacked images may take there."""
    bwrap: str | None
    """The `bwrap` program to use; None looks for one."""
    origins: Mapping[str, str]
    """Where each value came from, for `cwl-udss doctor`."""


@dataclass(frozen=True, kw_only=True)
class _Setting:
    name: str
    help: str
    default: Callable[[Mapping[str, str], Path], Any]
    convert: Callable[[str], Any]
    """Raises ValueError with what would be right."""
    metavar: str = ""
    is_flag: bool = False
    """Is given by the option alone."""
    is_list: bool = False
    """The option may be repeated."""

    @property
    def option(self) -> str:
        return f"--udss-{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"CWL_UDSS_{self.name.upper()}"

    @property
    def attribute(self) -> str:
        return f"udss_{self.name}"


def user_cache(environment: Mapping[str, str], home: Path) -> Path:
    """Return the directory of what is this user's, and can be made again."""
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "cwl-udss"


def _default(value: Any) -> Callable[[Mapping[str, str], Path], Any]:
    return lambda environment, home: value


def _path(text: str) -> Path:
    return Path(text).absolute()


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in text.split(":") if part)


def _yes_or_no(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("it must be yes or no") from None


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _format(text: str) -> ImageFormat | None:
    if text == "auto":
        return None
    try:
        return ImageFormat(text)
    except ValueError:
        raise ValueError("it must be auto, directory or squashfs") from None


def _compression(text: str) -> Compression:
    try:
        return Compression(text)
    except ValueError:
        raise ValueError("it must be zstd or gzip") from None


def parse_size(text: str) -> int:
    """Return the bytes that a text such as 20G means. Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)i?B?", text, re.IGNORECASE)
    if match is None:
        raise ValueError("it must be a number of bytes, such as 20G")
    return int(match[1]) << (10 * " KMGT".index(match[2].upper() or " "))


SETTINGS = (
    _Setting(
        name="store",
        metavar="DIR",
        help="keep converted images in DIR (default: ~/.cache/cwl-udss)",
        default=user_cache,
        convert=_path,
    ),
    _Setting(
        name="library",
        metavar="DIR[:DIR...]",
        help="use the images of these stores first; they are only read",
        default=_default(()),
        convert=_paths,
        is_list=True,
    ),
    _Setting(
        name="offline",
        help="never use the network; say at the start which images are missing",
        default=_default(False),
        convert=_yes_or_no,
        is_flag=True,
    ),
    _Setting(
        name="format",
        metavar="FORMAT",
        help="keep new images as a `directory` or as one `squashfs` file (default: auto, a file if "
        "the store is on a network filesystem)",
        default=_default(None),
        convert=_format,
    ),
    _Setting(
        name="compression",
        metavar="NAME",
        help="compress squashfs files with zstd or gzip (default: zstd; gzip is for old readers)",
        default=_default(Compression.ZSTD),
        convert=_compression,
    ),
    _Setting(
        name="keep_layers",
        help="keep downloaded layers in the store, so that images which share some need less",
        default=_default(False),
        convert=_yes_or_no,
        is_flag=True,
    ),
    _Setting(
        name="scratch",
        metavar="DIR",
        help="a directory on this node for images in use and for the steps' own directories "
        "(default: the first of $TMPDIR, $PBS_JOBFS, $SLURM_TMPDIR, /tmp that is local)",
        default=_default(None),
        convert=_path,
    ),
    _Setting(
        name="scratch_images",
        metavar="SIZE",
        help="let images that had to be unpacked take SIZE there at most (default: 20G)",
        default=_default(20 << 30),
        convert=parse_size,
    ),
    _Setting(
        name="bwrap",
        metavar="PROGRAM",
        help="make sandboxes with this bwrap (default: the one on PATH if it works here, else the "
        "one that was installed with cwl-udss)",
        default=_default(None),
        convert=str,
    ),
)


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add one option per setting to a command's parser."""
    for setting in SETTINGS:
        described = f"{setting.help} [${setting.variable}]"
        if setting.is_flag:
            action: dict[str, Any] = {"action": "store_const", "const": "yes"}
        else:
            action = {
                "action": "append" if setting.is_list else "store",
                "metavar": setting.metavar,
            }
        parser.add_argument(setting.option, dest=setting.attribute, help=described, **action)


def load_settings(
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    home: Path,
    site_file: Path = SITE_FILE,
) -> Settings:
    """Merge all sources; `options` is what add_options() parsed.

    Raises SettingsError for a file that cannot be read, a key that is unknown, a value of a wrong
    type.
    """
    files = [
        (path, _read_file(path, environment, home)) for path in _files(environment, home, site_file)
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        sources = [
            (setting.option, _given(options.get(setting.attribute))),
            (f"${setting.variable}", environment.get(setting.variable) or None),
            *((str(path), content.get(setting.name)) for path, content in files),
        ]
        origin, text = next(
            ((origin, text) for origin, text in sources if text is not None), ("default", None)
        )
        if text is None:
            values[setting.name] = setting.default(environment, home)
        else:
            try:
                values[setting.name] = setting.convert(text)
            except ValueError as error:
                raise SettingsError(
                    f"{setting.name} from {origin} is {text!r}", str(error)
                ) from error
        origins[setting.name] = origin
    return Settings(**values, origins=origins)


def _given(value: str | list[str] | None) -> str | None:
    return ":".join(value) if isinstance(value, list) else value


def _files(environment: Mapping[str, str], home: Path, site_file: Path) -> list[Path]:
    """The configuration files that there are, the strongest first."""
    chosen = environment.get(FILE_VARIABLE)
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise SettingsError(
                f"${FILE_VARIABLE} names {path}, which is no file", "mend or unset it"
            )
        return [path]
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    candidates = [configuration / "cwl-udss" / "config.toml", site_file]
    return [path for path in candidates if path.exists()]


def _read_file(path: Path, environment: Mapping[str, str], home: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read", str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML", str(error)) from error
    known = [setting.name for setting in SETTINGS]
    for key in content:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise SettingsError(f"unknown key {key!r} in {path}", f"did you mean {nearest!r}?")
    return {
        key: ":".join(_expanded(text, environment, home, path) for text in _texts(key, value, path))
        for key, value in content.items()
    }


def _texts(key: str, value: object, path: Path) -> list[str]:
    """A value as the environment would have it; a list in its parts."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    texts = value if isinstance(value, list) else [value]
    strings = [text for text in texts if isinstance(text, str)]
    if len(strings) < len(texts):
        raise SettingsError(f"{key} in {path} is not a string", f'write {key} = "…"')
    return strings


def _expanded(text: str, environment: Mapping[str, str], home: Path, path: Path) -> str:
    """Replace `~` and `$NAME`: a site's file says where *each user's* images go."""
    try:
        text = string.Template(text).substitute(environment)
    except KeyError as error:
        raise SettingsError(f"{path} uses ${error.args[0]}, which is not set", "set it") from error
    except ValueError as error:
        raise SettingsError(f"{text!r} in {path} has a stray $", "write $$") from error
    return f"{home}{text[1:]}" if text == "~" or text.startswith("~/") else text
