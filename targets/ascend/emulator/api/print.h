// printf of kernels: integers of any width, floats, strings.
#pragma once

#include <cstdio>
#include <string>
#include <type_traits>

#include "system.h"

namespace emu {

inline void format_rest(std::string& out, const char* text) { out += text; }

template <typename T, typename... Rest>
void format_rest(std::string& out, const char* text, T value, Rest... rest) {
    while (*text && *text != '%') out += *text++;
    if (!*text) return;
    char number[64];
    if constexpr (std::is_convertible_v<T, const char*>) {
        out += value;
    } else {
        if constexpr (std::is_integral_v<T>) {
            std::snprintf(number, sizeof number, text[1] == 'x' ? "%llx" : "%lld", static_cast<long long>(value));
        } else {
            std::snprintf(number, sizeof number, "%f", static_cast<double>(static_cast<float>(value)));
        }
        out += number;
    }
    format_rest(out, text + 2, rest...);
}

}  // namespace emu

namespace AscendC {

// Prints when the scalar unit comes to it, whatever the pipes have done by then.
template <typename... Arguments>
void printf(const char* format, Arguments... arguments) {
    std::string out;
    emu::format_rest(out, format, arguments...);
    std::fputs(out.c_str(), stdout);
}

template <typename... Arguments>
void PRINTF(const char* format, Arguments... arguments) {
    AscendC::printf(format, arguments...);
}

}  // namespace AscendC
