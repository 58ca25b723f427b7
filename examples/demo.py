"""The whole road on a small real checkpoint: compile, run, compare with transformers, prove every function.

``make demo`` runs this. The checkpoint in ``examples/tiny-v4`` was written by transformers 5.23, by the script
``examples/make_tiny.py``; ``tokens.json`` beside it holds what transformers generated from it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dsv4c
from dsv4c.driver.compile import compile_model
from dsv4c.driver.verify import verify_artefact
from dsv4c.targets.target import target_names

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE / "tiny-v4"
OUT = HERE.parent / ".demo"


def main() -> int:
    """Every installed target in turn; 0 when all of them agree with transformers."""
    peer = json.loads((CHECKPOINT / "tokens.json").read_text())
    results = [show(target, peer["prompt"], peer["new"]) for target in one_of_each(target_names())]
    print("proved" if all(results) else "FAILED")
    return 0 if all(results) else 1


def one_of_each(names: list[str]) -> list[str]:
    """The targets, one chip of each family: chips of a family run the same kernels."""
    return list({name.partition(":")[0]: name for name in reversed(names)}.values())[::-1]


def show(target: str, prompt: list[int], expected: list[int]) -> bool:
    """Compile for one target, generate, verify; True when tokens and functions are right."""
    out = OUT / target
    print(f"compile  {CHECKPOINT.relative_to(HERE.parent)} --target {target} -o {out.relative_to(HERE.parent)}")
    compile_model(str(CHECKPOINT), out, target=target, force=True)
    tokens = dsv4c.load(out).generate(prompt, len(expected))
    print(f"prompt   {' '.join(map(str, prompt))}")
    print(f"tokens   {' '.join(map(str, tokens))}")
    verdict = "equal to" if tokens == expected else "DIFFERENT FROM"
    print(f"         {verdict} the {len(expected)} tokens that transformers generated")
    rows = verify_artefact(out)
    for row in rows:
        print(f"verify   {row.name:24} {row.status:8} max error {row.error:.1e}  ({row.detail})")
    return tokens == expected and all(row.status == "ok" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
