# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a PBS cluster says and does what a real OpenPBS has been seen to say and do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need
from pbs_stand_in import Pbs, PbsNode, PbsTimes, serve_pbs

NODES = (PbsNode(name="pbshead"), PbsNode(name="pbsnode2", ngpus=2))
SHOWN = ("qstat", "-x", "-f", "-F", "json")


@pytest.fixture(scope="module")
def pbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pbs]:
    """A cluster a hundred times as fast as a real one."""
    directory = tmp_path_factory.mktemp("cluster") / "pbs"
    times = PbsTimes().scaled(0.01)
    with serve_pbs(directory, nodes=NODES, times=times, dialect="master") as cluster:
        yield cluster


REFUSED = [
    (["-l", "select=1:ncpus=1:nosuchres=3"], "Unknown resource: nosuchres", 187),
    (["-l", "nosuchres=3"], "Unknown resource Resource_List.nosuchres", 187),
    (["-l", "select=1:ncpus=notanumber"], "Illegal attribute or resource value select.ncpus", 166),
    (["-l", "select=1:ncpus=1:mem=12zz"], "Illegal attribute or resource value select.mem", 166),
    (["-l", "select=1:ncpus=1", "-l", "nodes=1"], "Cannot be used with select or place: nodes", 6),
    (["-q", "nosuchqueue"], "Unknown queue", 170),
    (
        ["-q", "short", "-l", "walltime=02:00:00"],
        "Job violates queue and/or server resource limits",
        188,
    ),
    (["-l", "walltime=banana"], "Illegal attribute or resource value Resource_List.walltime", 166),
    (["-l", "walltime=-5"], "Illegal attribute or resource value Resource_List.walltime", 166),
    (["-N", "x" * 300], "Job name is too long ", 2),
    (["-W", "nosuch=1"], "Error (15002) submitting job", 154),
    (["/nonexistent/script"], "script file:: No such file or directory", 1),
    (["-J", "0-20000"], "Array job exceeds server or queue size limit", 3),
    (["-v", 'X=a"b'], "cannot send environment with the job", 1),
    (["-q", "full"], "Maximum number of jobs already in queue", 15046 & 255),
    (["-q", "members"], "Unauthorized Request ", 15007 & 255),
]


@pytest.mark.parametrize(("options", "text", "code"), REFUSED)
def test_qsub_refuses(pbs: Pbs, options: list[str], text: str, code: int) -> None:
    said = pbs.run("qsub", *options, script="true")
    assert (said.stdout, said.stderr, said.returncode) == ("", f"qsub: {text}\n", code)


MISUSED = [
    (["-N", "bad name"], "qsub: illegal -N value\n"),
    (["-N", "a/b"], "qsub: illegal -N value\n"),
    (["-J", "3-1"], "qsub: illegal -J value\n"),
    (["-J", "5-5"], "qsub: illegal -J value\n"),
    (["-J", "0,3,7"], "qsub: illegal -J value\n"),
    (["-p", "2000"], "qsub: illegal -p value\n"),
    (["-p", "1024"], "qsub: illegal -p value\n"),
    (
        ["--badoption"],
        "qsub: invalid option -- '-'\nqsub: invalid option -- 'b'\nqsub: illegal -a value\n",
    ),
]


@pytest.mark.parametrize(("options", "text"), MISUSED)
def test_qsub_shows_its_usage(pbs: Pbs, options: list[str], text: str) -> None:
    said = pbs.run("qsub", *options, script="true")
    assert said.stderr.startswith(f"{text}usage: qsub [-a date_time]")
    assert (said.stdout, said.returncode) == ("", 2)


@pytest.mark.parametrize(
    ("script", "text", "code"),
    [
        ("#!/bin/bash\n#PBS -l select=1:foo=2\ntrue\n", "Unknown resource: foo", 187),
        ("#!/bin/bash\r\n#PBS -N dos\r\ntrue\r\n", "script contains cr, lf", 1),
        ("#PBS -r maybe\ntrue\n", "illegal -r value\nqsub: directive error: -r maybe ", 1),
    ],
)
def test_qsub_refuses_a_script(pbs: Pbs, tmp_path: Path, script: str, text: str, code: int) -> None:
    file = tmp_path / "bad.sh"
    file.write_text(script, newline="")
    said = pbs.run("qsub", str(file))
    assert (said.stdout, said.stderr, said.returncode) == ("", f"qsub: {text}\n", code)


