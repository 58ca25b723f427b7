"""Calls of the vendor's library operators instead of emitted kernels."""
