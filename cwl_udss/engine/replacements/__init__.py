# SPDX-License-Identifier: Apache-2.0
"""What stands in for functions of cwltool that cost too much, or give up too soon."""