UNKNOWN = [
    (["qdel", "999999"], "qdel: Unknown Job Id 999999.pbshead\n", 153),
    (["qdel", "999999.pbshead", "999998"], "qdel: Unknown Job Id 999999.pbshead\n", 153),
    (["qdel", "notajob"], "qdel: illegally formed job identifier: notajob\n", 1),
    (["qstat", "999999"], "qstat: Unknown Job Id 999999.pbshead\n", 153),
    (["qstat", "notajob"], "qstat: Unknown queue destination notajob\n", 170),
    (
        [*SHOWN, "999999.pbshead", "999998.pbshead"],
        "qstat: Unknown Job Id 999999.pbshead\nqstat: Unknown Job Id 999998.pbshead\n",
        153,
    ),
    ([*SHOWN, "-E", "999999"], "qstat: Unknown Job Id 999999.pbshead\n", 153),
]


@pytest.mark.parametrize(("command", "text", "code"), UNKNOWN)
def test_unknown_jobs(pbs: Pbs, command: list[str], text: str, code: int) -> None:
    said = pbs.run(*command)
    assert (said.stderr, said.returncode) == (text, code)
    if "json" in command:
        assert sorted(json.loads(said.stdout)) == ["pbs_server", "pbs_version", "timestamp"]


@pytest.mark.parametrize(
    ("server", "reason", "number", "code"),
    [
        ("nosuchhost", "Unknown Host.", 15008, 160),
        ("localhost:15999", "Connection refused", 15010, 162),
    ],
)
def test_other_servers(pbs: Pbs, server: str, reason: str, number: int, code: int) -> None:
    text = f"cannot connect to server {server} (errno={number})\n"
    said = pbs.run("qstat", PBS_SERVER=server)
    assert (said.stderr, said.returncode) == (f"{reason}\nqstat: {text}", 255)
    said = pbs.run("qsub", PBS_SERVER=server)
    assert (said.stderr, said.returncode) == (f"{reason}\nqsub: {text}", code)


ENDINGS = [
    ([], "true", 0, 92, "finished", ""),
    ([], "exit 3", 3, 93, "failed", ""),
    ([], "exit 255", 255, 93, "failed", ""),
    ([], "kill -9 $$", 137, 93, "failed", "Killed"),
    ([], "kill -15 $$", 143, 93, "failed", "Terminated"),
    ([], "#!/no/such/interp\n", 127, 93, "failed", "not found"),
    ([], "nosuchcommand_xyz", 127, 93, "failed", "nosuchcommand_xyz: not found"),
    ([], "if then", 2, 93, "failed", 'Syntax error: "then" unexpected'),
    ([], "", 127, 93, "failed", "not found"),
    (
        ["-S", "/no/shell"],
        "true",
        254,
        93,
        "failed",
        "pbs_mom, exec of /no/shell failed with error: No such file or directory",
    ),
    (["-S", "/bin/bash"], "kill -9 $$", 137, 93, "failed", "Killed"),
]


@pytest.mark.parametrize(("options", "script", "status", "substate", "ending", "error"), ENDINGS)
def test_how_a_job_has_ended(
    pbs: Pbs,
    options: list[str],
    script: str,
    status: int,
    substate: int,
    ending: str,
    error: str,
) -> None:
    job = pbs.submit("-N", "ending", *options, script=script)
    shown = pbs.wait(job)
    assert (shown["Exit_status"], shown["substate"]) == (status, substate)
    assert shown["comment"].endswith(f" on (pbshead:ncpus=1) and {ending}")
    assert shown["Stageout_status"] == 1
    assert error in (pbs.home / f"ending.e{job.partition('.')[0]}").read_text()


def test_what_is_told_in_each_state(pbs: Pbs) -> None:
    waiting = [
        *("Job_Name", "Job_Owner", "job_state", "queue", "server", "Checkpoint", "ctime"),
        *("Error_Path", "Hold_Types", "Join_Path", "Keep_Files", "Mail_Points", "mtime"),
        *("Output_Path", "Priority", "qtime", "Rerunable", "Resource_List", "substate"),
        *("Variable_List", "Submit_arguments", "project", "Submit_Host"),
    ]
    held = pbs.submit("-h", "-l", "select=1:ncpus=1,walltime=5:00")
    assert list(pbs.show(held)[held]) == waiting
    queued = pbs.submit("-l", "select=1:ncpus=1:mem=999gb")
    told = pbs.wait(queued, "Q")
    assert [name for name in told if name not in waiting] == ["comment", "etime"]
    running = pbs.submit("-N", "sleeper", script="sleep 60")
    told = pbs.wait(running, "R")
    assert [name for name in told if name not in waiting] == [
        *("resources_used", "exec_host", "exec_vnode", "stime", "session_id", "jobdir"),
        *("comment", "etime", "run_count"),
    ]
    finished = pbs.submit("-N", "exit3", script="exit 3")
    assert list(pbs.wait(finished)) == [
        *("Job_Name", "Job_Owner", "resources_used", "job_state", "queue", "server"),
        *("Checkpoint", "ctime", "Error_Path", "exec_host", "exec_vnode", "Hold_Types"),
        *("Join_Path", "Keep_Files", "Mail_Points", "mtime", "Output_Path", "Priority"),
        *("qtime", "Rerunable", "Resource_List", "stime", "obittime", "jobdir", "substate"),
        *("Variable_List", "comment", "etime", "run_count", "Stageout_status", "Exit_status"),
        *("Submit_arguments", "history_timestamp", "project", "Submit_Host"),
    ]
    pbs.run("qdel", held, queued, running)
    told = pbs.wait(held)
    assert [name for name in told if name not in waiting] == ["history_timestamp"]
    assert (told["substate"], told["Hold_Types"]) == (91, "u")


