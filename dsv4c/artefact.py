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
from math import prod
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.types import DTYPES
from dsv4c.plan import CallSite, Plan
from dsv4c.plan_json import plan_from_json

SCHEMA = 1
MANIFEST, PLAN, MODULE, WEIGHTS = "manifest.json", "plan.json", "module.dsir", "weights.bin"
# Entries of a plan, those that it has: logits of the last position (any number of new tokens; specialised, many and
# one), and of every position.
ENTRIES = ("step", "prefill", "decode", "step_all")
COMPUTE = ("f32", "bf16", "f16")
CONTENT = {  # what readers of a manifest rely on
    "model": {"name": str, "dtype": COMPUTE, "vocab": int, "max_context": int},
    "target": {"name": str, "facts": dict},
    "state": dict,
    "weights": dict,
    "files": dict,
}
ALIGN = 64  # bytes: weights begin where a vector load may
Array = np.ndarray[Any, Any]


def json_text(data: Any) -> str:
    """JSON in the one spelling that every run writes."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_json(path: Path, data: Any) -> None:
    """A file of such JSON."""
    path.write_text(json_text(data))


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
        manifest = _read_manifest(folder / MANIFEST)
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                raise UserError("is missing from the artefact", where=str(path), fix="compile again")
            if _hash(path) != expected:
                raise UserError(
                    "was changed after the compile (its hash differs)", where=str(path), fix="compile again"
                )
        artefact = cls(folder, manifest, _read_plan(folder / PLAN))
        artefact._check_weights()
        return artefact

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

    def _check_weights(self) -> None:
        """Raise a UserError unless the index holds every weight that the plan reads, inside of the file."""
        if not self.has_weights:
            return
        index, size = self.manifest["weights"], (self.folder / WEIGHTS).stat().st_size
        read = {key for entry in self.plan.entries for key in self.plan.weights(entry)}
        for path, form in sorted(read):
            if (key := f"{path}@{form}" if form else path) not in index:
                raise broken(self.folder / MANIFEST, f"weight {key} of the plan is not in the index")
        for key, entry in index.items():
            if not _fits(entry, size):
                raise broken(self.folder / WEIGHTS, f"weight {key} is not where the manifest says")


def broken(path: Path, what: str) -> UserError:
    """The error for an artefact whose hashes are right and whose parts contradict each other all the same."""
    return UserError(what, where=str(path), fix="compile again")


def _fits(entry: Any, size: int) -> bool:
    """Whether an entry of the index describes an array inside of ``size`` bytes."""
    if lacking(entry, {"offset": int, "dtype": tuple(DTYPES), "shape": list}):
        return False
    if not all(isinstance(n, int) and n >= 0 for n in (entry["offset"], *entry["shape"])):
        return False
    return bool(entry["offset"] + prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize <= size)


def _slice(flat: Array, entry: Mapping[str, Any]) -> Array:
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    size = prod(shape) * dtype.itemsize
    return flat[entry["offset"] : entry["offset"] + size].view(dtype).reshape(shape)


def _read_manifest(path: Path) -> Mapping[str, Any]:
    if not path.parent.is_dir():
        fix = "give the folder that dsv4c compile made"
        raise UserError("there is no such folder", where=str(path.parent), fix=fix)
    if not path.is_file():
        what = "is not an artefact: it has no manifest.json"
        raise UserError(what, where=str(path.parent), fix="make one with dsv4c compile")
    manifest = _read_json(path, "a manifest")
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise broken(path, "is not a manifest: it states no schema version")
    if (schema := manifest["schema"]) != SCHEMA:
        raise broken(path, f"has schema version {schema}; this dsv4c reads {SCHEMA}")
    if manifest.get("sha256") != _digest(manifest):
        raise broken(path, "was changed after the compile (its hash differs)")
    if field := lacking(manifest, CONTENT):
        raise broken(path, f"is not a manifest: {field} is missing or of the wrong type")
    return manifest


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise broken(path, f"is not {what}: {error}") from None


def lacking(data: Any, content: Mapping[str, Any], prefix: str = "") -> str:
    """The first field of ``content`` that ``data`` lacks or has of another type; empty if there is none.

    A field's content is a type, a tuple of allowed values, or what an object holds.
    """
    for name, kind in content.items():
        value = data.get(name) if isinstance(data, dict) else None
        if isinstance(kind, dict):
            if inner := lacking(value, kind, f"{prefix}{name}."):
                return inner
        elif (value not in kind) if isinstance(kind, tuple) else (not isinstance(value, kind)):
            return f"{prefix}{name}"
    return ""


def _read_plan(path: Path) -> Plan:
    data = _read_json(path, "a plan")
    try:
        plan = plan_from_json(data)
    except KeyError as error:
        raise broken(path, f"is not a plan: {error} is missing") from None
    except (TypeError, ValueError, AttributeError):
        raise broken(path, "is not a plan: something in it has another type or spelling than plans have") from None
    known: set[str] = set()
    for name, function in plan.functions.items():
        if unknown := sorted({s.callee for s in function.steps if isinstance(s, CallSite)} - known):
            raise broken(path, f"function {name} calls {unknown[0]}, which is not defined before it")
        known.add(name)
    if not plan.entries:
        raise broken(path, "has no entry")
    if absent := [name for name in plan.entries if name not in known]:
        raise broken(path, f"has no entry {absent[0]}")
    return plan
