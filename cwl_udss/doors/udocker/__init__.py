# SPDX-License-Identifier: Apache-2.0
"""The command `udocker`, as that of udocker 1.3 is called."""
