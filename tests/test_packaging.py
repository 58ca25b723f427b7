"""What the wheel will hold, checked in the source tree: setup.cfg must name every package and every resource."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def setup_cfg() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def listed_packages() -> list[str]:
    return setup_cfg()["options"]["packages"].split()


def folder_of(package: str) -> Path:
    return ROOT.joinpath(*package.split("."))


def test_every_folder_with_an_init_is_listed() -> None:
    folders = (Path(top) for top, _, files in os.walk(ROOT / "dsv4c", followlinks=True) if "__init__.py" in files)
    assert sorted(listed_packages()) == sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)


def test_python_files_are_in_packages() -> None:
    packages = {folder_of(package) for package in listed_packages()}
    folders = (Path(top) for top, _, files in os.walk(ROOT / "dsv4c", followlinks=True) if any_python(files))
    assert [folder for folder in folders if folder not in packages] == []


def any_python(files: list[str]) -> bool:
    return any(name.endswith(".py") for name in files)


@pytest.mark.parametrize("package", list(setup_cfg()["options.package_data"]))
def test_resources_exist(package: str) -> None:
    for pattern in setup_cfg()["options.package_data"][package].split():
        assert list(folder_of(package).glob(pattern)), f"setup.cfg: package_data: {package}: no file is {pattern}"


def test_linked_folders_are_only_imported_as_parts_of_dsv4c() -> None:
    for package in listed_packages():
        importlib.import_module(package)
    # Two copies of a module would be two copies of its classes, and isinstance would fail between them.
    assert [name for name in ("passes", "targets", "models") if name in sys.modules] == []


def test_scripts_under_tests_need_no_test_extra(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['pytest'] = None; sys.path.insert(0, {str(ROOT / 'tests')!r}); import quantise"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
