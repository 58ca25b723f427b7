"""TIR for hardware with a cache: lowering, kernels, and the library they compile to."""
