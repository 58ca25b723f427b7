"""What the benchmarks share: the model, its cost on paper, the machine's limits, and whoever runs it."""
