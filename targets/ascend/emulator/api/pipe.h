// TPipe, queues and buffers. All state is the machine's; these objects hold handles.
#pragma once

#include "tensor.h"

namespace AscendC {

template <TPosition src, TPosition dst, int32_t depth, auto mask = 0>
class TQueBind {
public:
    static constexpr TPosition srcPosition = src;
    static constexpr TPosition dstPosition = dst;

    template <typename T>
    LocalTensor<T> AllocTensor(At at = At()) {
        static_assert(depth != 0, "depth 0 takes the in-place form AllocTensor(tensor)");
        return LocalTensor<T>(emu::queue_alloc(handle_, at));
    }
    template <typename T>
    void AllocTensor(LocalTensor<T>& tensor, At at = At()) {
        tensor = LocalTensor<T>(emu::queue_alloc(handle_, at));
    }
    template <typename T>
    void FreeTensor(const LocalTensor<T>& tensor, At at = At()) {
        emu::queue_free(handle_, tensor.place(), at);
    }
    template <typename T>
    bool EnQue(const LocalTensor<T>& tensor, At at = At()) {
        emu::queue_enque(handle_, tensor.place(), at);
        return true;
    }
    template <TPosition from, TPosition to, typename T>
    bool EnQue(const LocalTensor<T>& tensor, At at = At()) {
        emu::queue_enque(handle_, tensor.place(), at);
        return true;
    }
    template <typename T>
    LocalTensor<T> DeQue(At at = At()) {
        return LocalTensor<T>(emu::queue_deque(handle_, at));
    }
    template <typename T>
    void DeQue(LocalTensor<T>& tensor, At at = At()) {
        tensor = LocalTensor<T>(emu::queue_deque(handle_, at));
    }
    template <TPosition from, TPosition to, typename T>
    LocalTensor<T> DeQue(At at = At()) {
        return DeQue<T>(at);
    }
    bool VacantInQue() const { return emu::queue_enqueued(handle_) < depth; }
    bool HasTensorInQue() const { return emu::queue_enqueued(handle_) > 0; }
    int32_t GetTensorCountInQue() const { return emu::queue_enqueued(handle_); }
    bool HasIdleBuffer() const { return emu::queue_idle(handle_) > 0; }

    void open(uint8_t num, uint32_t len, At at) { handle_ = emu::queue_init(src, dst, depth, num, len, at); }

private:
    emu::QueueHandle handle_;
};

// The other end of a queue that has one natural pair.
constexpr TPosition emu_source_of(TPosition pos) {
    return pos == TPosition::VECIN || pos == TPosition::A1 || pos == TPosition::B1 || pos == TPosition::C1
               ? TPosition::GM
           : pos == TPosition::VECOUT ? TPosition::VECOUT
           : pos == TPosition::A2     ? TPosition::A1
           : pos == TPosition::B2     ? TPosition::B1
           : pos == TPosition::C2     ? TPosition::C1
                                      : pos;
}
constexpr TPosition emu_destination_of(TPosition pos) {
    return pos == TPosition::VECOUT ? TPosition::GM : pos == TPosition::CO1 ? TPosition::CO2 : pos;
}

template <TPosition pos, int32_t depth, auto mask = 0>
class TQue : public TQueBind<emu_source_of(pos), emu_destination_of(pos), depth, mask> {};

template <TPosition pos = TPosition::LCM>
class TBuf {
public:
    template <typename T>
    LocalTensor<T> Get() {
        return LocalTensor<T>(place_);
    }
    template <typename T>
    LocalTensor<T> Get(uint32_t len) {
        return part<T>(len, 0);
    }
    template <typename T>
    LocalTensor<T> GetWithOffset(uint32_t size, uint32_t bufOffset) {
        return part<T>(size, bufOffset);
    }
    uint32_t GetBufLen() const { return place_.hi - place_.lo; }

    void open(uint32_t len, At at) { place_ = emu::buffer_init(pos, len, at); }

private:
    template <typename T>
    LocalTensor<T> part(uint32_t elements, uint32_t offset) {
        emu::Place place = place_;
        // A part has bounds of its own, its size rounded up to whole blocks as a buffer's is.
        place.addr += offset;
        place.lo = place.addr;
        const uint64_t end = place.lo + (uint64_t(elements) * sizeof(T) + 31) / 32 * 32;
        if (end < place.hi) place.hi = uint32_t(end);
        LocalTensor<T> out(place);
        out.SetSize(elements);
        return out;
    }
    emu::Place place_;
};

// Memory that buffers are taken from in turns: Reset starts over.
template <TPosition pos, uint32_t bufIDSize = 4>
class TBufPool {
public:
    template <class Q>
    bool InitBuffer(Q& queue, uint8_t num, uint32_t len, At at = At()) {
        emu::pool_enter(&pool_);
        queue.open(num, len, at);
        emu::pool_leave();
        return true;
    }
    template <TPosition at_pos>
    bool InitBuffer(TBuf<at_pos>& buffer, uint32_t len, At at = At()) {
        emu::pool_enter(&pool_);
        buffer.open(len, at);
        emu::pool_leave();
        return true;
    }
    void Reset() { pool_.used = 0; }

