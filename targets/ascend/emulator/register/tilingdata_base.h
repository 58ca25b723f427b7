// Tiling structures in the style of the older operator projects: the host's macros, which here give plain structures
// that host and kernel share. The device's build writes the kernel's own copy from them.
#pragma once

#include <cstdint>
#include <cstring>

#define BEGIN_TILING_DATA_DEF(type) struct type {
#define TILING_DATA_FIELD_DEF(type, name)         \
    type name{};                                  \
    void set_##name(type value) { name = value; } \
    type get_##name() const { return name; }
#define TILING_DATA_FIELD_DEF_ARR(type, count, name)                                 \
    type name[count]{};                                                              \
    void set_##name(const type* values) { std::memcpy(name, values, sizeof(name)); } \
    const type* get_##name() const { return name; }
#define TILING_DATA_FIELD_DEF_STRUCT(type, name) type name;
#define END_TILING_DATA_DEF \
    }
#define REGISTER_TILING_DATA_CLASS(op, type)
