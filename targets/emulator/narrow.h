// Integers of hardware width that say so when a value does not fit, instead of losing its upper bits.
#pragma once

#include <cstdint>

#include "at.h"

namespace emu {

// Implemented by the runtime: `value` does not fit field `name`.
void report_narrow(const char* name, long long value, unsigned long long limit, At at);

// One field. Tag names it; Max is the documented limit where that is below the type's own.
template <typename T, typename Tag, unsigned long long Max = T(-1) < T(0) ? (1ull << (sizeof(T) * 8 - 1)) - 1 : T(-1)>
class Narrow {
public:
    constexpr Narrow() : value_(0) {}
    template <typename I>
    Narrow(I value, At at = At()) : value_(static_cast<T>(value)) {
        const bool below = value < I(0) && !(T(-1) < T(0));
        const bool above = value > I(0) && static_cast<unsigned long long>(value) > Max;
        if (below || above) report_narrow(Tag::text, static_cast<long long>(value), Max, at);
    }
    constexpr operator T() const { return value_; }

private:
    T value_;
};

}  // namespace emu

// Declares a checked field `name` with its starting value.
#define EMU_FIELD(type, name, start)               \
    struct name##_field {                          \
        static constexpr const char* text = #name; \
    };                                             \
    ::emu::Narrow<type, name##_field> name { type(start) }

// The same with a documented limit below the type's own.
#define EMU_FIELD_MAX(type, name, start, limit)    \
    struct name##_field {                          \
        static constexpr const char* text = #name; \
    };                                             \
    ::emu::Narrow<type, name##_field, limit> name { type(start) }