    void open(uint32_t len, At at) { pool_.place = emu::buffer_init(pos, len, at); }
    void share(const TBufPool& other) { pool_.place = other.pool_.place; }

private:
    emu::Pool pool_;
};

class TPipe {
public:
    TPipe(At at = At()) { emu::pipe_open(at); }
    explicit TPipe(std::nullptr_t) : owner_(false) {}  // what GetTPipePtr gives: opens nothing
    TPipe(const TPipe&) = delete;
    ~TPipe() {
        if (owner_) emu::pipe_close();
    }
    void Init() {}
    void Destroy() { emu::pipe_close(); }
    void Reset(At at = At()) { emu::pipe_reset(at); }
    template <class Q>
    bool InitBuffer(Q& queue, uint8_t num, uint32_t len, At at = At()) {
        queue.open(num, len, at);
        return true;
    }
    template <TPosition pos>
    bool InitBuffer(TBuf<pos>& buffer, uint32_t len, At at = At()) {
        buffer.open(len, at);
        return true;
    }
    template <TPosition pos, uint32_t ids>
    bool InitBufPool(TBufPool<pos, ids>& pool, uint32_t len, At at = At()) {
        pool.open(len, at);
        return true;
    }
    template <TPosition pos, uint32_t ids>
    bool InitBufPool(TBufPool<pos, ids>& pool, uint32_t, TBufPool<pos, ids>& shared, At = At()) {
        pool.share(shared);
        return true;
    }
    uint64_t GetBaseAddr(int8_t) { return 0; }
    template <HardEvent event>
    TEventID AllocEventID(At at = At()) {
        return TEventID(emu::alloc_event(event, at));
    }
    TEventID FetchEventID(HardEvent event) { return TEventID(emu::fetch_event(event)); }
    template <HardEvent event>
    TEventID FetchEventID() {
        return TEventID(emu::fetch_event(event));
    }
    template <HardEvent event>
    void ReleaseEventID(TEventID id, At at = At()) {
        emu::release_event(event, id, at);
    }

private:
    bool owner_ = true;
};

// Event ids do not depend on which TPipe object asks: the machine knows the running core.
inline TPipe* GetTPipePtr() {
    static TPipe shared(nullptr);
    return &shared;
}

// Linear static allocation; not to be mixed with TPipe.
template <Hardware hard = Hardware::UB>
class LocalMemAllocator {
public:
    uint32_t GetCurAddr() const { return next_; }
    template <TPosition pos, class T, uint32_t tileSize>
    LocalTensor<T> Alloc(At at = At()) {
        return take<T>(pos, tileSize, at);
    }
    template <class T, uint32_t tileSize>
    LocalTensor<T> Alloc(At at = At()) {
        return take<T>(natural(), tileSize, at);
    }
    template <TPosition pos, class T>
    LocalTensor<T> Alloc(uint32_t tileSize, At at = At()) {
        return take<T>(pos, tileSize, at);
    }
    template <class T>
    LocalTensor<T> Alloc(uint32_t tileSize, At at = At()) {
        return take<T>(natural(), tileSize, at);
    }

private:
    static constexpr TPosition natural() {
        return hard == Hardware::UB     ? TPosition::VECCALC
               : hard == Hardware::L1   ? TPosition::A1
               : hard == Hardware::L0A  ? TPosition::A2
               : hard == Hardware::L0B  ? TPosition::B2
               : hard == Hardware::L0C  ? TPosition::CO1
               : hard == Hardware::BIAS ? TPosition::C2
                                        : TPosition::C2PIPE2GM;
    }
    template <class T>
    LocalTensor<T> take(TPosition pos, uint32_t tileSize, At at) {
        constexpr uint32_t align = hard == Hardware::L0A || hard == Hardware::L0B ? 512
                                   : hard == Hardware::L0C                        ? 1024
                                                                                  : 64;
        const uint32_t step = hard == Hardware::UB || hard == Hardware::L1 ? 32 : align;
        LocalTensor<T> out(pos, next_, tileSize, at);
        next_ += (tileSize * uint32_t(sizeof(T)) + step - 1) / step * step;
        return out;
    }
    uint32_t next_ = 0;
};

}  // namespace AscendC
