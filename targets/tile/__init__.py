"""Tile programs for machines with scratchpads: one logical definition of a kernel, made physical for each chip."""
