// Operators of the vendor's library: computed in double and rounded once, on global memory with the same checks as kernels.
#pragma once

#include <cmath>
#include <functional>

#include "../aclnnop/aclnn_embedding.h"
#include "../aclnnop/aclnn_mm.h"
#include "../aclnnop/aclnn_rms_norm.h"
#include "host.h"

struct aclTensor {
    std::vector<int64_t> dims, strides;
    emu::Dtype type;
    int64_t offset;
    uint64_t stored;  // elements of its memory
    uint8_t* data;

    int64_t rank() const { return int64_t(dims.size()); }
    int64_t width() const { return emu::size_of(type); }
    int64_t last() const { return dims.empty() ? 1 : dims.back(); }
    int64_t count() const {
        int64_t n = 1;
        for (int64_t d : dims) n *= d;
        return n;
    }
    // Of an element by its number in row-major order.
    uint8_t* at(int64_t number) const {
        int64_t place = offset;
        for (size_t axis = dims.size(); axis-- > 0; number /= dims[axis]) place += number % dims[axis] * strides[axis];
        return data + place * width();
    }
    double get(int64_t number) const { return emu::load(at(number), type); }
    void set(int64_t number, double value) const { emu::store(at(number), type, value); }
};

struct aclOpExecutor {
    const char* name;
    std::vector<const aclTensor*> reads, writes;
    std::function<void()> run;
};

namespace emu {

constexpr uint64_t kLibraryWorkspace = 512;  // some, so that a caller who gives none is found

aclnnStatus prepared(aclOpExecutor* made, uint64_t* size, aclOpExecutor** executor) {
    *size = kLibraryWorkspace;
    *executor = made;
    return ACLNN_SUCCESS;
}

bool same_dims(const aclTensor* t, std::initializer_list<int64_t> dims) { return t->dims == std::vector<int64_t>(dims); }
bool floats(std::initializer_list<const aclTensor*> tensors) {
    const Dtype type = (*tensors.begin())->type;
    return is_float(type) && std::all_of(tensors.begin(), tensors.end(), [&](auto* t) { return t->type == type; });
}
Dtype dtype_of(aclDataType type) {
    switch (type) {
        case ACL_FLOAT: return Dtype::F32;
        case ACL_FLOAT16: return Dtype::F16;
        case ACL_BF16: return Dtype::BF16;
        case ACL_INT32: return Dtype::I32;
        case ACL_INT64: return Dtype::I64;
        default: return Dtype::None;
    }
}

// All that a tensor claims to have, and all that its view reaches.
std::optional<Range> memory_of(const aclTensor* t, const char* name) {
    int64_t reach = t->offset + 1;
    for (size_t axis = 0; axis < t->dims.size(); axis++) reach += (t->dims[axis] - 1) * t->strides[axis];
    const uint64_t elements = std::max(t->stored, uint64_t(reach));
    return gm_range(reinterpret_cast<uint64_t>(t->data), elements * uint64_t(t->width()), name, At("library", 0));
}

aclnnStatus execute_library(void* workspace, uint64_t size, aclOpExecutor* executor) {
    const std::unique_ptr<aclOpExecutor> owned(executor);
    const At at("library", 0);
    report().kernel = executor->name;
    if (size < kLibraryWorkspace || !gm_range(reinterpret_cast<uint64_t>(workspace), size, executor->name, at))
        return ACLNN_ERR_PARAM_INVALID;
    for (const aclTensor* t : executor->reads) {
        const auto range = memory_of(t, executor->name);
        if (!range) return ACLNN_ERR_PARAM_INVALID;
        check_defined(Instr(executor->name, S, at), *range);
    }
    for (const aclTensor* t : executor->writes) {
        if (!memory_of(t, executor->name)) return ACLNN_ERR_PARAM_INVALID;
    }
    executor->run();
    for (const aclTensor* t : executor->writes) {
        for (int64_t i = 0; i < t->count(); i++) {
            const auto r = gm_range(reinterpret_cast<uint64_t>(t->at(i)), uint64_t(t->width()), executor->name, at);
            if (r) r->memory->shadow.define(r->off, r->bytes, true);
        }
    }
    return ACLNN_SUCCESS;
}

void multiply(const aclTensor& a, const aclTensor& b, const aclTensor& out) {
    const int64_t m = a.dims[0], k = a.dims[1], n = b.dims[1];
    std::vector<double> left(size_t(m * k)), right(size_t(k * n));
    for (int64_t i = 0; i < m * k; i++) left[size_t(i)] = a.get(i);
    for (int64_t i = 0; i < k * n; i++) right[size_t(i)] = b.get(i);
    for (int64_t i = 0; i < m; i++) {
        std::vector<double> row(size_t(n), 0.0);
        for (int64_t j = 0; j < k; j++) {
            for (int64_t c = 0; c < n; c++) row[size_t(c)] += left[size_t(i * k + j)] * right[size_t(j * n + c)];
        }
        for (int64_t c = 0; c < n; c++) out.set(i * n + c, row[size_t(c)]);
    }
}

void normalise(const aclTensor& x, const aclTensor& gamma, double epsilon, const aclTensor& y, const aclTensor& rstd) {
    const int64_t width = gamma.count();
    for (int64_t row = 0; row < x.count() / width; row++) {
        double squares = 0;
        for (int64_t i = 0; i < width; i++) squares += std::pow(x.get(row * width + i), 2);
        const double scale = 1 / std::sqrt(squares / double(width) + epsilon);
        rstd.set(row, scale);
        for (int64_t i = 0; i < width; i++) y.set(row * width + i, x.get(row * width + i) * scale * gamma.get(i));
    }
}

}  // namespace emu

