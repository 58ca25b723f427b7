// The first program to run on a new board: does the tool chain, a launch and the model of flags work at all?
#include <cmath>

#include "smoke.h"

namespace {

struct Smoke {
    const char *name, *proves;
    aclrtDevAttr cores;
};

const Smoke kKinds[] = {
    {"vector", "launch on every vector core, tiling data, GM to UB and back, flags between MTE2, V and MTE3",
     ACL_DEV_ATTR_VECTOR_CORE_NUM},
    {"cube", "launch on every cube core, Nd2Nz, LoadData, a Mmad of 16 x 16 x 16, Fixpipe, flags between them",
     ACL_DEV_ATTR_CUBE_CORE_NUM},
    {"mixed", "both kinds of core in one launch, and a hand-over in each direction", ACL_DEV_ATTR_CUBE_CORE_NUM},
};
constexpr int64_t kNumber = 1000;

uint16_t half_of(int value) {  // integers below 2048
    if (value == 0) return 0;
    const int exponent = std::ilogb(value);
    return static_cast<uint16_t>((exponent + 15) << 10 | (value << (10 - exponent) & 1023));
}

int element(int i) { return i * 7 % 13; }

// Input and expected output of one kind on so many cores.
std::pair<Bytes, Bytes> numbers(int kind, int64_t cores) {
    std::vector<float> want;
    if (kind == 0) {
        std::vector<float> x(cores * 64);
        for (size_t i = 0; i < x.size(); i++) {
            x[i] = static_cast<float>(element(static_cast<int>(i)));
            want.push_back(x[i] + kNumber + static_cast<float>(i / 64));
        }
        return {bytes_of(x), bytes_of(want)};
    }
    std::vector<uint16_t> ab(512);
    std::vector<float> x(256);
    for (int i = 0; i < 512; i++) ab[i] = half_of(element(i));
    for (int i = 0; i < 256; i++) x[i] = static_cast<float>(element(i));
    for (int64_t i = 0; i < cores * 256; i++) {
        const int row = static_cast<int>(i % 256 / 16), col = static_cast<int>(i % 16);
        int sum = 0;
        for (int k = 0; k < 16; k++) {
            sum += kind == 1 ? element(row * 16 + k) * element(256 + col * 16 + k)
                             : 4 * element(row * 16 + k) * element(col * 16 + k);
        }
        want.push_back(static_cast<float>(sum + (kind == 1 ? 0 : kNumber)));
    }
    return {kind == 1 ? bytes_of(ab) : bytes_of(x), bytes_of(want)};
}

// What a pattern of wrong numbers means.
std::string meaning(const std::vector<float>& found, const std::vector<float>& want, size_t row) {
    size_t untouched = 0, first = found.size(), last = 0, wrong = 0;
    for (size_t i = 0; i < found.size(); i++) {
        untouched += std::isnan(found[i]);
        if (found[i] == want[i]) continue;
        first = std::min(first, i);
        last = i;
        wrong++;
    }
    char text[256];
    std::snprintf(text, sizeof text, "core %zu, element %zu: expected %g, found %g; %zu of %zu are wrong\n      ",
                  first / row, first % row, want[first], found[first], wrong, found.size());
    if (untouched == found.size())
        return std::string(text) + "nothing was written: the kernel was not launched, or its arguments do not arrive";
    if (untouched)
        return std::string(text) +
               "some cores wrote nothing: fewer blocks run than were launched, or GetBlockIdx is another number";
    if (first / row == last / row && found.size() > row)
        return std::string(text) +
               "one core alone: run it again; if it stays that core, the board; if it moves, a flag";
    return std::string(text) +
           "all cores: run it again; other numbers each time are a flag that does not order, the same ones an "
           "instruction (./probe)";
}

bool run(int kind, aclrtStream stream) {
    const Smoke& smoke = kKinds[kind];
    const int64_t cores = cores_of(smoke.cores);
    const auto [in, want] = numbers(kind, cores);
    std::string why;
    try {
        const Bytes got =
            launched(kSmoke[kind], static_cast<uint32_t>(cores), stream, kNumber, in, Bytes(want.size(), 0xFF));
        if (got == want) {
            std::printf("PASS  %-7s %lld cores: %s\n", smoke.name, static_cast<long long>(cores), smoke.proves);
            return true;
        }
        std::vector<float> found(got.size() / 4), expected(got.size() / 4);
        std::memcpy(found.data(), got.data(), got.size());
        std::memcpy(expected.data(), want.data(), want.size());
        why = meaning(found, expected, expected.size() / cores);
    } catch (const std::exception& error) {
        why = std::string(error.what()) +
              "\n      the launch itself failed: CANN's version, the driver, or --npu-arch of build.sh";
    }
    std::printf("FAIL  %-7s %lld cores: %s\n      %s\n", smoke.name, static_cast<long long>(cores), smoke.proves,
                why.c_str());
    return false;
}

}  // namespace

int main(int, char** argv) {
    return reported(argv[0], [] {
        const aclrtStream stream = opened();
        std::printf("%s\n", aclrtGetSocName());
        int good = 0;
        for (int kind = 0; kind < 3; kind++) good += run(kind, stream);
        return good == 3 ? 0 : 1;
    });
}
