# SPDX-License-Identifier: Apache-2.0
"""An image reference in, a root filesystem out. Knows nothing of cwltool."""
