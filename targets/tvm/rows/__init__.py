"""CPU kernels of the ops that work row by row: one builder a kernel op, written with the IR builder of TVM."""
