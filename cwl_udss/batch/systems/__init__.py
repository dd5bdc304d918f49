# SPDX-License-Identifier: Apache-2.0
"""The batch systems: command lines and answers, and typing them."""
