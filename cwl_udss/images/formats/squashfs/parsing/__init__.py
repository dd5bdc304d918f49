# SPDX-License-Identifier: Apache-2.0
"""What a SquashFS file says that anybody may have made, checked as it is read."""
