// Runs the model of this folder: walks plan.json through ACL, weights from weights.bin.
//
//   run --tokens 1,2,3 --new 8
//   run --check first      every launch beside the trace of `dsv4c vectors`, up to the first that differs; or all
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "check.h"
#include "plan.h"

namespace {

constexpr int64_t kChunk = 512;  // tokens a prefill step feeds at most

struct Call {
    const Kernel* kernel;
    uint32_t blocks;
    std::vector<uint8_t*> arguments;
    std::vector<int64_t> sizes;
    std::string where;

    void launch(aclrtStream stream) { kernel->launch(blocks, stream, arguments.data(), sizes.data()); }
};

class Model {
public:
    explicit Model(std::filesystem::path folder)
        : folder_(std::move(folder)),
          manifest_(read_json(folder_ / "manifest.json")),
          plan_(read_json(folder_ / "plan.json")),
          weights_file_(folder_ / "weights.bin", std::ios::binary) {
        for (int i = 0; i < kKernelCount; i++) kernels_[kKernels[i].name] = &kKernels[i];
        vocab_ = manifest_.at("model").at("vocab").integer();
    }

    std::vector<int32_t> generate(const std::vector<int32_t>& prompt, int64_t count) {
        const int64_t capacity = static_cast<int64_t>(prompt.size()) + count;
        if (prompt.empty() || count < 1) throw std::runtime_error("give at least one token, and ask for at least one");
        if (capacity > manifest_.at("model").at("max_context").integer())
            throw std::runtime_error("longer than the context");
        clear_state({{"B", 1}, {"T", capacity}});
        std::vector<int32_t> out;
        int64_t past = 0;
        for (size_t begin = 0; begin < prompt.size(); begin += kChunk) {
            const size_t end = std::min<size_t>(prompt.size(), begin + kChunk);
            const std::vector<int32_t> fed(prompt.begin() + begin, prompt.begin() + end);
            const int32_t next = step(fed, past, capacity);
            past += static_cast<int64_t>(fed.size());
            if (end == prompt.size()) out.push_back(next);
        }
        while (static_cast<int64_t>(out.size()) < count) out.push_back(step({out.back()}, past++, capacity));
        return out;
    }

    // Every launch of the trace, then the logits. False where something differs.
    bool check_trace(bool keep_going) {
        Checker checker(folder_, keep_going);
        for (const Json& run : checker.runs()) {
            prepare(run, &run == &checker.runs().front());
            if (calls_.size() != run.at("launches").list.size())
                throw std::runtime_error("the trace has another number of launches; run dsv4c vectors again");
            for (size_t i = 0; i < calls_.size(); i++) {
                if (!checker.launch(run, i, *calls_[i].kernel, calls_[i].arguments, [&] { launch(calls_[i]); }))
                    return false;
            }
        }
        checker.summary();
        const Json& run = checker.runs().front();
        prepare(run, true);
        for (Call& call : calls_) launch(call);
        const Block& result = blocks_.at({"result", "0"});
        Bytes logits(run.at("dims").at("B").integer() * run.at("dims").at("S").integer() * vocab_ * 4);
        result.download(logits.data(), static_cast<int64_t>(logits.size()));
        return checker.logits(logits, manifest_.at("model").at("dtype").text) && checker.good();
    }

private:
    static std::vector<int32_t> integers(const Json& list) {
        std::vector<int32_t> out;
        for (const Json& each : list.list) out.push_back(static_cast<int32_t>(each.integer()));
        return out;
    }

    // A fresh state for these dimensions.
    void clear_state(const Dims& dims) {
        for (const auto& [path, type] : manifest_.at("state").fields) {  // [dtype, shape]
            const int64_t bytes = elements(type.list[1], dims) * width_of(type.list[0].text);
            blocks_.erase({"state", path});
            block("state", path, bytes).clear();
        }
    }

    // A step of the trace, ready to launch; a fresh one begins without earlier tokens.
    void prepare(const Json& run, bool fresh) {
        Dims dims;
        for (const auto& [name, size] : run.at("dims").fields) dims[name] = size.integer();
        for (const char* name : {"tokens", "past", "new"}) feed(name, integers(run.at(name)));
        if (fresh) clear_state(dims);
        blocks_.erase({"result", "0"});
        bind(run.at("entry").text, dims);
        blocks_.at({"arena", ""}).clear();  // as the trace began: kernels may leave rows that nobody reads
    }

    void launch(Call& call) {
        call.launch(stream_);
        check(aclrtSynchronizeStream(stream_), "the stream");
        check_messages();
    }

    void feed(const char* name, const std::vector<int32_t>& numbers) {
        const int64_t bytes = static_cast<int64_t>(numbers.size()) * 4;
        blocks_.erase({name, ""});
        block(name, "", bytes).upload(numbers.data(), bytes);
    }

    // The token behind these: feeds them after `past` earlier ones.
    int32_t step(const std::vector<int32_t>& tokens, int64_t past, int64_t capacity) {
        const int64_t length = static_cast<int64_t>(tokens.size());
        if (length != bound_) bind_length(length, capacity);
        const int32_t before = static_cast<int32_t>(past), fresh = static_cast<int32_t>(length);
        block("tokens", "", length * 4).upload(tokens.data(), length * 4);
        block("past", "", 4).upload(&before, 4);
        block("new", "", 4).upload(&fresh, 4);
        for (Call& call : calls_) call.launch(stream_);
        check(aclrtSynchronizeStream(stream_), "the stream");
        check_messages();
        std::vector<float> logits(vocab_);
        block("result", "0", vocab_ * 4).download(logits.data(), vocab_ * 4);
        return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    }

