// Findings: what is wrong, where, and what to add. Equal findings are counted, not repeated.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "at.h"

namespace emu {

struct Finding {
    std::string kind;  // race, bounds, undefined, deadlock, ...
    std::string where;
    std::string text;
    std::string fix;
    int times = 1;
};

inline std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
inline std::string format(const char* pattern, ...) {
    va_list args, again;
    va_start(args, pattern);
    va_copy(again, args);
    std::string out(std::vsnprintf(nullptr, 0, pattern, args), '\0');
    std::vsnprintf(out.data(), out.size() + 1, pattern, again);
    va_end(args);
    va_end(again);
    return out;
}

// The file's own name: a report must not depend on where the sources lie.
inline std::string name_of(At at) {
    const std::string path = at.file;
    return path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(at.line);
}

class Report {
public:
    static constexpr size_t kMost = 200;  // distinct findings kept; more is noise

    std::string kernel;  // the running one, named in every finding
    std::string core;    // the running core

    void add(const std::string& kind, At at, const std::string& text, const std::string& fix) {
        const std::string where = kernel.empty() ? name_of(at) : kernel + ": " + name_of(at);
        // Cores and iterations run the same text: the first that fails speaks for all, whatever its numbers are.
        std::string key = kind + where;
        for (char c : text) {
            if (c < '0' || c > '9') key += c;
        }
        const auto found = seen_.find(key);
        if (found != seen_.end()) {
            findings_[found->second].times++;
            return;
        }
        if (findings_.size() >= kMost) return;
        seen_[key] = findings_.size();
        findings_.push_back({kind, where, core.empty() ? text : text + " (first on " + core + ")", fix, 1});
    }

    size_t count() const { return findings_.size(); }

    std::string text() const {
        std::string out;
        for (const Finding& f : findings_) {
            out += f.where + ": " + f.kind + ": " + f.text;
            if (f.times > 1) out += " [" + std::to_string(f.times) + " times]";
            if (!f.fix.empty()) out += "; " + f.fix;
            out += "\n";
        }
        return out;
    }

    // The same as JSON, for programs.
    std::string json() const {
        std::string out = "[";
        for (const Finding& f : findings_) {
            out += out.size() > 1 ? ", " : "";
            out += "{\"kind\": " + quoted(f.kind) + ", \"where\": " + quoted(f.where) +
                   ", \"text\": " + quoted(f.text) + ", \"fix\": " + quoted(f.fix) +
                   ", \"times\": " + std::to_string(f.times) + "}";
        }
        return out + "]";
    }

    void clear() {
        findings_.clear();
        seen_.clear();
    }

private:
    static std::string quoted(const std::string& text) {
        std::string out = "\"";
        for (char c : text) {
            if (c == '"' || c == '\\') out += '\\';
            out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
        }
        return out + "\"";
    }

    std::vector<Finding> findings_;
    std::map<std::string, size_t> seen_;
};

// The report of this program or shared object. Defined by the machine, not inline here: statics of inline functions are
// shared by all shared objects of a process.
Report& report();

}  // namespace emu
