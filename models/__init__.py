"""The DeepSeek family: dimensions as data, tables of weights and state, and the equations in core ops."""
