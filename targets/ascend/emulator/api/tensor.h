// LocalTensor and GlobalTensor: typed views of on-chip and of global memory.
#pragma once

#include "params.h"

namespace emu {

// One element, by name: reads and writes go through GetValue and SetValue.
template <class Tensor>
struct Cell {
    using T = typename Tensor::PrimType;
    Tensor tensor;
    uint64_t index;
    At at;

    operator T() const { return tensor.GetValue(index, at); }
    const Cell& operator=(const T value) const {
        tensor.SetValue(index, value, at);
        return *this;
    }
    const Cell& operator=(const Cell& other) const { return *this = T(other); }
    const Cell& operator+=(const T value) const { return *this = T(T(*this) + value); }
    const Cell& operator-=(const T value) const { return *this = T(T(*this) - value); }
};

}  // namespace emu

namespace AscendC {

template <typename T>
class LocalTensor {
public:
    using PrimType = T;

    LocalTensor() = default;
    // Static addressing: no queue, no pipe; `addr` in bytes, `tileSize` in elements.
    LocalTensor(TPosition pos, uint32_t addr, uint32_t tileSize, At at = At())
        : address_(emu::static_place(pos, addr, uint64_t(tileSize) * sizeof(T), at)), size_(tileSize) {}
    explicit LocalTensor(const emu::Place& place) : address_(place), size_((place.hi - place.addr) / sizeof(T)) {}

    LocalTensor operator[](const uint32_t offset) const {
        LocalTensor out = *this;
        out.address_.addr += offset * sizeof(T);
        out.size_ = offset < size_ ? size_ - offset : 0;
        return out;
    }
    template <typename U>
    LocalTensor<U> ReinterpretCast() const {
        LocalTensor<U> out(address_);
        out.SetSize(uint32_t(uint64_t(size_) * sizeof(T) / sizeof(U)));
        return out;
    }
    T GetValue(const uint32_t index, At at = At()) const {
        T out;
        emu::scalar_read(address_, uint64_t(index) * sizeof(T), &out, sizeof(T), at);
        return out;
    }
    template <typename V>
    void SetValue(const uint32_t index, const V value, At at = At()) const {
        const T stored = static_cast<T>(value);
        emu::scalar_write(address_, uint64_t(index) * sizeof(T), &stored, sizeof(T), at);
    }
    auto operator()(const uint32_t index, At at = At()) const { return emu::Cell<LocalTensor>{*this, index, at}; }
    // Old kernels lay a tensor over memory by hand: this, then a position into address_.logicPos.
    void InitBuffer(const uint32_t offset, const uint32_t elements) {
        address_.addr = address_.lo = offset;
        address_.hi = offset + (elements * uint32_t(sizeof(T)) + 31) / 32 * 32;
        size_ = elements;
    }
    void SetAddr(const emu::Place& address) { address_ = address; }
    uint32_t GetSize() const { return size_; }
    void SetSize(const uint32_t size) { size_ = size; }
    uint64_t GetPhyAddr(const uint32_t offset = 0) const { return address_.addr + uint64_t(offset) * sizeof(T); }
    int32_t GetPosition() const { return int32_t(address_.pos); }
    void SetUserTag(int32_t tag) { tag_ = tag; }
    int32_t GetUserTag() const { return tag_; }

    const emu::Place& place() const { return address_; }

    emu::Place address_;  // public on the device too

private:
    uint32_t size_ = 0;
    int32_t tag_ = 0;
};

template <typename T>
class GlobalTensor {
public:
    using PrimType = T;

    void SetGlobalBuffer(__gm__ T* buffer) { address_ = reinterpret_cast<uint64_t>(buffer); }
    void SetGlobalBuffer(__gm__ T* buffer, uint64_t size) {
        SetGlobalBuffer(buffer);
        size_ = size;
    }
    GlobalTensor operator[](const uint64_t offset) const {
        GlobalTensor out = *this;
        out.address_ += offset * sizeof(T);
        return out;
    }
    T GetValue(const uint64_t offset, At at = At()) const {
        T out;
        emu::gm_read(address_ + offset * sizeof(T), &out, sizeof(T), at);
        return out;
    }
    auto operator()(const uint64_t offset, At at = At()) const { return emu::Cell<GlobalTensor>{*this, offset, at}; }
    void SetValue(const uint64_t offset, T value, At at = At()) const {
        emu::gm_write(address_ + offset * sizeof(T), &value, sizeof(T), at);
    }
    const __gm__ T* GetPhyAddr(const uint64_t offset = 0) const {
        return reinterpret_cast<const T*>(address_ + offset * sizeof(T));
    }
    uint64_t GetSize() const { return size_; }
    void SetL2CacheHint(CacheMode) {}
    template <typename Mode>
    void SetL2CacheHint(Mode) {}

    uint64_t address() const { return address_; }

private:
    uint64_t address_ = 0;
    uint64_t size_ = 0;
};

// Writes a line of the scalar data cache back to GM and drops it.
template <typename T, CacheLine entire, DcciDst dst = DcciDst::CACHELINE_OUT>
inline void DataCacheCleanAndInvalid(const GlobalTensor<T>& gm, At at = At()) {
    emu::gm_clean(gm.address(), entire == CacheLine::ENTIRE_DATA_CACHE, at);
}

}  // namespace AscendC
