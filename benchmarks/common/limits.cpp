// What this machine can do at most: limits THREADS prints "read GB/s" and "fma GFLOP/s", each the best of several ways.
// Vectors of 64 bytes are GCC's own: the compiler cuts them into what the CPU has.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <thread>
#include <vector>

typedef float Lanes __attribute__((vector_size(64)));
constexpr size_t LINE = sizeof(Lanes), SIZE = size_t(1) << 30, CHAINS = 8;
static volatile float sink;

template <class Work> double seconds(int threads, Work work) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; t++) pool.emplace_back([=] { work(t); });
    for (auto& t : pool) t.join();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Sums a part of memory, CHAINS lines a turn, asking for what lies `ahead` lines further; 0 leaves that to the CPU.
static void read_part(const char* begin, size_t size, size_t ahead) {
    Lanes sums[CHAINS] = {};
    for (size_t at = 0; at < size; at += CHAINS * LINE)
        for (size_t c = 0; c < CHAINS; c++) {
            const char* line = begin + at + c * LINE;
            if (ahead) __builtin_prefetch(line + ahead * LINE, 0, 3);
            sums[c] += *(const Lanes*)line;
        }
    for (size_t c = 1; c < CHAINS; c++) sums[0] += sums[c];
    sink = sums[0][0];
}

constexpr int REGISTERS = 16;  // enough for two units with a latency of four cycles, few enough to stay in registers

static void multiply_add(long turns) {
    Lanes sums[REGISTERS], a = {}, b = {};
    a += 0.5f, b += 1.0f;
    for (int r = 0; r < REGISTERS; r++) sums[r] = b * (r + 0.3f);  // all different and none a fixed point, or the compiler drops some
    for (long i = 0; i < turns; i++)
        for (int r = 0; r < REGISTERS; r++) sums[r] = sums[r] * a + b;
    for (int r = 1; r < REGISTERS; r++) sums[0] += sums[r];
    sink = sums[0][0];
}

int main(int count, char** arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    char* memory = (char*)mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    madvise(memory, SIZE, MADV_HUGEPAGE);
    memset(memory, 0, SIZE);
    size_t part = SIZE / threads / (CHAINS * LINE) * (CHAINS * LINE);
    double read = 0, fma = 0;
    for (size_t ahead : {0, 16, 32, 64, 128})
        for (int turn = 0; turn < 3; turn++) {
            double s = seconds(threads, [=](int t) { read_part(memory + t * part, part, ahead); });
            if (part * threads / s / 1e9 > read) read = part * threads / s / 1e9;
        }
    constexpr long TURNS = 20000000;
    for (int turn = 0; turn < 5; turn++) {
        double s = seconds(threads, [](int) { multiply_add(TURNS); });
        double rate = 2.0 * REGISTERS * (LINE / 4) * TURNS * threads / s / 1e9;
        if (rate > fma) fma = rate;
    }
    printf("%.3f %.3f\n", read, fma);
}
