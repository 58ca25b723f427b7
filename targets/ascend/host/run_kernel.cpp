// Launches one kernel of this folder with a stored case and compares what it writes.
//
//   run_kernel                     the kernels and their cases
//   run_kernel rms_norm            every kernel whose name begins so, all cases; `all` for every kernel
//   run_kernel --case mismatch     a case in a folder, such as one that run --check left
#include <set>

#include "case.h"

namespace {

const Kernel& kernel_of(const std::string& name) {
    for (int i = 0; i < kKernelCount; i++) {
        if (name == kKernels[i].name) return kKernels[i];
    }
    throw std::runtime_error("no kernel " + name + " in this build");
}

// Outputs of the case's kernel for its inputs; what is only written starts as zeros.
std::vector<Bytes> launched(const Case& c, aclrtStream stream) {
    const Kernel& kernel = kernel_of(c.kernel);
    if (static_cast<int>(c.tensors.size()) != kernel.tensors)
        throw std::runtime_error(c.kernel + ": the case is of another kernel");
    const bool vector = kernel.core == Core::Vector;
    const int64_t cores = cores_of(vector ? ACL_DEV_ATTR_VECTOR_CORE_NUM : ACL_DEV_ATTR_CUBE_CORE_NUM);
    std::vector<Block> blocks;
    for (size_t i = 0; i < c.tensors.size(); i++) {
        blocks.emplace_back(c.tensors[i].bytes());
        if (c.before[i].empty()) {
            blocks.back().clear();
        } else {
            blocks.back().upload(c.before[i].data(), c.tensors[i].bytes());
        }
    }
    blocks.emplace_back(kernel.workspace * cores);
    std::vector<int64_t> sizes;
    for (const auto& size : c.sizes) sizes.push_back(size.second);
    if (sizes.empty()) sizes.push_back(0);
    blocks.emplace_back(static_cast<int64_t>(sizes.size()) * 8);
    blocks.back().upload(sizes.data(), static_cast<int64_t>(sizes.size()) * 8);
    std::vector<uint8_t*> arguments;
    for (const Block& each : blocks) arguments.push_back(each.at(0));
    kernel.launch(static_cast<uint32_t>(cores), stream, arguments.data(), sizes.data());
    check(aclrtSynchronizeStream(stream), "the stream");
    check_messages();
    std::vector<Bytes> found(c.tensors.size());
    for (size_t i = 0; i < c.tensors.size(); i++) {
        if (!c.tensors[i].written()) continue;
        found[i].resize(c.tensors[i].bytes());
        blocks[i].download(found[i].data(), c.tensors[i].bytes());
    }
    return found;
}

#ifdef DSV4C_EMULATOR
extern "C" const char* dsv4c_emu_cycles();

// The last launch by the documented rates: its longest chain, and busy cycles of each pipe of the busiest core.
void show_cycles() {
    const Json all = JsonReader(dsv4c_emu_cycles()).read();
    const Json& launch = all.list.back();
    std::printf("      %.0f cycles:", launch.at("cycles").number);
    for (const char* pipe : {"V", "M", "MTE1", "MTE2", "MTE3", "FIX"}) {
        if (const double busy = launch.at(pipe).number; busy > 0) std::printf(" %s %.0f", pipe, busy);
    }
    std::printf("\n");
}
#endif

std::string sizes_of(const Case& c) {
    std::string out;
    for (const auto& [name, n] : c.sizes) out += (out.empty() ? "" : " ") + name + "=" + std::to_string(n);
    return out;
}

bool run_case(const std::filesystem::path& folder, aclrtStream stream) {
    const Case c = Case::load(folder);
    try {
        const Verdict verdict = compare(c, launched(c, stream));
        std::printf("%s  %-36s %-24s worst %.1e\n%s", verdict.good ? "PASS" : "FAIL", c.kernel.c_str(),
                    sizes_of(c).c_str(), verdict.worst, verdict.text.c_str());
#ifdef DSV4C_EMULATOR
        show_cycles();
#endif
        return verdict.good;
    } catch (const std::exception& error) {
        std::printf("FAIL  %-36s %-24s\n  %s\n", c.kernel.c_str(), sizes_of(c).c_str(), error.what());
        return false;
    }
}

// Folders of cases of the kernels whose names begin so.
std::set<std::filesystem::path> cases_of(const std::filesystem::path& vectors, const std::string& begin) {
    std::set<std::filesystem::path> out;
    if (!std::filesystem::is_directory(vectors)) {
        throw std::runtime_error("there is no " + vectors.string() +
                                 "; make it with `dsv4c vectors` where dsv4c is installed");
    }
    for (const auto& kernel : std::filesystem::directory_iterator(vectors)) {
        if (begin != "all" && kernel.path().filename().string().rfind(begin, 0) != 0) continue;
        for (const auto& each : std::filesystem::directory_iterator(kernel)) out.insert(each.path());
    }
    if (out.empty()) throw std::runtime_error("no case of a kernel " + begin);
    return out;
}

int run(int argc, char** argv) {
    const std::filesystem::path home = std::filesystem::path(argv[0]).parent_path(), vectors = home / "vectors/kernels";
    if (argc == 1) {
        for (const auto& each : cases_of(vectors, "all")) {
            const Case c = Case::load(each);
            std::printf("%-36s %-24s %s\n", c.kernel.c_str(), sizes_of(c).c_str(), c.where.c_str());
        }
        return 0;
    }
    const bool given = argc == 3 && std::string(argv[1]) == "--case";
    if (!given && argc != 2)
        throw std::runtime_error("use run_kernel NAME, run_kernel all or run_kernel --case FOLDER");
    const aclrtStream stream = opened();
    int count = 0, good = 0;
    for (const auto& folder : given ? std::set<std::filesystem::path>{argv[2]} : cases_of(vectors, argv[1])) {
        good += run_case(folder, stream);
        count++;
    }
    std::printf("%d of %d cases pass\n", good, count);
    return good == count ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    return reported(argv[0], [&] { return run(argc, argv); });
}