@pytest.mark.parametrize(
    ("options", "comment"),
    [
        (
            "select=1:ncpus=1:mem=999gb",
            "Can Never Run: Insufficient amount of resource: mem (R: 999gb A: 32gb T: 32gb)",
        ),
        (
            "select=1:ncpus=64",
            "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 16 T: 16)",
        ),
        ("select=9:ncpus=1,place=scatter", "Can Never Run: Not enough total nodes available"),
    ],
)
def test_jobs_that_can_never_run_wait(pbs: Pbs, options: str, comment: str) -> None:
    job = pbs.submit("-l", options)
    give_up = time.monotonic() + 20
    while "comment" not in (shown := pbs.show(job)[job]) and time.monotonic() < give_up:
        pass
    assert (shown["job_state"], shown["substate"], shown["comment"]) == ("Q", 10, comment)
    pbs.run("qdel", job)
    assert pbs.wait(job)["comment"] == f"{comment} and terminated"


def test_one_of_many_without_e_and_all_with_it(pbs: Pbs) -> None:
    jobs = [pbs.submit("-h") for _ in range(3)]
    shown = json.loads(pbs.run(*SHOWN, *jobs).stdout)["Jobs"]
    assert list(shown) == jobs[:1]
    said = pbs.run(*SHOWN, "-E", "999999", *jobs)
    assert (list(json.loads(said.stdout)["Jobs"]), said.stderr, said.returncode) == (jobs, "", 0)
    pbs.run("qdel", *jobs)
    said = pbs.run("qstat", "-E", "-f", "-F", "json", *jobs)
    history = "Job has finished, use -x or -H to obtain historical job information"
    assert (said.stderr, said.returncode) == (f"qstat: {jobs[-1]} {history}\n", 35)
    said = pbs.run("qdel", jobs[0])
    assert (said.stderr, said.returncode) == (f"qdel: Job has finished {jobs[0]}\n", 35)
    assert pbs.run("qdel", "-x", jobs[0]).returncode == 0
    assert pbs.run("qstat", "-x", jobs[0]).returncode == 153


def test_tables(pbs: Pbs) -> None:
    job = pbs.submit("-h", "-N", "a-name-that-is-too-long", "-l", "select=1:mem=100mb")
    head, rule, row = pbs.run("qstat", job).stdout.splitlines()
    assert head == "Job id            Name             User              Time Use S Queue"
    assert rule == "----------------  ---------------- ----------------  -------- - -----"
    assert row.startswith(f"{job:<17} a-name-that-is-* ")
    assert row.endswith("         0 H workq           ")
    assert job in pbs.run("qselect", "-s", "H").stdout.splitlines()
    assert job not in pbs.run("qselect", "-s", "R").stdout.splitlines()
    alternate = pbs.run("qstat", "-a", job).stdout.splitlines()
    assert alternate[4] == (
        "--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----"
    )
    assert alternate[5].endswith(" workq    a-name-tha    --    1   1  100mb   --  H   -- ")
    pbs.run("qdel", job)
    assert pbs.run("qstat", "--version").stdout == "pbs_version = 23.06.06\n"


