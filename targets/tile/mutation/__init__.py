"""Mutants of physical tile programs: what a sanitizer must find."""
