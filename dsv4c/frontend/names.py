"""Where each weight of a model lies in a checkpoint: name, form and quantisation, found before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dsv4c.errors import UserError
from dsv4c.models.config import Config, V4Config
from dsv4c.models.weights import Leaf, weight_leaves

from .checkpoint import Checkpoint, Stored, counted, listed
from .fields import Fields
from .spellings import SCALES, ignored, spellings

FLOATS = ("F32", "BF16", "F16")
INTEGERS = ("I64", "I32")
DEFAULT_BLOCK = (128, 128)  # architectures.md §9.1
MXFP4_BLOCK = (1, 32)  # §9.2
HALVES = {"[first]": "first_half", "[second]": "second_half"}
COMPUTE = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "F32": "f32", "BF16": "bf16", "F16": "f16"}


@dataclass(frozen=True)
class Source:
    """The tensors behind one leaf of ``weight_leaves``.

    Attributes:
        leaf: the leaf's path.
        name: the tensor's name; for a stack a template with ``{e}`` for the expert.
        form: ``plain``; ``stack`` of one tensor per expert along a new axis 0; ``first_half`` or ``second_half`` of
            a fused tensor ``[E, 2I, d]`` along axis 1.
        stored: dtype in the file, as safetensors spells it; the same for the whole stack.
        scale: name or template of the scale tensor; None for ``scheme`` "none".
        scheme: ``none``; ``fp8_block``: e4m3 times one scale (F32 or F8_E8M0) per ``block``; ``mxfp4``: two e2m1
            codes a byte along the input, low nibble first, times one F8_E8M0 scale per ``block``.
        block: rows and columns, counted in elements of the leaf, that share a scale; (1, 1) without scales.
        scale_stored: dtype of the scales in the file; empty without scales.
    """

    leaf: str
    name: str
    form: str
    stored: str
    scale: str | None = None
    scheme: str = "none"
    block: tuple[int, int] = (1, 1)
    scale_stored: str = ""

    def names(self, experts: int) -> list[str]:
        """The tensors' names, in order: one, or one per expert."""
        return _expand(self.name, experts)

    def scales(self, experts: int) -> list[str]:
        """The scale tensors' names, in the order of ``names``; empty without scales."""
        return _expand(self.scale, experts) if self.scale else []


@dataclass
class Problems:
    """What is wrong with a checkpoint, collected so that one message can say it all."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)

    def check_shape(self, stored: Stored, expected: Sequence[int]) -> None:
        """Note a tensor whose shape is not the expected one."""
        if stored.shape != tuple(expected):
            self.shapes.append(f"{stored.name} is {list(stored.shape)}, expected {list(expected)}")

    def check_dtype(self, stored: Stored, allowed: Iterable[str]) -> bool:
        """Note a tensor whose dtype is not allowed; returns whether it is."""
        if stored.dtype in allowed:
            return True
        self.dtypes.append(f"{stored.name} is {stored.dtype}, expected {' or '.join(allowed)}")
        return False

    def settle(self, where: str) -> None:
        """Raise one UserError for everything noted, if anything was."""
        kinds = (
            (self.missing, "missing"),
            (self.extra, "not part of the model"),
            (self.shapes, "of the wrong shape"),
            (self.dtypes, "of the wrong dtype"),
        )
        if found := [f"{counted(len(items), 'tensor')} {kind}: {listed(items)}" for items, kind in kinds if items]:
            raise UserError("; ".join(found), where=where)


def resolve(config: Config, checkpoint: Checkpoint) -> dict[str, Source]:
    """The source of every leaf of ``weight_leaves(config)``, in that order. Reads no weight.

    Raises:
        UserError: tensors are missing, left over, or of the wrong shape or dtype (all of them in one message), or
            the checkpoint is quantised in a way that is not known.
    """
    extras = Fields(checkpoint.raw, f"{checkpoint.folder / 'config.json'}:")
    search = Search(config, checkpoint.tensors, given_block(extras))
    sources = {path: search.source(path, leaf) for path, leaf in weight_leaves(config).items()}
    unused = ignored(config, extras.integer("num_nextn_predict_layers", 1, least=0))
    search.problems.extra = [n for n in checkpoint.tensors if n not in search.used and not unused.fullmatch(n)]
    search.problems.settle(str(checkpoint.weights))
    return {path: source for path, source in sources.items() if source}


def compute_dtype(checkpoint: Checkpoint, sources: Mapping[str, Source]) -> str:
    """The checkpoint's own dtype, ``f32``, ``bf16`` or ``f16``: what its config says, else that of the embedding."""
    stated = checkpoint.raw.get("dtype") or checkpoint.raw.get("torch_dtype")
    return COMPUTE.get(str(stated).removeprefix("torch.")) or COMPUTE[sources["embed"].stored]


def given_block(fields: Fields) -> tuple[int, int] | None:
    """``quantization_config.weight_block_size``, None if the config does not say.

    Raises:
        UserError: the quantisation method is not fp8, or the block is not a pair of positive integers.
    """
    quantisation = fields.child("quantization_config")
    quantisation.choice("quant_method", ("fp8",), "fp8")
    if not quantisation.has("weight_block_size"):
        return None
    block = quantisation.integers("weight_block_size", least=1)
    if len(block) != 2:
        raise quantisation.error("weight_block_size", f"{list(block)} is not a pair", "give [rows, columns]")
    return block[0], block[1]


