# SPDX-License-Identifier: Apache-2.0
"""Which tests of the containment suite cannot pass in a runtime, by the limits that it names."""

from __future__ import annotations

from collections.abc import Iterable

from cwl_udss.runtimes.limits import HOST_NAME, LOOPBACK, METADATA, PROCESSES, SIGNALS
from cwl_udss.sandbox import Limit

# By the first that such a test comes upon.
LIMITED_TESTS = {
    METADATA.name: (
        "image_files_cannot_be_changed",
        "input_file_cannot_be_touched",
        "input_directory_cannot_be_written",
        # Whose inputs the tests before it may have touched.
        "input_file_cannot_be_written",
    ),
    SIGNALS.name: (
        "host_processes_cannot_be_signalled",
        "abstract_sockets_of_the_host_cannot_be_reached",
        "expressions_see_no_processes",
    ),
    HOST_NAME.name: ("hostname_is_not_the_hosts",),
    LOOPBACK.name: (
        "loopback_services_of_the_host_cannot_be_reached",
        "expressions_see_no_network",
    ),
    PROCESSES.name: (
        "there_is_no_network_without_network_access",
        "there_is_network_with_network_access",
        "there_are_no_capabilities",
        "there_are_no_new_privileges",
        "setuid_programs_give_nothing",
        "no_signal_is_blocked_or_ignored",
    ),
}


def limit_of(test: str, limits: Iterable[Limit]) -> str:
    """Return the name of the limit by which a test cannot pass, "" if it can."""
    names = (limit.name for limit in limits)
    return next((name for name in names if test in LIMITED_TESTS.get(name, ())), "")
