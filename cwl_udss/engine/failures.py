# SPDX-License-Identifier: Apache-2.0
"""How a run says what has failed: in lines for a person, where cwltool and the libraries under it
print tracebacks, or texts of exceptions that say nothing without their names ("0", of a KeyError).

With --debug all is left as it is.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection
from pathlib import Path

from cwltool.errors import WorkflowException
from schema_salad.exceptions import SchemaSaladException

from cwl_udss.errors import UdssError
from cwl_udss.filesystems.system_words import system_words

# Their tracebacks are logged where an error is found, which is then raised, and told by cwltool.
_LOGGERS_BELOW = ("salad", "cwl_utils")
# So are these of cwltool's own: executors.py, workflow.py, command_line_tool.py.
_TOLD_AGAIN = ("Got workflow error", "Unexpected exception", "Unexpected error from fs_access")
_UNHANDLED = ("Unhandled exception", "Unhandled error")
# load_tool.py says so with all of the document behind it.
_NO_MAP = "workflowjobj must be a dict"
# job.py, of a path that an expression has made, or that is no input's.
_NO_INPUT = (" missing from pathmapper", " is to be its standard input, but is none of its inputs")
_OF_PEOPLE = (UdssError, WorkflowException, SchemaSaladException)
"""Their text is for people."""
_OF_PROGRAMMERS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, NameError),
    *(NotImplementedError, StopIteration, TypeError),
)
"""Theirs says nothing without the code that has raised them."""


def tell_plainly(documents: Collection[str]) -> None:
    """Have cwltool's log say failures in plain words; `documents` are the files that it reads."""
    for name in ("cwltool", *_LOGGERS_BELOW):
        logging.getLogger(name).addFilter(_PlainWords(documents))


def plain_words(error: BaseException, documents: Collection[str] = ()) -> str:
    """Return what has failed, for a person. `documents` may be to blame."""
    if isinstance(error, _OF_PEOPLE):
        return str(error)
    match error:
        case OSError():
            return system_words(error)
        case UnicodeEncodeError():
            return (
                f"{os.fsencode(error.object)!r} is no name in UTF-8, and CWL cannot tell of any "
                "other: rename it"
            )
        case UnicodeDecodeError():
            names = [path for path in documents if not _is_text(path)]
            return f"{', '.join(names) or 'a file'}: is no text in UTF-8 ({error.reason})"
        case StopIteration():  # what ruamel.yaml raises then
            names = [path for path in documents if _is_empty(path)]
            return f"{', '.join(names) or 'a document'}: is empty"
        case ValueError() if _is_no_map(error):
            return f"{next(iter(documents), 'it')} is no CWL document, which is a map"
        case KeyError(args=("entryname",)):
            return "an entry of InitialWorkDirRequirement's listing has no entryname"
        case RecursionError():
            return f"{', '.join(documents)}: a document refers to itself, or is nested too deeply"
    return (
        "this is a fault of cwl-udss or cwltool, please report it, with what --debug shows: "
        f"{type(error).__name__}: {error}"
    )


class _PlainWords(logging.Filter):
    """Rewrites records of failures, and drops those of which another one tells more."""

    def __init__(self, documents: Collection[str]) -> None:
        super().__init__()
        self._documents = documents

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown (logging's hook)."""
        error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
        if error is None or record.levelno < logging.WARNING:
            return True
        message = record.getMessage().replace(*_NO_INPUT)
        if record.exc_info and (record.name in _LOGGERS_BELOW or message.startswith(_TOLD_AGAIN)):
            return False
        if message.startswith(_UNHANDLED):
            message = plain_words(error, self._documents)
        cause = _cause(error)
        if cause is not None:
            words, text = plain_words(cause, self._documents), str(cause)
            if text and text in message and words not in message:
                message = message.replace(text, words)
            elif words not in message and (
                record.exc_info or not text or isinstance(cause, OSError)
            ):
                message = f"{message} {words}"
        record.msg, record.args, record.exc_info, record.exc_text = message, (), None, None
        return True


def _cause(error: BaseException) -> BaseException | None:
    """Of an exception and those that it comes from, the first one whose text is not for people;
    None if one of ours comes before it, as that has told all of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UdssError):
        is_all = str(cause) == str(error)
        if (
            isinstance(cause, OSError | UnicodeError | RecursionError)
            or (is_all and isinstance(cause, _OF_PROGRAMMERS))
            or _is_no_map(cause)
        ):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _is_no_map(error: BaseException) -> bool:
    return isinstance(error, ValueError) and str(error).startswith(_NO_MAP)


def _is_empty(path: str) -> bool:
    try:
        return not Path(path).read_bytes().strip()
    except OSError:  # not a file of this machine
        return False


def _is_text(path: str) -> bool:
    try:
        Path(path).read_bytes().decode()
    except UnicodeDecodeError:
        return False
    except OSError:  # not a file of this machine
        pass
    return True
