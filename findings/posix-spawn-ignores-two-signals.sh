#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# glibc 2.36 (Debian 12), by os.posix_spawn of Python 3.11, Linux 6.18, November 2026
#
# One would guess: posix_spawn(3) leaves the new program the dispositions of signals that fork and
# exec leave it.
# Seen: with glibc the new program ignores signals 32 and 33 (SIGCANCEL and SIGSETXID, which glibc
# keeps to itself): SigIgn of /proc/PID/status is 0000000180000000, and what that program starts
# inherits it. By fork and exec it is 0.
set -euo pipefail

ldd --version | sed -n 1p
python3 - <<'P'
import os, signal, sys

def ignored(spawn):
    read, write = os.pipe()
    os.waitpid(spawn(write), 0)
    os.close(write)
    return os.read(read, 100).decode().split()[1]

COMMAND = ["grep", "SigIgn", "/proc/self/status"]

def by_posix_spawn(write):
    return os.posix_spawn("/bin/grep", COMMAND, {}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])

def by_fork(write):
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.execve("/bin/grep", COMMAND, {})
    return child

for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
    signal.signal(number, signal.SIG_DFL)
forked, spawned = ignored(by_fork), ignored(by_posix_spawn)
print("by fork and exec", forked)
print("by posix_spawn", spawned)
sys.exit(not (forked == "0" * 16 and spawned == "0000000180000000"))
P
