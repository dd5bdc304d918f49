# SPDX-License-Identifier: Apache-2.0
"""What commands print: for people, in columns or as a table, and as JSON for programs."""
