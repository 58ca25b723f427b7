"""That both sides of the tables compute the same: dsv4c and transformers on the f32 checkpoint of ``bench-475m``.

``python benchmarks/parity.py [--length 40] [--new 8]``; needs DSV4C_PEER_PYTHON. Compares greedy tokens, and the
logits of every position of prompt and continuation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common.model import artefact, checkpoint
from common.report import bar

import dsv4c

PEER = Path(__file__).resolve().parent / "common" / "greedy.py"


def main() -> None:
    """Tokens side by side, then the largest difference."""
    parser = argparse.ArgumentParser(description="dsv4c against transformers on bench-475m")
    parser.add_argument("--length", type=int, default=40, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=8)
    o = parser.parse_args()
    if "DSV4C_PEER_PYTHON" not in os.environ:
        parser.error("DSV4C_PEER_PYTHON must name a Python with torch and transformers")
    with TemporaryDirectory() as folder:
        out = f"{folder}/peer.npz"
        command = [os.environ["DSV4C_PEER_PYTHON"], str(PEER), str(checkpoint("f32")), str(o.length), str(o.new), out]
        subprocess.run(command, check=True)
        peer = dict(np.load(out))
    ours = dsv4c.load(artefact("f32")).generate_batch([peer["prompt"].tolist()], o.new, logits=True)
    assert ours.logits is not None
    print(f"transformers {peer['new'].tolist()}\ndsv4c        {ours.tokens[0]}")
    error = np.abs(ours.logits[0] - peer["logits"]).max() / np.abs(peer["logits"]).max()
    bar("largest difference / largest logit", float(error), True, most=1e-4)
    same = sum(a == b for a, b in zip(ours.tokens[0], peer["new"], strict=True))
    bar("new tokens that agree", float(same), True, least=o.new)


if __name__ == "__main__":
    main()
