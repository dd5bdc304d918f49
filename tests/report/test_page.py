# SPDX-License-Identifier: Apache-2.0
"""The page of a run, in a real browser, as a person has it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import browser, requests
from reports import begin, end, large_run, node, step

from cwl_udss.report.output import check_page, write_page
from cwl_udss.report.page.page import make_page
from cwl_udss.report.record import Asked, Status
from cwl_udss.report.run import Run

HOSTILE = '<img src=x onerror="document.title=1">"\'&</script><b>'


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as made:
        yield made


def open_page(driver: Any, run: Run, path: Path) -> None:
    path.write_bytes(make_page(run, path.parent))
    driver.get_log("browser")
    requests(driver)
    driver.get(path.as_uri())
    give_up = time.monotonic() + 30
    while not driver.execute_script("return document.body.dataset.drawn"):
        assert time.monotonic() < give_up, driver.get_log("browser")
        time.sleep(0.05)


def text(driver: Any) -> str:
    return str(driver.execute_script("return document.body.innerText"))


def column(driver: Any, number: int) -> list[str]:
    """What is in a column of the table of all steps."""
    script = (
        "return [...document.querySelectorAll('#steps-table tbody tr')]"
        ".map((row) => row.children[arguments[0]].innerText)"
    )
    return [str(cell) for cell in driver.execute_script(script, number)]


def press(driver: Any, selector: str, key: str = "click") -> None:
    element = driver.find_element("css selector", selector)
    driver.execute_script("arguments[0].scrollIntoView()", element)
    if key == "click":
        element.click()
    else:
        element.send_keys(key)


@pytest.fixture
def hostile_run(tmp_path: Path) -> Run:
    (tmp_path / "table.tsv").write_text(f"a\tb\n{HOSTILE}\t2\n")
    (tmp_path / "text.txt").write_text(HOSTILE)
    (tmp_path / "drawn.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
        '<script>document.title="1"</script><rect width="9" height="9"/></svg>'
    )
    (tmp_path / "page.html").write_text("<script>1</script>")
    files = {
        name: {"class": "File", "location": (tmp_path / name).as_uri(), "basename": name, "size": 3}
        for name in ("table.tsv", "text.txt", "drawn.svg", "page.html")
    }
    failed = step(
        2,
        HOSTILE,
        2,
        3,
        status=Status.FAILED,
        exit_code=3,
        said=f"{HOSTILE}\x1b[31mred\nsurrogate \udcff",
        problem=HOSTILE,
        command=("sh", "-c", HOSTILE),
        image=HOSTILE,
        digest=HOSTILE,
        index=None,
    )
    nodes = (node("first", label=HOSTILE), node(HOSTILE, "first", tool=HOSTILE))
    return Run(
        begin=begin(*nodes, workflow=f"/w/{HOSTILE}", label=HOSTILE, facts={HOSTILE: HOSTILE}),
        steps=[step(1, "first", 0, 2), failed],
        end=end(1, outputs=files, inputs={HOSTILE: HOSTILE}, messages=(f"ERROR {HOSTILE}",)),
        now=0.0,
    )


def test_names_are_never_markup_and_nothing_is_fetched(
    driver: Any, hostile_run: Run, tmp_path: Path
) -> None:
    open_page(driver, hostile_run, tmp_path / "report.html")
    assert driver.get_log("browser") == []
    asked = [url for url in requests(driver) if not url.startswith("chrome://")]
    fetched = {url for url in asked if not url.startswith("data:")}
    assert fetched == {(tmp_path / "report.html").as_uri()}
    assert driver.execute_script("return document.querySelectorAll('b, img[src=x]').length") == 0
    assert driver.title == "Failed: script><b>"  # what is after the last slash
    shown = text(driver)
    assert shown.count("onerror") > 10
    assert "exit" in shown.lower()
    images = driver.execute_script("return [...document.images].map((i) => i.naturalWidth)")
    assert images == [9]
    link = driver.find_element("css selector", ".result a")
    assert link.get_attribute("href") == (tmp_path / "page.html").as_uri()


def test_what_failed_first_comes_first(driver: Any, tmp_path: Path) -> None:
    steps = [
        step(1, "slow", 0, 9, status=Status.FAILED, exit_code=1, said="too late"),
        step(
            2,
            "quick",
            1,
            2,
            status=Status.FAILED,
            exit_code=7,
            said="the reason\n",
            command=("sort", "a b"),
            directory="/runs/1/steps/quick.00.11",
        ),
    ]
    nodes = (node("slow"), node("quick"))
    run = Run(
        begin=begin(*nodes, run_directory="/runs/1"),
        steps=steps,
        end=end(1, messages=("ERROR said",)),
        now=0.0,
    )
    open_page(driver, run, tmp_path / "report.html")
    first = text(driver).partition("Results")[2]
    assert re.search(r"What failed first: quick.*sort 'a b'.*the reason", text(driver), re.DOTALL)
    assert "cwl-udss step /runs/1/steps/quick.00.11" in text(driver)
    assert "exited, exit code 7" in text(driver)
    assert "1 other job failed after it" in text(driver)
    assert "too late" not in first


def test_the_table_sorts_filters_and_finds(driver: Any, tmp_path: Path) -> None:
    open_page(driver, large_run(3000), tmp_path / "report.html")
    assert column(driver, 0)[:3] == ["1", "2", "3"]
    assert len(column(driver, 0)) == 50
    # By keyboard: every head of a column can be reached.
    press(driver, "#steps-table thead th:nth-child(11) [role=button]", "\ue007")
    press(driver, "#steps-table thead th:nth-child(11) [role=button]", "\ue007")
    sizes = column(driver, 10)
    assert all(size.startswith(("4 GB", "3.9 GB")) for size in sizes[:5])
    assert (
        driver.execute_script(
            "return document.querySelector('#steps-table th:nth-child(11)').ariaSort"
        )
        == "descending"
    )
    press(driver, "#status-filter option[value=FAILED]")
    assert {status.split()[0] for status in column(driver, 2)} == {"FAILED"}
    assert column(driver, 15) == ["it went wrong"] * 3
    press(driver, "#status-filter option[value='']")
    press(driver, ".dt-search input", "step7 (400)")
    assert column(driver, 1) == ["step7 (400)"]
    assert driver.get_log("browser") == []


def test_the_timeline_zooms_by_buttons(driver: Any, tmp_path: Path) -> None:
    open_page(driver, large_run(500), tmp_path / "report.html")
    zoom = (
        "const now = echarts.getInstanceByDom(document.getElementById('timeline')).getOption()"
        ".dataZoom[0]; return [now.start, now.end]"
    )
    assert driver.execute_script(zoom) == [0, 100]
    press(driver, "#zoom-in")
    assert driver.execute_script(zoom) == [25, 75]
    press(driver, "#zoom-out")
    assert driver.execute_script(zoom) == [0, 100]
    press(driver, "#zoom-in")
    press(driver, "#zoom-all")
    assert driver.execute_script(zoom) == [0, 100]
    for chart in ("graph", "timeline", "memory"):
        element = driver.find_element("id", chart)
        assert element.is_displayed()
        assert "table" in element.get_attribute("aria-label")
    assert driver.get_log("browser") == []


def test_dark_where_the_person_has_it_dark(tmp_path: Path) -> None:
    with browser(dark=True) as driver:
        open_page(driver, large_run(50), tmp_path / "report.html")
        color = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert color == "rgb(20, 23, 28)"
        assert driver.get_log("browser") == []


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_of_no_steps(driver: Any, tmp_path: Path, ended: bool) -> None:
    run = Run(begin=begin(), steps=[], end=end() if ended else None, now=begin().started + 5)
    open_page(driver, run, tmp_path / "report.html")
    assert driver.get_log("browser") == []
    assert ("Success" if ended else "Not ended") in text(driver)


def test_steps_that_have_not_ended(driver: Any, tmp_path: Path) -> None:
    running = step(2, "b", 3, 4, status=Status.RUNNING)
    times = type(running.ran.times)(started=running.ran.times.started)
    running = type(running)(**{**vars(running), "ran": type(running.ran)(times=times)})
    steps = [step(1, "a", 0, 3), running]
    run = Run(
        begin=begin(node("a"), node("b", "a")), steps=steps, end=None, now=begin().started + 60
    )
    open_page(driver, run, tmp_path / "report.html")
    assert column(driver, 8) == ["3s", "57s"]
    assert driver.get_log("browser") == []


def test_what_to_write_into_the_document(driver: Any, tmp_path: Path) -> None:
    asked = Asked(cores=4, memory_bytes=16 << 30)
    steps = [step(1, "a", 0, 30, memory=500 << 20, processors=1.9, asked=asked)]
    run = Run(begin=begin(node("a")), steps=steps, end=end(), now=0.0)
    open_page(driver, run, tmp_path / "report.html")
    assert "ResourceRequirement:\n  ramMin: 640\n  coresMin: 2" in text(driver)


def test_a_large_run_in_time_and_size(tmp_path: Path) -> None:
    run = large_run(10_000)
    began = time.process_time()
    page = make_page(run, tmp_path)
    assert time.process_time() - began < 5
    assert len(page) < 4_000_000


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    run = Run(begin=begin(), steps=[], end=end(), now=0.0)
    for path in (tmp_path / "none/report.html", tmp_path, Path("/dev/full")):
        with pytest.raises(Exception, match="cannot be written") as caught:
            write_page(run, path)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_page_stays(tmp_path: Path) -> None:
    """Who has forgotten FILE has named the workflow."""
    (tmp_path / "count.cwl").write_text("class: Workflow\n")
    with pytest.raises(Exception, match="is no report"):
        check_page(tmp_path / "count.cwl")
    run = Run(begin=begin(), steps=[], end=end(), now=0.0)
    write_page(run, tmp_path / "report.html")
    check_page(tmp_path / "report.html")
