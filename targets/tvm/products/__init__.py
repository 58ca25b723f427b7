"""Matrix products with weights in panels: loops over registers, written for the machine's dot products."""
