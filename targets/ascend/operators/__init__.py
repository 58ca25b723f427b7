"""A kernel as an operator of CANN: what it takes and gives, its host code, and the project that builds them."""
