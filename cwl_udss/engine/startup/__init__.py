# SPDX-License-Identifier: Apache-2.0
"""Starting cwltool in less time, and in the first place."""
