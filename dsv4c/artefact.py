"""The folder that a compile makes, and its manifest: what it is, for which machine, and a hash of every file.

An artefact is written into a temporary folder beside its destination and renamed, so that a failed compile leaves
nothing behind. Opening one checks the schema version and every hash before anything in it is used.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.types import DTYPES
from dsv4c.plan import Plan
from dsv4c.plan_json import plan_from_json

SCHEMA = 1
MANIFEST, PLAN, MODULE, WEIGHTS = "manifest.json", "plan.json", "module.dsir", "weights.bin"
ALIGN = 64  # bytes: weights begin where a vector load may
Array = np.ndarray[Any, Any]


def write_json(path: Path, data: Any) -> None:
    """JSON in the one spelling that every run writes."""
    path.write_text(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


@contextmanager
def fresh_folder(out: Path, force: bool) -> Iterator[Path]:
    """A temporary folder that becomes ``out`` when the block ends well and vanishes when it does not.

    Raises UserError when ``out`` exists and ``force`` is not set, or cannot be written.
    """
    out = out.absolute()
    if out.exists() and not force:
        raise UserError("exists already", where=str(out), fix="use --force to replace it")
    if out.exists() and not (out / MANIFEST).exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            "exists and is not an artefact, so it is not replaced", where=str(out), fix="choose another folder"
        )
    missing = [p for p in (out.parent, *out.parent.parents) if not p.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(
            f"cannot write here: {error.strerror}", where=str(out.parent), fix="choose another folder"
        ) from None
    try:
        yield temporary
        _replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not out.exists():
            for parent in missing:
                parent.rmdir()


def _replace(new: Path, out: Path) -> None:
    new.chmod(0o755)  # mkdtemp makes private folders
    if out.exists():
        old = new.with_name(new.name + ".old")
        os.replace(out, old)
        os.replace(new, out)
        shutil.rmtree(old)
    else:
        os.replace(new, out)


class WeightsWriter:
    """Writes arrays one after the other into ``weights.bin``, each on a 64-byte boundary."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / WEIGHTS).open("wb")
        self.index: dict[str, dict[str, Any]] = {}

    def add(self, key: str, array: Array, dtype: str) -> None:
        """Append one array under ``key`` (``path`` or ``path@form``)."""
        self._file.write(b"\0" * (-self._file.tell() % ALIGN))
        self.index[key] = {"offset": self._file.tell(), "dtype": dtype, "shape": list(array.shape)}
        self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def close(self) -> None:
        """Pad to a whole line, so that the last tensor can be read in vectors, and close."""
        self._file.write(b"\0" * (ALIGN - self._file.tell() % ALIGN))
        self._file.close()


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with the hash of every other file, and of itself."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    hashes = {p.relative_to(folder).as_posix(): _hash(p) for p in files}
    data = {"schema": SCHEMA, **manifest, "files": hashes}
    write_json(folder / MANIFEST, {**data, "sha256": _digest(data)})


def _digest(manifest: Mapping[str, Any]) -> str:
    """The hash of a manifest without its own entry."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artefact:
    """An opened artefact: folder, manifest and plan."""

    folder: Path
    manifest: Mapping[str, Any]
    plan: Plan

    @classmethod
    def open(cls, folder: Path | str) -> Artefact:
        """Check and read; UserError when it is not an artefact, of another schema version, or changed."""
        folder = Path(folder)
        manifest = _read_manifest(folder)
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                raise UserError("is missing from the artefact", where=str(path), fix="compile again")
            if _hash(path) != expected:
                raise UserError(
                    "was changed after the compile (its hash differs)", where=str(path), fix="compile again"
                )
        return cls(folder, manifest, plan_from_json(json.loads((folder / PLAN).read_text())))

    @property
    def has_weights(self) -> bool:
        """Whether the weights were packed into it."""
        return (self.folder / WEIGHTS).exists()

    def weights(self) -> dict[str, Array]:
        """Weights by key, mapped from disk and private to this process; UserError when it has none."""
        if not self.has_weights:
            raise UserError(
                "was compiled with --no-weights",
                where=str(self.folder),
                fix="compile the checkpoint with weights to run it",
            )
        flat = np.memmap(self.folder / WEIGHTS, np.uint8, "c")
        return {key: _slice(flat, entry) for key, entry in self.manifest["weights"].items()}


def _slice(flat: Array, entry: Mapping[str, Any]) -> Array:
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return flat[entry["offset"] : entry["offset"] + size].view(dtype).reshape(shape)


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), fix="give the folder that dsv4c compile made")
    if not path.is_file():
        raise UserError(
            "is not an artefact: it has no manifest.json", where=str(folder), fix="make one with dsv4c compile"
        )
    try:
        manifest: Mapping[str, Any] = json.loads(path.read_text())
        schema = manifest["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"is not a manifest: {error}", where=str(path), fix="compile again") from None
    if schema != SCHEMA:
        raise UserError(f"has schema version {schema}; this dsv4c reads {SCHEMA}", where=str(path), fix="compile again")
    if manifest.get("sha256") != _digest(manifest):
        raise UserError("was changed after the compile (its hash differs)", where=str(path), fix="compile again")
    return manifest
