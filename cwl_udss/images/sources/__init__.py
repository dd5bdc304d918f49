# SPDX-License-Identifier: Apache-2.0
"""Where an image may come from."""
