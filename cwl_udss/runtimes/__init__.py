# SPDX-License-Identifier: Apache-2.0
"""What turns a Sandbox into running processes, a module for each runtime."""
