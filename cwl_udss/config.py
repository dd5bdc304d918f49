# SPDX-License-Identifier: Apache-2.0
"""Every setting, in one place: option > environment > user's file > site's file > default."""

from __future__ import annotations

import argparse
import difflib
import string
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwl_udss.errors import SettingsError

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
    bwrap: str | None
    """The `bwrap` program to use; None looks for one."""
    origins: Mapping[str, str]
    """Where each value came from, for `cwl-udss doctor`."""


@dataclass(frozen=True)
class _Setting:
    name: str
    metavar: str
    help: str
    default: Callable[[Mapping[str, str], Path], Any]
    convert: Callable[[str], Any]

    @property
    def option(self) -> str:
        return f"--udss-{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"CWL_UDSS_{self.name.upper()}"

    @property
    def attribute(self) -> str:
        return f"udss_{self.name}"


def _default_store(environment: Mapping[str, str], home: Path) -> Path:
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "cwl-udss"


SETTINGS = (
    _Setting(
        "store",
        "DIR",
        "keep converted images in DIR (default: ~/.cache/cwl-udss)",
        _default_store,
        lambda text: Path(text).absolute(),
    ),
    _Setting(
        "bwrap",
        "PROGRAM",
        "make sandboxes with this bwrap (default: the one on PATH if it works here, else the one "
        "that was installed with cwl-udss)",
        lambda environment, home: None,
        str,
    ),
)


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add one option per setting to a command's parser."""
    for setting in SETTINGS:
        parser.add_argument(
            setting.option,
            dest=setting.attribute,
            metavar=setting.metavar,
            help=f"{setting.help} [${setting.variable}]",
        )


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
            (setting.option, options.get(setting.attribute)),
            (f"${setting.variable}", environment.get(setting.variable) or None),
            *((str(path), content.get(setting.name)) for path, content in files),
        ]
        origin, text = next(
            ((origin, text) for origin, text in sources if text is not None), ("default", None)
        )
        if text is None:
            values[setting.name] = setting.default(environment, home)
        else:
            values[setting.name] = setting.convert(text)
        origins[setting.name] = origin
    return Settings(**values, origins=origins)


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
    for key, value in content.items():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise SettingsError(f"unknown key {key!r} in {path}", f"did you mean {nearest!r}?")
        if not isinstance(value, str):
            raise SettingsError(f"{key} in {path} is not a string", f'write {key} = "…"')
    return {key: _expanded(text, environment, home, path) for key, text in content.items()}


def _expanded(text: str, environment: Mapping[str, str], home: Path, path: Path) -> str:
    """Replace `~` and `$NAME`: a site's file says where *each user's* images go."""
    try:
        text = string.Template(text).substitute(environment)
    except KeyError as error:
        raise SettingsError(f"{path} uses ${error.args[0]}, which is not set", "set it") from error
    except ValueError as error:
        raise SettingsError(f"{text!r} in {path} has a stray $", "write $$") from error
    return f"{home}{text[1:]}" if text == "~" or text.startswith("~/") else text
