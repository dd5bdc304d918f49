# SPDX-License-Identifier: Apache-2.0
"""What is asked of a new container, made a Container."""
