# SPDX-License-Identifier: Apache-2.0
"""The store of converted images: the one place that knows its paths."""
