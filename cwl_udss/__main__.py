# SPDX-License-Identifier: Apache-2.0
"""`python -m cwl_udss` is `cwl-udss`."""

from cwl_udss.cli import main

main()