@dataclass
class Search:
    """Finds sources among ``tensors``, and notes what is wrong and which tensors were used."""

    config: Config
    tensors: Mapping[str, Stored]
    block: tuple[int, int] | None
    problems: Problems = field(default_factory=Problems)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Index the modules that the checkpoint has, to name missing tensors in its own dialect."""
        self.modules = {module for name in self.tensors for module in _modules(name)}

    def source(self, path: str, leaf: Leaf) -> Source | None:
        """The source of one leaf; None after noting why there is none."""
        candidates = spellings(self.config, path)
        template, form = next(filter(self._present, map(_form, candidates)), _form(self._likeliest(candidates)))
        names = _expand(template, self.config.moe.experts)
        found = self._take(names)
        if not found:
            return None
        stored = found[0].dtype
        for other in found[1:]:
            if other.dtype != stored:
                self.problems.check_dtype(other, (stored,))
        shape = leaf.shape[1:] if form == "stack" else leaf.shape
        if form.endswith("half"):
            shape = (shape[0], 2 * shape[1], shape[2])
        scheme = _scheme(stored, leaf, shape)
        for tensor in found:
            self.problems.check_shape(tensor, (shape[0], shape[1] // 2) if scheme == "mxfp4" else shape)
        if scheme == "none":
            expected = INTEGERS if leaf.role == "i32" else FLOATS
            return Source(path, template, form, stored) if self.problems.check_dtype(found[0], expected) else None
        return self._quantised(Source(path, template, form, stored, scheme=scheme), shape)

    def _quantised(self, source: Source, shape: tuple[int, ...]) -> Source | None:
        """The same source with its scales."""
        experts = self.config.moe.experts
        stem = source.name.removesuffix("weight")
        order = SCALES[::-1] if isinstance(self.config, V4Config) else SCALES
        template = next((stem + s for s in order if self._present((stem + s, ""))), stem + order[0])
        found = self._take(_expand(template, experts))
        if not found:
            return None
        fp8 = source.scheme == "fp8_block"
        block = self._fp8_block(shape, found[0].shape) if fp8 else MXFP4_BLOCK
        for scale in found:
            self.problems.check_shape(scale, _blocks(shape, block))
            self.problems.check_dtype(scale, (found[0].dtype,) if scale is not found[0] else _scale_dtypes(fp8))
        return replace(source, scale=template, block=block, scale_stored=found[0].dtype)

    def _fp8_block(self, shape: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, int]:
        """The config's block; without one the usual block, or another that the shapes allow."""
        if self.block or _blocks(shape, DEFAULT_BLOCK) == scales or len(scales) != 2:
            return self.block or DEFAULT_BLOCK
        if any(count < 1 or size % count for size, count in zip(shape, scales, strict=True)):
            return DEFAULT_BLOCK
        return shape[0] // scales[0], shape[1] // scales[1]

    def _take(self, names: list[str]) -> list[Stored]:
        """The tensors of these names, marked as used. Those that are missing are noted, and their scales excused."""
        self.used.update(names)
        missing = [name for name in names if name not in self.tensors]
        self.problems.missing += missing
        self.used.update(name.removesuffix("weight") + scale for name in missing for scale in SCALES)
        return [self.tensors[name] for name in names if name in self.tensors]

    def _present(self, spelling: tuple[str, str]) -> bool:
        return any(name in self.tensors for name in _expand(spelling[0], self.config.moe.experts))

    def _likeliest(self, candidates: list[str]) -> str:
        """The spelling whose modules the checkpoint has most of."""
        return max(candidates, key=lambda name: sum(m in self.modules for m in _modules(name.format(e=0))))


def _scheme(stored: str, leaf: Leaf, shape: tuple[int, ...]) -> str:
    if leaf.role != "compute" or len(shape) != 2:
        return "none"
    if stored == "I8" and shape[1] % 2:
        return "none"  # two codes a byte cannot hold an odd row
    return {"F8_E4M3": "fp8_block", "I8": "mxfp4"}.get(stored, "none")


def _scale_dtypes(fp8: bool) -> tuple[str, ...]:
    return ("F32", "F8_E8M0") if fp8 else ("F8_E8M0",)


def _blocks(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, ...]:
    return tuple(-(-size // width) for size, width in zip(shape, block, strict=True))


def _form(spelling: str) -> tuple[str, str]:
    """``experts.{e}.w1`` -> stack, ``gate_up_proj[first]`` -> its tensor and first_half."""
    for mark, form in HALVES.items():
        if spelling.endswith(mark):
            return spelling.removesuffix(mark), form
    return spelling, "stack" if "{e}" in spelling else "plain"


def _expand(template: str, experts: int) -> list[str]:
    return [template.format(e=e) for e in range(experts)] if "{e}" in template else [template]


def _modules(name: str) -> list[str]:
    return [name[:index] for index, letter in enumerate(name) if letter == "."]
