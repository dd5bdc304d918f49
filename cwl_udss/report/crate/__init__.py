# SPDX-License-Identifier: Apache-2.0
"""A run as a Workflow Run RO-Crate: https://www.researchobject.org/workflow-run-crate/."""
