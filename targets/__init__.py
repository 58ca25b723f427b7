"""Kinds of machine: one folder and one ``Target`` object each, found by entry point."""
