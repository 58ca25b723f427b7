"""Making tile programs physical for Ascend's cores: vector (AIV) and cube (AIC)."""
