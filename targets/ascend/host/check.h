// Every launch of the model beside the trace that `dsv4c vectors` wrote: which is the first that differs?
//
// After each launch its outputs become those of the trace, so that every launch is judged on the inputs that the trace
// had for it: one that is wrong makes none behind it wrong.
#pragma once

#include <functional>
#include <set>

#include "case.h"

class Checker {
public:
    Checker(const std::filesystem::path& folder, bool keep_going) : folder_(folder), keep_going_(keep_going) {
        const std::filesystem::path trace = folder / "vectors/trace";
        if (!std::filesystem::exists(trace / "trace.json")) {
            throw std::runtime_error("there is no " + trace.string() +
                                     "; make it with `dsv4c vectors` where dsv4c is installed");
        }
        json_ = read_json(trace / "trace.json");
        data_.open(trace / "trace.bin", std::ios::binary);
    }

    // Logits of the first step, from kernels alone, beside those of the reference. In narrow dtypes one rounding can
    // turn a choice of experts or entries, so that only f32 has a bound.
    bool logits(const Bytes& found, const std::string& dtype) const {
        const Json& run = runs().front();
        const Bytes want = read_npy(folder_ / "vectors/logits.npy");
        const int64_t batch = run.at("dims").at("B").integer(), length = run.at("dims").at("S").integer();
        const int64_t vocab = static_cast<int64_t>(want.size()) / 4 / batch / length;
        Tensor row("logits", "out", "f32", {vocab});
        const double bound = json_.at("logits").number;
        int64_t near = 0, count = 0;
        for (int64_t i = 0; i < batch * length; i++) {
            if (i % length >= run.at("new").list[i / length].integer()) continue;  // padding
            const auto part = [&](const Bytes& all) {
                return Bytes(all.begin() + i * vocab * 4, all.begin() + (i + 1) * vocab * 4);
            };
            const Bytes a = part(found), b = part(want);
            near += dtype == "f32" ? difference(a, b, row, bound).first < 0 : distance(a, b, vocab) <= bound;
            count++;
        }
        std::printf("logits of %lld of %lld positions are within %.1e of the reference%s\n",
                    static_cast<long long>(near), static_cast<long long>(count), bound,
                    dtype == "f32" ? "" : " in relative L2 (in narrow dtypes a choice may turn on one rounding)");
        return near == count || dtype != "f32";
    }

    const std::vector<Json>& runs() const { return json_.at("runs").list; }
    bool good() const { return wrong_.empty(); }

    // Launches by `go` and compares. False where the check is over.
    bool launch(const Json& run, size_t number, const Kernel& kernel, const std::vector<uint8_t*>& arguments,
                const std::function<void()>& go) {
        const Json& expected = run.at("launches").list.at(number);
        Case c(expected, json_.at("tolerance"));
        if (c.kernel != kernel.name || static_cast<int>(c.tensors.size()) != kernel.tensors) {
            throw std::runtime_error("launch " + std::to_string(number) + " is " + kernel.name + ", the trace has " +
                                     c.kernel + "; run dsv4c vectors again");
        }
        std::vector<Bytes> found(c.tensors.size());
        for (size_t i = 0; i < c.tensors.size(); i++) {
            const Tensor& t = c.tensors[i];
            if (t.role == "inout") c.before[i] = fetched(arguments[i], t.bytes());
            if (t.role == "out") check(aclrtMemset(arguments[i], t.bytes(), 0, t.bytes()), "aclrtMemset");
            if (t.written()) c.after[i] = stored(expected.at("tensors").list[i].at("offset").integer(), t.bytes());
        }
        Verdict verdict;
        try {
            go();
            for (size_t i = 0; i < c.tensors.size(); i++) {
                if (c.tensors[i].written()) found[i] = fetched(arguments[i], c.tensors[i].bytes());
            }
            verdict = compare(c, found);
        } catch (const std::exception& error) {
            for (size_t i = 0; i < c.tensors.size(); i++) found[i] = c.after[i];
            verdict = {false, INFINITY, std::string("  error      ") + error.what() + "\n"};
        }
        count_++;
        if (!verdict.good) report(run, number, c, arguments, found, verdict);
        if (verdict.good && verdict.worst > worst_) worst_ = verdict.worst, worst_at_ = c.kernel + " at " + c.where;
        for (size_t i = 0; i < c.tensors.size(); i++) {
            if (!c.tensors[i].written() || c.after[i].empty()) continue;
            const int64_t n = c.tensors[i].bytes();
            check(aclrtMemcpy(arguments[i], n, c.after[i].data(), n, ACL_MEMCPY_HOST_TO_DEVICE), "to the device");
        }
        return verdict.good || keep_going_;
    }

    void summary() const {
        if (!good()) {
            std::printf("%zu kernels differ in %d launches\n", wrong_.size(), count_);
            return;
        }
        std::printf("%d launches of %zu steps agree with the trace", count_, runs().size());
        if (!worst_at_.empty()) std::printf("; worst %.1e of the largest of a row, %s", worst_, worst_at_.c_str());
        std::printf("\n");
    }

private:
    static Bytes fetched(const uint8_t* from, int64_t bytes) {
        Bytes out(bytes);
        check(aclrtMemcpy(out.data(), bytes, from, bytes, ACL_MEMCPY_DEVICE_TO_HOST), "from the device");
        return out;
    }

    Bytes stored(int64_t offset, int64_t bytes) {
        Bytes out(bytes);
        data_.seekg(offset);
        if (!data_.read(reinterpret_cast<char*>(out.data()), bytes))
            throw std::runtime_error("vectors/trace/trace.bin ends early");
        return out;
    }

    // A kernel is reported once.
    void report(const Json& run, size_t number, Case& c, const std::vector<uint8_t*>& arguments,
                const std::vector<Bytes>& found, const Verdict& verdict) {
        if (!wrong_.insert(c.kernel).second) return;
        std::filesystem::path to = folder_ / "mismatch";
        if (keep_going_) to /= c.kernel;
        for (size_t i = 0; i < c.tensors.size(); i++) {
            if (c.tensors[i].role == "in") c.before[i] = fetched(arguments[i], c.tensors[i].bytes());
        }
        std::filesystem::remove_all(to);
        c.save(to, found);
        std::string sizes;
        for (const auto& [name, n] : c.sizes) sizes += (sizes.empty() ? "" : ", ") + name + " = " + std::to_string(n);
        std::printf(
            "launch %zu of %s differs\n  kernel     %s (kernels/%s.cpp), %s\n  place      %s\n%s  stored     %s, for "
            "run_kernel --case\n",
            number, run.at("entry").text.c_str(), c.kernel.c_str(), c.kernel.c_str(), sizes.c_str(), c.where.c_str(),
            verdict.text.c_str(), to.string().c_str());
    }

    std::filesystem::path folder_;
    bool keep_going_;
    Json json_;
    std::ifstream data_;
    int count_ = 0;
    double worst_ = 0;
    std::string worst_at_;
    std::set<std::string> wrong_;
};
