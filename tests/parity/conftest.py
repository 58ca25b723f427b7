"""The script that writes the stored checkpoints makes those of the live comparison too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
