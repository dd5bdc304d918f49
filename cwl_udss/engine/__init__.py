# SPDX-License-Identifier: Apache-2.0
"""All that knows cwltool from inside, with executor.py: where it is extended, and what stands in
for parts of it that cost too much or give up too soon."""