def test_the_environment_of_a_job(pbs: Pbs, tmp_path: Path) -> None:
    if shutil.which("ps") is None:
        need("needs the Debian package procps")
    script = (
        "env; echo $PWD; umask; stat -c %a $TMPDIR; ps -o args= -s $PPID; readlink /proc/$$/fd/1"
    )
    options = ("-l", "select=1:ncpus=2", "-N", "plain", "-v", "X='a,b',GIVEN")
    said = pbs.run(
        "qsub", *options, script=script, directory=tmp_path, GIVEN='it"s', LOGNAME="someone"
    )
    job = said.stdout.strip()
    shown = pbs.wait(job)
    assert shown["Variable_List"]["X"] == "a,b"
    *environment, directory, umask, mode, shell, command, _, output = (
        (tmp_path / f"plain.o{job.partition('.')[0]}").read_text().splitlines()
    )
    variables = dict(line.split("=", 1) for line in environment)
    assert (variables["X"], variables["GIVEN"]) == ("a,b", 'it"s')
    assert variables["PBS_JOBID"] == job
    assert variables["PBS_O_WORKDIR"] == str(tmp_path)
    assert variables["PBS_O_LOGNAME"] == "someone"
    assert (variables["NCPUS"], variables["OMP_NUM_THREADS"]) == ("2", "2")
    assert variables["ENVIRONMENT"] == "BATCH"
    assert directory == variables["HOME"] == str(pbs.home)
    assert (umask, mode) == ("0077", "700")
    assert shell == "-sh"
    assert command.startswith("/bin/sh ")
    assert command.endswith(f"{job}.SC")
    assert output.endswith(f"spool/{job}.OU")
    assert not Path(variables["TMPDIR"]).exists()


def test_two_nodes(pbs: Pbs) -> None:
    options = ("-l", "select=2:ncpus=2:mpiprocs=2", "-l", "place=scatter", "-N", "multi")
    job = pbs.submit(*options, script="cat $PBS_NODEFILE")
    shown = pbs.wait(job)
    assert shown["exec_vnode"] == "(pbshead:ncpus=2)+(pbsnode2:ncpus=2)"
    said = (pbs.home / f"multi.o{job.partition('.')[0]}").read_text()
    assert said.split() == ["pbshead", "pbshead", "pbsnode2", "pbsnode2"]


def test_old_style_resources_and_directives(pbs: Pbs) -> None:
    script = """#!/bin/sh
#PBS -N early
#PBS -l ncpus=2,mem=100mb
#PBS -N directed \\
  -A someone
true
#PBS -N late
"""
    shown = pbs.wait(pbs.submit("-l", "mem=200mb", script=script))
    assert shown["Resource_List"] == {
        "mem": "200mb",
        "ncpus": 2,
        "nodect": 1,
        "place": "pack",
        "select": "1:ncpus=2:mem=200mb",
    }
    assert (shown["Job_Name"], shown["Account_Name"]) == ("directed", "someone")


def test_arguments_of_a_program_stay_as_they_are(pbs: Pbs) -> None:
    job = pbs.submit("--", "/usr/bin/printf", "%s|", "b c", "$HOME", "q'q")
    assert pbs.wait(job)["Job_Name"] == "STDIN"
    assert (pbs.home / f"STDIN.o{job.partition('.')[0]}").read_text() == "b c|$HOME|q'q|"


OUTPUT = [
    (["-j", "oe", "-o", "there/joined"], {"there/joined": "outerr"}, 1),
    (["-o", "there/", "-e", "there/"], {"there/JOB.OU": "out", "there/JOB.ER": "err"}, 1),
    (["-k", "doe", "-o", "there/o", "-e", "there/e"], {"there/o": "out", "there/e": "err"}, 1),
    (["-o", "/dev/null", "-e", "/dev/null"], {}, 1),
    (["-R", "oe"], {}, None),
    (["-o", "there/$PBS_JOBID.o", "-e", "/dev/null"], {"there/$PBS_JOBID.o": "out"}, 1),
    (["-W", "umask=022"], {"job.oNUMBER": "out", "job.eNUMBER": "err"}, 1),
]