extern "C" {
aclTensor* aclCreateTensor(const int64_t* view_dims, uint64_t view_dims_num, aclDataType type, const int64_t* stride,
                           int64_t offset, aclFormat, const int64_t* storage_dims, uint64_t storage_dims_num, void* data) {
    auto* made = new aclTensor{{view_dims, view_dims + view_dims_num}, {}, emu::dtype_of(type), offset, 1,
                               static_cast<uint8_t*>(data)};
    made->strides.assign(made->dims.size(), 1);
    for (size_t axis = made->dims.size(); axis-- > 1;) made->strides[axis - 1] = made->strides[axis] * made->dims[axis];
    if (stride) made->strides.assign(stride, stride + view_dims_num);
    for (uint64_t i = 0; i < storage_dims_num; i++) made->stored *= uint64_t(storage_dims[i]);
    return made;
}
aclnnStatus aclDestroyTensor(const aclTensor* tensor) { return delete tensor, ACLNN_SUCCESS; }

aclnnStatus aclnnMmGetWorkspaceSize(const aclTensor* self, const aclTensor* mat2, aclTensor* out, int8_t cube_math_type,
                                    uint64_t* workspace_size, aclOpExecutor** executor) {
    if (!self || !mat2 || !out) return ACLNN_ERR_PARAM_NULLPTR;
    const bool fits = self->rank() == 2 && mat2->rank() == 2 && self->dims[1] == mat2->dims[0] &&
                      emu::same_dims(out, {self->dims[0], mat2->dims[1]});
    if (!fits || cube_math_type != 0 || !emu::floats({self, mat2, out})) return ACLNN_ERR_PARAM_INVALID;
    const auto run = [self, mat2, out] { emu::multiply(*self, *mat2, *out); };
    return emu::prepared(new aclOpExecutor{"aclnnMm", {self, mat2}, {out}, run}, workspace_size, executor);
}
aclnnStatus aclnnMm(void* workspace, uint64_t size, aclOpExecutor* executor, aclrtStream) {
    return emu::execute_library(workspace, size, executor);
}

aclnnStatus aclnnRmsNormGetWorkspaceSize(const aclTensor* x, const aclTensor* gamma, double epsilon, const aclTensor* y,
                                         const aclTensor* rstd, uint64_t* workspace_size, aclOpExecutor** executor) {
    if (!x || !gamma || !y || !rstd) return ACLNN_ERR_PARAM_NULLPTR;
    const bool fits = gamma->rank() == 1 && gamma->last() == x->last() && y->dims == x->dims &&
                      rstd->count() * gamma->count() == x->count() && rstd->type == emu::Dtype::F32;
    if (!fits || !emu::floats({x, gamma, y})) return ACLNN_ERR_PARAM_INVALID;
    const auto run = [x, gamma, epsilon, y, rstd] { emu::normalise(*x, *gamma, epsilon, *y, *rstd); };
    return emu::prepared(new aclOpExecutor{"aclnnRmsNorm", {x, gamma}, {y, rstd}, run}, workspace_size, executor);
}
aclnnStatus aclnnRmsNorm(void* workspace, uint64_t size, aclOpExecutor* executor, aclrtStream) {
    return emu::execute_library(workspace, size, executor);
}

aclnnStatus aclnnEmbeddingGetWorkspaceSize(const aclTensor* weight, const aclTensor* indices, const aclTensor* out,
                                           uint64_t* workspace_size, aclOpExecutor** executor) {
    if (!weight || !indices || !out) return ACLNN_ERR_PARAM_NULLPTR;
    const bool fits = weight->rank() == 2 && out->count() == indices->count() * weight->dims[1] &&
                      (indices->type == emu::Dtype::I32 || indices->type == emu::Dtype::I64) && out->type == weight->type;
    if (!fits) return ACLNN_ERR_PARAM_INVALID;
    const auto run = [weight, indices, out] {
        const int64_t width = weight->dims[1];
        for (int64_t i = 0; i < indices->count(); i++) {
            const int64_t row = int64_t(indices->get(i));
            for (int64_t c = 0; c < width; c++) out->set(i * width + c, weight->get(row * width + c));
        }
    };
    return emu::prepared(new aclOpExecutor{"aclnnEmbedding", {weight, indices}, {out}, run}, workspace_size, executor);
}
aclnnStatus aclnnEmbedding(void* workspace, uint64_t size, aclOpExecutor* executor, aclrtStream) {
    return emu::execute_library(workspace, size, executor);
}
}
