# SPDX-License-Identifier: Apache-2.0
"""Image files: made, looked into; and the store, which stands for Apptainer's cache."""
