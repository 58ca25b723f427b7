// Where in the kernel's source an instruction was issued.
#pragma once

namespace emu {

// A default argument `At at = At()` is evaluated at the caller's line; this is how unchanged kernels get line numbers.
struct At {
    const char* file;
    int line;
    // Explicit: the last 0 of a braced parameter list must not become a line.
    explicit constexpr At(const char* f = __builtin_FILE(), int l = __builtin_LINE()) : file(f), line(l) {}
};

}  // namespace emu
