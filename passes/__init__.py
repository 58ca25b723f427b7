"""Module in, module out: one rewrite a file. ``registry.PASSES`` lists them; the driver runs and proves them."""
