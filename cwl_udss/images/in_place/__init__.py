# SPDX-License-Identifier: Apache-2.0
"""Images that are used where they are: files and directories that others have made."""
