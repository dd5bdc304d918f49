# SPDX-License-Identifier: Apache-2.0
"""The doors `podman` and `docker`."""
