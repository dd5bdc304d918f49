# SPDX-License-Identifier: Apache-2.0
"""Every setting, in one place: option > environment > user's file > site's file > default."""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwl_udss.errors import SettingsError
from cwl_udss.machine.user_directories import user_configuration
from cwl_udss.settings.setting import DEFAULT, Setting, join_list
from cwl_udss.settings.settings import Settings
from cwl_udss.settings.table import SETTINGS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SITE_FILE = Path("/etc/cwl-udss/config.toml")
FILE_VARIABLE = "CWL_UDSS_CONFIG"


def add_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    *,
    driver: bool = False,
    batch: bool = False,
) -> None:
    """Add one option per setting to a command's parser; with those of a driver and those for jobs
    only if said so."""
    for setting in SETTINGS:
        if (setting.is_driver and not driver) or (setting.is_batch and not batch):
            continue
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
    everywhere = dict(files)
    if site_file not in everywhere and site_file.exists():
        everywhere[site_file] = _read_file(site_file, environment, home)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        read = everywhere.items() if setting.adds_up else files
        sources = [
            (setting.option, _given(options.get(setting.attribute))),
            (f"${setting.variable}", environment.get(setting.variable) or None),
            *((str(path), content.get(setting.name)) for path, content in read),
        ]
        texts = [(origin, text) for origin, text in sources if text is not None]
        given = {
            origin: _converted(setting, origin, text)
            for origin, text in (texts if setting.adds_up else texts[:1])
        }
        if not given:
            values[setting.name] = setting.default(environment, home)
            origins[setting.name] = DEFAULT
        elif setting.adds_up:
            values[setting.name] = {
                part: origin for origin, parts in given.items() for part in parts
            }
            origins[setting.name] = " and ".join(given)
        else:
            origins[setting.name], values[setting.name] = next(iter(given.items()))
    return Settings(**values, origins=origins)


def _converted(setting: Setting, origin: str, text: str) -> Any:
    try:
        return setting.convert(text)
    except ValueError as error:
        raise SettingsError(f"{setting.name} from {origin} is {text!r}", str(error)) from error


def _given(value: str | list[str] | None) -> str | None:
    return ",".join(value) if isinstance(value, list) else value


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
    own = user_configuration(environment, home) / "cwl-udss" / "config.toml"
    candidates = [own, site_file]
    return [path for path in candidates if path.exists()]


def _read_file(path: Path, environment: Mapping[str, str], home: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read", error.strerror or "") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not TOML", "it is no text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML", str(error)) from error
    known = {setting.name: setting for setting in SETTINGS}
    for key, value in content.items():
        if isinstance(value, dict):
            raise SettingsError(
                f"{path} has a table [{key}]", "it holds no tables, only lines `key = value`"
            )
        if key not in known:
            import difflib

            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise SettingsError(f"unknown key {key!r} in {path}", f"did you mean {nearest!r}?")
    return {
        key: _text(known[key], value, environment, home, path) for key, value in content.items()
    }


def _text(
    setting: Setting, value: object, environment: Mapping[str, str], home: Path, path: Path
) -> str:
    """A value as the environment would have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if setting.is_amount and isinstance(value, int | float):
        return str(value)
    parts = value if setting.is_list and isinstance(value, list) else None
    texts = [value] if parts is None else parts
    expanded = [_expanded(text, environment, home, path) for text in texts if isinstance(text, str)]
    if len(expanded) < len(texts):
        name = setting.name
        raise SettingsError(f"{name} in {path} is not a string", f'write {name} = "…"')
    return expanded[0] if parts is None else join_list(expanded)


def _expanded(text: str, environment: Mapping[str, str], home: Path, path: Path) -> str:
    """Replace `~` and `$NAME`: a site's file says where *each user's* images go."""
    try:
        text = string.Template(text).substitute(environment)
    except KeyError as error:
        raise SettingsError(f"{path} uses ${error.args[0]}, which is not set", "set it") from error
    except ValueError as error:
        raise SettingsError(f"{text!r} in {path} has a stray $", "write $$") from error
    if text.startswith("~") and text.partition("/")[0] != "~":
        raise SettingsError(f"{text!r} in {path} begins with ~, but not with ~/", "write the path")
    return f"{home}{text[1:]}" if text.startswith("~") else text
