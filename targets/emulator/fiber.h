// Deterministic fibers: a core runs until it must wait; a scheduler then picks the next one.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <functional>
#include <vector>

namespace emu {

class Fiber {
public:
    // Kernels keep their objects on the stack; the page below it faults instead of corrupting a neighbour.
    static constexpr size_t kStack = 512 * 1024;

    explicit Fiber(std::function<void()> body) : body_(std::move(body)) {}
    ~Fiber() {
        if (stack_) munmap(stack_, kStack);
    }
    Fiber(const Fiber&) = delete;

    bool done() const { return done_; }

    // From the scheduler: run until the body waits or ends.
    void resume() {
        if (!stack_) start();
        swapcontext(&outside_, &inside_);
        if (done_ && stack_) {
            munmap(stack_, kStack);
            stack_ = nullptr;
        }
    }

    // From the body: back to the scheduler.
    void wait() { swapcontext(&inside_, &outside_); }

private:
    void start() {
        stack_ = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(stack_, static_cast<size_t>(getpagesize()), PROT_NONE);
        getcontext(&inside_);
        inside_.uc_stack.ss_sp = stack_;
        inside_.uc_stack.ss_size = kStack;
        inside_.uc_link = nullptr;
        const auto self = reinterpret_cast<uintptr_t>(this);
        makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, unsigned(self >> 32), unsigned(self));
    }

    static void enter(unsigned high, unsigned low) {
        auto* self = reinterpret_cast<Fiber*>((uintptr_t(high) << 32) | low);
        self->body_();
        self->done_ = true;
        self->wait();
    }

    std::function<void()> body_;
    ucontext_t outside_{}, inside_{};
    void* stack_ = nullptr;
    bool done_ = false;
};

// A seeded generator of our own, because the standard library's differ between implementations.
class Random {
public:
    explicit Random(uint64_t seed = 0) : state_(seed * 2654435769u + 88172645463325252ull) {}
    uint32_t below(uint32_t n) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return n ? uint32_t((state_ >> 16) % n) : 0;
    }

private:
    uint64_t state_;
};

}  // namespace emu
