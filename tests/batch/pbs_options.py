# SPDX-License-Identifier: Apache-2.0
"""Command lines, as the programs of PBS read them; what each says on a wrong one."""

from __future__ import annotations

from collections.abc import Sequence

USAGES = {
    "qsub": """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
""",
    "qstat": """\
usage: 
qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format | -w] [-D delim] [ job_identifier... | destination... ]
qstat [-a|-i|-r|-H|-T] [-J] [-t] [-u user] [-n] [-s] [-G|-M] [-1] [-w]
	[ job_identifier... | destination... ]
qstat -Q [-f] [-F format] [-D delim] [ destination... ]
qstat -q [-G|-M] [ destination... ]
qstat -B [-f] [-F format] [-D delim] [ server_name... ]
qstat --version
""",  # noqa: E501, W291
    "qdel": """\
usage:
	qdel [-W force|suppress_email=X] [-x] job_identifier...
	qdel --version
""",
    "qselect": """\
usage: qselect [-a [op]date_time] [-A account_string] [-c [op]interval]
	[-h hold_list] [-H] [-J] [-l resource_list] [-N name] [-p [op]priority]
	[-q destination] [-r y|n] [-s states] [-t subopt[op]date_time] [-T] [-P project_name]
	[-x] [-u user_name]
       qselect --version
""",
    "pbsnodes": "Usage:\n\tpbsnodes -a [-v] [-S[j][L]] [-F format] [-D delim]\n",
}
_LETTERS = {
    "qsub": "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:",
    "qstat": "ainpqrstwxu:fGHJMQEBW:T1F:D:",
    "qdel": "W:x",
    "qselect": "a:A:c:h:HJl:N:p:q:r:s:t:Tu:xP:",
    "pbsnodes": "aF:vSjLlD:",
}


class UsageError(Exception):
    """A command ends at once, with a text for its standard error and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def parse(command: str, arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str], str]:
    """Return the options with their values, the operands, and what getopt(3) complains of."""
    known = _LETTERS[command]
    options: list[tuple[str, str]] = []
    complaints = ""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        letters = rest.pop(0)[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter == ":" or letter not in known:
                complaints += f"{command}: invalid option -- '{letter}'\n"
            elif f"{letter}:" not in known:
                options.append((letter, ""))
            elif letters or rest:
                options.append((letter, letters or rest.pop(0)))
                letters = ""
            else:
                complaints += f"{command}: option requires an argument -- '{letter}'\n"
    return options, rest, complaints


def refuse_unknown(command: str, options: Sequence[tuple[str, str]], known: str) -> None:
    """Refuse options of the real command that the stand-in does not have. Raises UsageError."""
    for letter, _ in options:
        if letter not in known:
            raise UsageError(f"{command}: the stand-in for PBS has no -{letter}\n", 2)


def misused(command: str, complaint: str = "") -> UsageError:
    """The error of a command whose options make no sense."""
    return UsageError(complaint + USAGES[command], 2)
