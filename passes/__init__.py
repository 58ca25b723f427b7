"""Module in, module out: one rewrite a file. None is here yet; the driver runs an empty pipeline."""