    void bind_length(int64_t length, int64_t capacity) {
        const std::string entry = length == 1 ? "decode" : "prefill";
        bool known = false;
        for (const Json& each : plan_.at("entries").list) known |= each.text == entry;
        blocks_.erase({"tokens", ""});
        bind(known ? entry : "step", {{"B", 1}, {"S", length}, {"T", capacity}});
        bound_ = length;
    }

    void bind(const std::string& entry, const Dims& dims) {
        int64_t arena = 0;
        const std::vector<Step> steps = Linker(plan_).link(entry, dims, arena);
        if (block("arena", "", arena).bytes() < arena) blocks_.erase({"arena", ""});
        calls_.clear();
        tilings_.clear();
        for (const Step& each : steps) bind_step(each, arena);
    }

    void bind_step(const Step& step, int64_t arena) {
        const auto found = kernels_.find(step.kernel);
        if (found == kernels_.end()) throw std::runtime_error("no kernel " + step.kernel);
        Call call{found->second, 0, {}, step.scalars, step.where};
        call.blocks = static_cast<uint32_t>(call.kernel->core == Core::Vector ? vector_cores_ : cube_cores_);
        for (const Slice& slice : step.tensors) call.arguments.push_back(place(slice, arena));
        call.arguments.push_back(block("workspace", step.kernel, call.kernel->workspace * call.blocks).at(0));
        if (call.sizes.empty()) call.sizes.push_back(0);
        const std::vector<int64_t>& sizes = call.sizes;
        tilings_.emplace_back(static_cast<int64_t>(sizes.size()) * 8);
        tilings_.back().upload(sizes.data(), static_cast<int64_t>(sizes.size()) * 8);
        call.arguments.push_back(tilings_.back().at(0));
        calls_.push_back(std::move(call));
    }

    uint8_t* place(const Slice& slice, int64_t arena) {
        if (slice.place.space == "arena") return block("arena", "", arena).at(slice.place.offset);
        if (slice.place.space == "weights") return weight(slice.place.name()).at(0);
        return block(slice.place.space, slice.place.name(), slice.bytes).at(0);
    }

    Block& block(const std::string& space, const std::string& key, int64_t bytes) {
        return blocks_.try_emplace({space, key}, bytes).first->second;
    }

    Block& weight(const std::string& name) {
        const auto found = blocks_.find({"weights", name});
        if (found != blocks_.end()) return found->second;
        const Json& entry = manifest_.at("weights").at(name);
        std::vector<char> bytes(elements(entry.at("shape"), {}) * width_of(entry.at("dtype").text));
        weights_file_.seekg(entry.at("offset").integer());
        if (!weights_file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
            throw std::runtime_error("weights.bin ends before " + name);
        }
        Block& out = block("weights", name, static_cast<int64_t>(bytes.size()));
        out.upload(bytes.data(), static_cast<int64_t>(bytes.size()));
        return out;
    }

    std::filesystem::path folder_;
    Json manifest_, plan_;
    std::ifstream weights_file_;
    aclrtStream stream_ = opened();
    int64_t vector_cores_ = cores_of(ACL_DEV_ATTR_VECTOR_CORE_NUM), cube_cores_ = cores_of(ACL_DEV_ATTR_CUBE_CORE_NUM);
    int64_t vocab_ = 0, bound_ = -1;
    std::map<std::string, const Kernel*> kernels_;
    std::map<std::pair<std::string, std::string>, Block> blocks_;
    std::vector<Block> tilings_;
    std::vector<Call> calls_;
};

std::vector<int32_t> numbers(const char* text) {
    std::vector<int32_t> out;
    std::stringstream stream(text);
    for (std::string each; std::getline(stream, each, ',');) out.push_back(std::stoi(each));
    return out;
}

int run(int argc, char** argv) {
    std::vector<int32_t> tokens;
    int64_t count = 16;
    std::string check_mode;
    std::filesystem::path folder = std::filesystem::path(argv[0]).parent_path();
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        if (option == "--tokens") {
            tokens = numbers(argv[i + 1]);
        } else if (option == "--new") {
            count = std::stoll(argv[i + 1]);
        } else if (option == "--check") {
            check_mode = argv[i + 1];
            if (check_mode != "first" && check_mode != "all")
                throw std::runtime_error("use --check first or --check all");
        } else if (option == "--folder") {
            folder = argv[i + 1];
        } else {
            throw std::runtime_error("unknown option " + option + "; use --tokens 1,2,3 --new 8");
        }
    }
    Model model(folder.empty() ? "." : folder);
    if (!check_mode.empty()) return model.check_trace(check_mode == "all") ? 0 : 1;
    const std::vector<int32_t> out = model.generate(tokens, count);
    for (size_t i = 0; i < out.size(); i++) std::printf("%s%d", i ? "," : "", out[i]);
    std::printf("\n");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return reported(argv[0], [&] { return run(argc, argv); });
}
