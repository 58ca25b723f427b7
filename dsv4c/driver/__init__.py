"""The part that sees everything: compiling, proving and the analytic cost model."""
