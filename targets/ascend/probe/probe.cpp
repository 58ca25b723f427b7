// Establishes by execution what emitted kernels rely on: one launch a fact, the result beside what the text asks for.
#include "facts.h"

namespace {

std::string shown(const Bytes& data, const std::string& dtype, int64_t index) {
    const auto take = [&](auto value) {
        std::memcpy(&value, data.data() + index * sizeof(value), sizeof(value));
        return value;
    };
    char text[64];
    if (dtype == "f32") {
        std::snprintf(text, sizeof text, "%.9g", take(float{}));
    } else if (dtype == "i32") {
        std::snprintf(text, sizeof text, "%d", take(int32_t{}));
    } else {
        std::snprintf(text, sizeof text, "0x%0*x", dtype == "u8" ? 2 : 4,
                      dtype == "u8" ? take(uint8_t{}) : take(uint16_t{}));
    }
    return text;
}

// The first element that differs; -1 where none does.
int64_t first_wrong(const Fact& fact, const Bytes& found, int64_t width) {
    for (int64_t i = 0; (i + 1) * width <= std::min<int64_t>(fact.compared, static_cast<int64_t>(found.size())); i++) {
        if (std::memcmp(found.data() + i * width, fact.want.data() + i * width, width) == 0) continue;
        if (fact.tolerance > 0) {
            float a, b;
            std::memcpy(&a, found.data() + i * 4, 4);
            std::memcpy(&b, fact.want.data() + i * 4, 4);
            if (std::fabs(a - b) <= fact.tolerance * std::fabs(b)) continue;
        }
        return i;
    }
    return -1;
}

bool run(const Fact& fact, Launch launch, aclrtStream stream) {
    const std::string dtype = fact.dtype;
    const int64_t width = dtype == "u8" ? 1 : dtype == "f32" || dtype == "i32" ? 4 : 2;
    try {
        const Bytes found = launched(launch, 1, stream, fact.number, fact.in, Bytes(fact.want.size(), kUntouched));
        const int64_t wrong = first_wrong(fact, found, width), at = std::max<int64_t>(wrong, 0);
        std::printf("%-6s %-5s %-92s %5lld  %-14s %s\n", wrong < 0 ? "ok" : "WRONG", fact.section, fact.text,
                    static_cast<long long>(at), shown(fact.want, dtype, at).c_str(), shown(found, dtype, at).c_str());
        return wrong < 0;
    } catch (const std::exception& error) {
        std::printf("%-6s %-5s %-92s %s\n", "FAILED", fact.section, fact.text, error.what());
        return false;
    }
}

}  // namespace

int main(int, char** argv) {
    return reported(argv[0], [] {
        const aclrtStream stream = opened();
        std::printf("%-6s %-5s %-92s %5s  %-14s %s\n", "", "spec", "fact", "at", "expected", "found");
        int good = 0, count = 0;
        for (const auto& [facts, launch] :
             {std::pair(vector_facts(), kProbeVector), std::pair(cube_facts(), kProbeCube)}) {
            for (const Fact& each : facts) good += run(each, launch, stream), count++;
        }
        std::printf("%d of %d facts hold on %s\n", good, count, aclrtGetSocName());
        return good == count ? 0 : 1;
    });
}
