# SPDX-License-Identifier: Apache-2.0
"""Python imports this at its start (site): Landlock is no newer than $CWL_UDSS_TESTS_LANDLOCK.

No more is asked of the kernel than it had then, which leaves what it could not forbid allowed.
"""

import os

from cwl_udss.runtimes.proot import landlock

landlock.landlock_abi = lambda: int(os.environ["CWL_UDSS_TESTS_LANDLOCK"])  # type: ignore[assignment]
