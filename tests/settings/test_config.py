# SPDX-License-Identifier: Apache-2.0
"""Where settings come from, and which source wins."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_udss.errors import SettingsError
from cwl_udss.images.formats.names import Compression, ImageFormat
from cwl_udss.images.libraries.naming import NAMINGS
from cwl_udss.images.libraries.place import STORE, LibraryPlace
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.machine.quantities import counted, show_memory, show_number, show_size, show_time
from cwl_udss.runtimes.choosing.table import RUNTIMES
from cwl_udss.runtimes.limits import LIMITS, WEAKNESSES
from cwl_udss.settings.config import add_options, load_settings
from cwl_udss.settings.setting import Setting
from cwl_udss.settings.settings import Settings
from cwl_udss.settings.table import SETTINGS


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/.config/cwl-udss").mkdir(parents=True)
    return tmp_path / "home"


def user_file(home: Path) -> Path:
    return home / ".config/cwl-udss/config.toml"


def load(home: Path, *arguments: str, site: str | None = None, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_options(parser)
    site_file = home.parent / "site.toml"
    if site is not None:
        site_file.write_text(site)
    return load_settings(vars(parser.parse_args(arguments)), environment, home, site_file)


def test_defaults(home: Path) -> None:
    settings = load(home)
    assert settings.store == home / ".cache/cwl-udss"
    assert settings.bwrap is None
    assert settings.origins["store"] == "default"
    assert load(home, XDG_CACHE_HOME="/cache").store == Path("/cache/cwl-udss")
    assert load(home, XDG_CACHE_HOME="cache").store == home / ".cache/cwl-udss"  # as XDG wants it


def test_each_source_wins_over_those_after_it(home: Path) -> None:
    site = 'store = "/site"'
    assert load(home, site=site).store == Path("/site")
    user_file(home).write_text('store = "/user"')
    assert load(home, site=site).store == Path("/user")
    assert load(home, site=site, CWL_UDSS_STORE="/environment").store == Path("/environment")
    settings = load(home, "--udss-store", "/option", site=site, CWL_UDSS_STORE="/environment")
    assert settings.store == Path("/option")
    assert settings.origins["store"] == "--udss-store"


def test_files_are_merged_key_by_key(home: Path) -> None:
    user_file(home).write_text('bwrap = "/opt/bwrap"')
    settings = load(home, site='store = "/site"\nbwrap = "/usr/bin/bwrap"')
    assert (settings.store, settings.bwrap) == (Path("/site"), "/opt/bwrap")


def test_a_chosen_file_replaces_both(home: Path, tmp_path: Path) -> None:
    user_file(home).write_text('bwrap = "/opt/bwrap"')
    (tmp_path / "chosen.toml").write_text('store = "/chosen"')
    settings = load(home, site='bwrap = "/x"', CWL_UDSS_CONFIG=str(tmp_path / "chosen.toml"))
    assert (settings.store, settings.bwrap) == (Path("/chosen"), None)


def test_a_site_says_where_each_users_images_go(home: Path) -> None:
    site = 'store = "$SCRATCH/${USER}/images"'
    settings = load(home, site=site, SCRATCH="/lustre", USER="mia")
    assert settings.store == Path("/lustre/mia/images")
    assert load(home, site='store = "~/images"').store == home / "images"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('stroe = "/x"', "stroe.*did you mean 'store'", id="unknown key"),
        pytest.param("store = 3", "store .*not a string", id="wrong type"),
        pytest.param('store = "$NOWHERE/x"', "NOWHERE", id="unset variable"),
        pytest.param('store = "cost: 5$"', "stray", id="stray dollar"),
        pytest.param("store = [", "not TOML", id="not TOML"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(home: Path, content: str, message: str) -> None:
    user_file(home).write_text(content)
    with pytest.raises(SettingsError, match=message) as raised:
        load(home)
    assert str(user_file(home)) in str(raised.value)


def test_a_chosen_file_that_is_not_there(home: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        load(home, CWL_UDSS_CONFIG="/nowhere.toml")


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
PATHS = WORDS.map(lambda text: Path("/", text.replace(":", "")))
NAMES = st.sampled_from([STORE, *NAMINGS])
POSITIVE = st.integers(min_value=1)
# Of each setting all values that it may have; of those left out, texts.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("store", "scratch", "report", "trace_table", "trace_events", "runs"), PATHS),
    "library": st.lists(
        st.builds(LibraryPlace, path=PATHS.filter(lambda path: path != Path("/")), naming=NAMES),
        min_size=1,
    ).map(tuple),
    "library_trust": st.sampled_from(Trust),
    **dict.fromkeys(
        ("offline", "known_libraries", "keep_layers", "trace_raw", "batch_select", "pilot"),
        st.booleans(),
    ),
    "format": st.sampled_from([None, *ImageFormat]),
    "compression": st.sampled_from(Compression),
    "runtime": st.sampled_from(["auto", *RUNTIMES]),
    "readable": st.lists(PATHS).map(tuple),
    "required": st.lists(st.sampled_from([limit.name for limit in LIMITS])).map(tuple),
    "accept": st.lists(st.sampled_from([limit.name for limit in WEAKNESSES])).map(tuple),
    "limit": st.lists(st.sampled_from(["memory", "cores"])).map(tuple),
    "door_hide": st.lists(st.sampled_from(["home", "cwd", "tmp", "network"])).map(tuple),
    "batch": st.sampled_from(["pbs", "slurm", "lsf", "local"]),
    "batch_options": st.lists(WORDS).map(tuple),
    **dict.fromkeys(("scratch_images", "batch_memory", "batch_walltime"), st.integers(0, 1 << 50)),
    "retries": st.integers(min_value=0),
    **dict.fromkeys(("batch_cores", "batch_jobs", "batch_group"), POSITIVE),
    **dict.fromkeys(("pilot_nodes", "pilot_allocations", "pilot_cores"), POSITIVE),
    "batch_rate": st.floats(0, 1000, exclude_min=True),
    "retry_scale": st.floats(1, 100),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.name for setting in SETTINGS])
@given(data=st.data())
def test_a_value_is_shown_as_it_may_be_given(setting: Setting, data: st.DataObject) -> None:
    value = data.draw(VALUES.get(setting.name, WORDS))
    assert setting.convert(setting.show(value)) == value


def test_amounts_are_shown_as_people_write_them() -> None:
    assert [show_size(size) for size in (0, 1000, 1 << 10, 20 << 30)] == ["0", "1000", "1K", "20G"]
    assert [show_memory(size) for size in (0, 512, 4096)] == ["0M", "512M", "4G"]
    assert [show_time(time) for time in (90, 5400, 43200)] == ["0:01:30", "1:30:00", "12h"]
    assert [show_number(number) for number in (10.0, 0.5)] == ["10", "0.5"]


def test_numbers_of_things() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert counted(2, "process", "processes") == "2 processes"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[udss]\nstore = 'x'\n", r"has a table \[udss\]: it holds no tables"),
        (b"store = '~somebody/x'\n", "begins with ~, but not with ~/: write the path"),
        (b"store = '\xff'\n", "is not TOML: it is no text in UTF-8"),
    ],
)
def test_files_that_say_nothing_possible(home: Path, content: bytes, said: str) -> None:
    user_file(home).write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load(home)


def test_a_file_that_may_not_be_read(home: Path) -> None:
    user_file(home).touch(mode=0)
    with pytest.raises(SettingsError, match=r"config\.toml cannot be read: Permission denied$"):
        load(home)


def places(settings: Settings) -> list[str]:
    return [str(place) for place in settings.library]


def test_libraries_are_named_again_and_again(home: Path) -> None:
    site = 'library = ["nextflow:/site/singularity", "/site/store"]'
    assert places(load(home, site=site)) == ["nextflow:/site/singularity", "/site/store"]
    given = ("--udss-library", "cwltool:/a", "--udss-library", "/b,galaxy-cvmfs:/c")
    settings = load(home, *given, site=site, CWL_UDSS_LIBRARY="/d")
    assert places(settings) == ["cwltool:/a", "/b", "galaxy-cvmfs:/c"]
    assert settings.other_stores == (Path("/b"),)


def test_several_weaknesses_are_accepted(home: Path) -> None:
    names = tuple(limit.name for limit in WEAKNESSES)
    assert len(names) > 1
    options = [f"--udss-accept={name}" for name in names]
    assert load(home, *options).accept == names
    assert load(home, CWL_UDSS_ACCEPT=",".join(names)).accept == names
    user_file(home).write_text(f"accept = {list(names)}")
    assert load(home).accept == names


def test_what_a_site_requires_adds_up_and_nobody_can_take_it_away(home: Path) -> None:
    site = 'required = ["metadata-writable"]'
    site_file = str(home.parent / "site.toml")
    assert load(home, site=site).required == {"metadata-writable": site_file}
    more = load(home, "--udss-required=host-name,metadata-writable", site=site)
    assert more.required == {"metadata-writable": site_file, "host-name": "--udss-required"}
    assert more.origins["required"] == f"--udss-required and {site_file}"
    (home / "other.toml").write_text('offline = true\nrequired = ["no-ipc"]')
    chosen = load(home, site=site + "\noffline = false", CWL_UDSS_CONFIG=str(home / "other.toml"))
    assert chosen.offline
    assert chosen.required["metadata-writable"] == site_file
    assert set(chosen.required) == {"no-ipc", "metadata-writable"}
    assert load(home, site="").required == {}


def test_a_requirement_that_is_none(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"required from .*site.toml is 'safety': there is no"):
        load(home, site='required = ["safety"]', CWL_UDSS_REQUIRED="host-name")


def test_a_list_in_the_environment_has_commas(home: Path) -> None:
    settings = load(home, CWL_UDSS_LIBRARY="nextflow:/site/a:b, /c,,unpacked:/d/e\\,f")
    assert places(settings) == ["nextflow:/site/a:b", "/c", "unpacked:/d/e,f"]
    assert places(load(home, site='library = "/a,enroot:/b"')) == ["/a", "enroot:/b"]
    assert places(load(home, site='library = ["/a,b", "/c"]')) == ["/a,b", "/c"]
    assert places(load(home, site="library = []")) == []


def test_places_are_paths_of_this_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/mia")
    settings = load(home, "--udss-library", "nextflow:images", "--udss-library", "nextflow:~/x")
    assert places(settings) == [f"nextflow:{tmp_path}/images", "nextflow:/home/mia/x"]
    assert places(load(home, "--udss-library", "./odd:name")) == [f"{tmp_path}/odd:name"]
    settings = load(home, site='library = ["osg:$SITE/x", "~/y"]', SITE="/site")
    assert places(settings) == ["osg:/site/x", f"{home}/y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nexflow:/x", r"'nexflow' is no way to name images, did you mean 'nextflow'\? .*osg"),
        ("/a,Cwltool:/x", "did you mean 'cwltool'"),
        ("nextflow:", "write nextflow:DIR"),
        (":/x", "'' is no way to name images"),
    ],
)
def test_a_library_that_means_nothing(home: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"library from --udss-library is .*{said}"):
        load(home, "--udss-library", text)


def test_what_is_no_list_is_none_in_a_file_either(home: Path) -> None:
    with pytest.raises(SettingsError, match=r'store in .* is not a string: write store = "…"'):
        load(home, site='store = ["/a", "/b"]')


def test_what_is_trusted(home: Path) -> None:
    assert load(home).library_trust is Trust.NAME
    assert load(home, CWL_UDSS_LIBRARY_TRUST="digest").library_trust is Trust.DIGEST
    with pytest.raises(SettingsError, match="it must be digest or name"):
        load(home, "--udss-library-trust", "nobody")
