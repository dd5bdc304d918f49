# SPDX-License-Identifier: Apache-2.0
"""The store's images as files for other programs, under the names by which these look for them."""
