# SPDX-License-Identifier: Apache-2.0
"""What registries and archives say of an image: documents in, values out."""
