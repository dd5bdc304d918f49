# SPDX-License-Identifier: Apache-2.0
"""Steps as jobs of a batch system: one small module for each system, one poller for all jobs."""
