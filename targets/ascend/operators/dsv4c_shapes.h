// What the operators of this project share on the host: shapes of inputs, and messages where they do not fit.
#ifndef DSV4C_SHAPES_H
#define DSV4C_SHAPES_H

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <initializer_list>

#include "register/op_def_registry.h"

namespace dsv4c {

// Says on stderr what is wrong with a call of an operator of that type.
__attribute__((format(printf, 2, 3))) inline ge::graphStatus Fail(const char* type, const char* format, ...)
{
    va_list rest;
    va_start(rest, format);
    std::fprintf(stderr, "%s: ", type);
    std::vfprintf(stderr, format, rest);
    std::fputc('\n', stderr);
    va_end(rest);
    return ge::GRAPH_FAILED;
}

inline const gert::Shape* Storage(const gert::Shape* shape) { return shape; }
inline const gert::Shape* Storage(const gert::StorageShape* shape)
{
    return shape == nullptr ? nullptr : &shape->GetStorageShape();
}

// The shapes of an operator's inputs.
template <size_t N>
class Inputs {
public:
    template <typename Context>
    explicit Inputs(Context* context)
    {
        for (size_t i = 0; i < N; i++) shapes_[i] = Storage(context->GetInputShape(i));
    }

    const gert::Shape* operator[](size_t i) const { return shapes_[i]; }

    // Whether a graph's compiler does not know all of them yet.
    bool Unknown() const
    {
        for (size_t i = 0; i < N; i++) {
            for (size_t axis = 0; shapes_[i] != nullptr && axis < shapes_[i]->GetDimNum(); axis++) {
                if (shapes_[i]->GetDim(axis) < 0) return true;
            }
        }
        return false;
    }

private:
    const gert::Shape* shapes_[N == 0 ? 1 : N] = {};
};

inline bool Rank(const char* type, const char* tensor, const gert::Shape* shape, size_t rank)
{
    if (shape == nullptr) {
        Fail(type, "%s is missing", tensor);
        return false;
    }
    if (shape->GetDimNum() == rank) return true;
    Fail(type, "%s has %zu axes, takes %zu", tensor, shape->GetDimNum(), rank);
    return false;
}

// A size that is the extent of an axis, divided by `by`.
inline bool Extent(const char* type, const char* tensor, const gert::Shape* shape, size_t rank, size_t axis, int64_t by,
                   int64_t& size)
{
    if (!Rank(type, tensor, shape, rank)) return false;
    const int64_t extent = shape->GetDim(axis);
    if (by > 0 && extent % by == 0) {
        size = extent / by;
        return true;
    }
    Fail(type, "%s: axis %zu is %" PRId64 ", no multiple of %" PRId64, tensor, axis, extent, by);
    return false;
}

// A size that no shape tells.
inline bool Attribute(const char* type, const char* name, const gert::RuntimeAttrs* attrs, size_t index, int64_t& size)
{
    const int64_t* value = attrs == nullptr ? nullptr : attrs->GetInt(index);
    if (value != nullptr && *value >= 0) {
        size = *value;
        return true;
    }
    Fail(type, "the attribute %s is missing or less than 0", name);
    return false;
}

// Whether a shape is the one that the sizes ask for.
inline bool Fits(const char* type, const char* tensor, const gert::Shape* shape, std::initializer_list<int64_t> wanted)
{
    if (!Rank(type, tensor, shape, wanted.size())) return false;
    size_t axis = 0;
    for (const int64_t extent : wanted) {
        if (shape->GetDim(axis) != extent) {
            Fail(type, "%s: axis %zu is %" PRId64 ", must be %" PRId64, tensor, axis, shape->GetDim(axis), extent);
            return false;
        }
        axis++;
    }
    return true;
}

inline void Give(gert::Shape* shape, std::initializer_list<int64_t> extents)
{
    shape->SetDimNum(extents.size());
    size_t axis = 0;
    for (const int64_t extent : extents) shape->SetDim(axis++, extent);
}

}  // namespace dsv4c

#endif
