# SPDX-License-Identifier: Apache-2.0
"""Every setting, and where its value comes from."""
