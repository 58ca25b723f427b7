// LocalTensor and GlobalTensor: typed views of on-chip and of global memory.
#pragma once

#include "params.h"

namespace AscendC {

template <typename T>
class LocalTensor {
public:
    using PrimType = T;

    LocalTensor() = default;
    // Static addressing: no queue, no pipe; `addr` in bytes, `tileSize` in elements.
    LocalTensor(TPosition pos, uint32_t addr, uint32_t tileSize, At at = At())
        : place_(emu::static_place(pos, addr, uint64_t(tileSize) * sizeof(T), at)), size_(tileSize) {}
    explicit LocalTensor(const emu::Place& place) : place_(place), size_((place.hi - place.addr) / sizeof(T)) {}

    LocalTensor operator[](const uint32_t offset) const {
        LocalTensor out = *this;
        out.place_.addr += offset * sizeof(T);
        out.size_ = offset < size_ ? size_ - offset : 0;
        return out;
    }
    template <typename U>
    LocalTensor<U> ReinterpretCast() const {
        LocalTensor<U> out(place_);
        out.SetSize(uint32_t(uint64_t(size_) * sizeof(T) / sizeof(U)));
        return out;
    }
    T GetValue(const uint32_t index, At at = At()) const {
        T out;
        emu::scalar_read(place_, uint64_t(index) * sizeof(T), &out, sizeof(T), at);
        return out;
    }
    template <typename V>
    void SetValue(const uint32_t index, const V value, At at = At()) const {
        const T stored = static_cast<T>(value);
        emu::scalar_write(place_, uint64_t(index) * sizeof(T), &stored, sizeof(T), at);
    }
    T operator()(const uint32_t index) const { return GetValue(index); }
    uint32_t GetSize() const { return size_; }
    void SetSize(const uint32_t size) { size_ = size; }
    uint64_t GetPhyAddr(const uint32_t offset = 0) const { return place_.addr + uint64_t(offset) * sizeof(T); }
    int32_t GetPosition() const { return int32_t(place_.pos); }
    void SetUserTag(int32_t tag) { tag_ = tag; }
    int32_t GetUserTag() const { return tag_; }

    const emu::Place& place() const { return place_; }

private:
    emu::Place place_;
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
    T operator()(const uint64_t offset) const { return GetValue(offset); }
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
