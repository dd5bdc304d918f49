# SPDX-License-Identifier: Apache-2.0
"""cwltool's tool and its jobs, which run in sandboxes."""
