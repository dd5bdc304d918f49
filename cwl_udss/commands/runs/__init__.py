# SPDX-License-Identifier: Apache-2.0
"""Commands that tell of a run whose steps are jobs, from what is in its directory."""
