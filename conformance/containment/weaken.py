# SPDX-License-Identifier: Apache-2.0
"""Makes a `bwrap` that is weaker than it should be, to see the tests fail that should.

python weaken.py WEAKNESS FILE writes it; then: conformance/run --suite … --runtime FILE
A test that nothing can fail shows nothing; controls.yaml says what makes each fail.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# What each does to bwrap's list of arguments, `words`, or to the process that becomes bwrap.
WEAKNESSES = {
    "writable": "words = ['--bind' if w == '--ro-bind' else w for w in words]; "
    "drop('--remount-ro')",
    "root": "drop('--cap-drop'); words += ['--uid', '0', '--gid', '0', '--cap-add', 'ALL']",
    "nameless": "i = '/etc/passwd' in words and words.index('/etc/passwd'); "
    "words[i - 4 if i else 0:i or 0] = ['--ro-bind', '/dev/null'] if i else []",
    "environment": "words += ['--setenv', 'HOME', '/', '--setenv', 'CONTAINMENT_CANARY', 'x', "
    "'--setenv', 'TMPDIR', '/var', '--setenv', 'PATH', '/containment-canary:/usr/bin:/bin', "
    "'--setenv', 'LANG', 'x']",
    "signals": "signal.signal(signal.SIGPIPE, signal.SIG_IGN); "
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])",
    "umask": "os.umask(0)",
    "nothing runs": "command[:] = ['true']",
    "nothing fails": "command[:] = ['sh', '-c', '\"$0\" \"$@\" || true', *command]",
}

PROGRAM = """#!{python}
import os, signal, sys
arguments = sys.argv[1:]
if "--args" not in arguments:
    os.execv({bwrap!r}, [{bwrap!r}, *arguments])
place = arguments.index("--args")
with open(int(arguments[place + 1]), "rb") as stream:
    words = stream.read().decode().split("\\0")[:-1]
command = arguments[arguments.index("--") + 1:]
before = arguments[:place]

def drop(option):
    while option in words:
        del words[words.index(option):words.index(option) + 2]

{weakness}
os.execv({bwrap!r}, [{bwrap!r}, *before, *words, "--", *command])
"""


def main() -> None:
    """Write a weak bwrap."""
    if len(sys.argv) != 3 or sys.argv[1] not in WEAKNESSES:
        sys.exit(f"{__doc__}\nweaknesses: {', '.join(WEAKNESSES)}")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        sys.exit("there is no bwrap on PATH")
    path = Path(sys.argv[2])
    path.write_text(
        PROGRAM.format(python=sys.executable, bwrap=bwrap, weakness=WEAKNESSES[sys.argv[1]])
    )
    path.chmod(0o755)


if __name__ == "__main__":
    main()
