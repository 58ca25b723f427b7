"""Which room may look into which: the rules of the design, read off the import statements."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dsv4c"
# What each package may import of the project, besides itself. The driver and the command line see everything.
ALLOWED = {
    "ir": set(),
    "models": {"ir"},
    "passes": {"ir"},
    "frontend": {"ir", "models", "errors"},
    "onnx": {"ir", "errors", "files"},
    "targets": {"ir", "passes", "plan", "errors", "runtime"},  # a target lists the passes that it wants
    "runtime": {"ir", "plan", "errors", "artefact", "targets"},
}


def imported(path: Path) -> set[str]:
    """The parts of the project that a file names in absolute imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("dsv4c.")}
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_stay_inside_the_rules(package: str) -> None:
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files
    for path in files:
        outside = imported(path) - ALLOWED[package] - {package}
        assert not outside, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(outside))}"


def test_only_the_session_looks_from_runtime_into_targets() -> None:
    # Targets use the linker, so everything else in runtime must not know them.
    users = {p.name for p in (PACKAGE / "runtime").glob("*.py") if "targets" in imported(p)}
    assert users == {"session.py"}
