"""The verifier: which logical programs mean something, and which physical programs a chip can execute."""
