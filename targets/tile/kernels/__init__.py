"""One logical tile program per kernel op."""
