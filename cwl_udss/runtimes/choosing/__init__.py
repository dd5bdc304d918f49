# SPDX-License-Identifier: Apache-2.0
"""Which of the runtimes makes the sandboxes of this machine."""
