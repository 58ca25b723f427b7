"""Ascend: the host emulator of AscendC, and (elsewhere in this folder) the emitter of AscendC projects."""