@pytest.mark.parametrize(("options", "files", "status"), OUTPUT)
def test_where_output_goes(
    pbs: Pbs, tmp_path: Path, options: list[str], files: dict[str, str], status: int | None
) -> None:
    (tmp_path / "there").mkdir()
    command = ("qsub", "-N", "job", *options)
    said = pbs.run(*command, script="printf out; printf err >&2", directory=tmp_path)
    job = said.stdout.strip()
    assert pbs.wait(job).get("Stageout_status") == status
    found = {
        str(file.relative_to(tmp_path)): file.read_text()
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    number = job.partition(".")[0]
    assert found == {
        name.replace("JOB.", f"{job}.").replace("NUMBER", number): content
        for name, content in files.items()
    }
    modes = {file.stat().st_mode & 0o777 for file in tmp_path.rglob("*") if file.is_file()}
    assert modes <= {0o644 if "umask=022" in options else 0o600}


def test_output_that_is_kept_is_in_the_home_directory(pbs: Pbs, tmp_path: Path) -> None:
    said = pbs.run("qsub", "-k", "oe", "-N", "kept", script="echo out", directory=tmp_path)
    job = said.stdout.strip()
    assert "Stageout_status" not in pbs.wait(job)
    assert (pbs.home / f"kept.o{job.partition('.')[0]}").read_text() == "out\n"


def test_output_that_cannot_be_brought(pbs: Pbs) -> None:
    job = pbs.submit("-o", "/nonexistent/o", "-e", "/nonexistent/e", script="echo out")
    exiting = pbs.wait(job, "E")
    assert (exiting["Exit_status"], exiting["substate"]) == (0, 51)
    assert "Stageout_status" not in exiting
    assert "obittime" not in exiting
    finished = pbs.wait(job)
    assert (finished["Exit_status"], finished["Stageout_status"]) == (0, 0)
    assert (pbs.directory / f"undelivered/{job}.OU").read_text() == "out\n"


def test_dependencies(pbs: Pbs) -> None:
    parent = pbs.submit("-h", script="exit 5")
    ok, anyway, notok = (
        pbs.submit("-W", f"depend={kind}:{parent}")
        for kind in ("afterok", "afterany", "afternotok")
    )
    held = pbs.show(ok)[ok]
    assert (held["job_state"], held["substate"], held["Hold_Types"]) == ("H", 22, "s")
    assert held["depend"] == f"afterok:{parent}@pbshead"
    pbs.run("qdel", parent)
    # Of a parent that never ran nothing is heard.
    assert {job["job_state"] for job in pbs.show(ok, anyway, notok).values()} == {"H"}
    pbs.run("qdel", ok, anyway, notok)

    parent = pbs.submit(script="sleep 0.2; exit 5")
    ok, anyway, notok = (
        pbs.submit("-W", f"depend={kind}:{parent}")
        for kind in ("afterok", "afterany", "afternotok")
    )
    never = pbs.wait(ok)
    assert (never["substate"], never["Hold_Types"]) == (92, "s")
    assert "Exit_status" not in never
    assert (pbs.wait(anyway)["substate"], pbs.wait(notok)["Exit_status"]) == (92, 0)
    orphan = pbs.wait(pbs.submit("-W", "depend=afterok:999999"))
    assert orphan["substate"] == 92
    assert "Exit_status" not in orphan


def test_arrays(pbs: Pbs) -> None:
    script = "echo $PBS_ARRAY_INDEX $PBS_ARRAY_ID $PBS_JOBID; exit $PBS_ARRAY_INDEX"
    array = pbs.submit("-J", "0-3", "-N", "arr", script=script)
    number = array.partition("[")[0]
    assert array == f"{number}[].pbshead"
    shown = pbs.wait(array)
    assert (shown["Exit_status"], shown["substate"]) == (1, 93)
    assert shown["comment"].endswith(" and failed")
    assert shown["array_state_count"] == "Queued:0 Running:0 Exiting:0 Expired:0"
    assert (shown["array_indices_submitted"], shown["array_indices_remaining"]) == ("0-3", "-")
    subjobs = pbs.show(array)
    assert list(subjobs) == [array, *(f"{number}[{index}].pbshead" for index in range(4))]
    third = subjobs[f"{number}[3].pbshead"]
    assert (third["job_state"], third["Exit_status"], third["array_index"]) == ("F", 3, 3)
    assert third["Output_Path"].endswith(f"/arr.o{number}.3")
    said = (pbs.home / f"arr.o{number}.2").read_text()
    assert said == f"2 {array} {number}[2].pbshead\n"
    assert pbs.run("qstat", "-x", number).returncode == 153
    assert pbs.run("qstat", "-x", f"{number}[9]").returncode == 153


def test_an_array_while_it_runs(pbs: Pbs) -> None:
    array = pbs.submit("-J", "0-5%2", script="[ $PBS_ARRAY_INDEX = 0 ] || sleep 60")
    number = array.partition("[")[0]
    pbs.wait(f"{number}[0].pbshead", "X")
    pbs.wait(f"{number}[2].pbshead", "R")
    shown = pbs.show(array)[array]
    assert (shown["job_state"], shown["substate"], shown["Exit_status"]) == ("B", 70, 0)
    assert shown["array_state_count"] == "Queued:3 Running:2 Exiting:0 Expired:1"
    assert shown["array_indices_remaining"] == "3-5"
    assert len(pbs.run("qstat", f"{number}[0-1]").stdout.splitlines()) == 4
    pbs.run("qdel", array)
    assert pbs.wait(array)["substate"] == 91
    assert pbs.wait(f"{number}[1].pbshead")["Exit_status"] == 271
