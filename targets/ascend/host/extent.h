// Sizes of the plan: expressions over the dimensions B, S, T, evaluated when those are known.
#pragma once

#include <cctype>
#include <map>

#include "json.h"

using Dims = std::map<std::string, int64_t>;

class Extent {
public:
    Extent(const std::string& text, const Dims& dims) : text_(text), dims_(dims) {}

    int64_t value() {
        const int64_t out = sum();
        space();
        if (at_ != text_.size()) throw std::runtime_error("extent " + text_ + ": not understood");
        return out;
    }

private:
    void space() {
        while (at_ < text_.size() && text_[at_] == ' ') at_++;
    }
    bool take(const std::string& sign) {
        space();
        if (text_.compare(at_, sign.size(), sign) != 0) return false;
        at_ += sign.size();
        return true;
    }
    int64_t sum() {
        int64_t out = product();
        while (true) {
            if (take("+")) {
                out += product();
            } else if (take("-")) {
                out -= product();
            } else {
                return out;
            }
        }
    }
    int64_t product() {
        int64_t out = factor();
        while (true) {
            if (take("//")) {
                const int64_t by = factor();
                out = out / by - (out % by != 0 && (out < 0) != (by < 0));  // rounds down, as the plan means it
            } else if (take("*")) {
                out *= factor();
            } else {
                return out;
            }
        }
    }
    int64_t factor() {
        if (take("-")) return -factor();
        if (take("(")) {
            const int64_t out = sum();
            if (!take(")")) throw std::runtime_error("extent " + text_ + ": no closing bracket");
            return out;
        }
        space();
        const size_t begin = at_;
        while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) at_++;
        const std::string word = text_.substr(begin, at_ - begin);
        if (word.empty()) throw std::runtime_error("extent " + text_ + ": not understood");
        if (std::isdigit(static_cast<unsigned char>(word[0]))) return std::stoll(word);
        const auto found = dims_.find(word);
        if (found == dims_.end()) throw std::runtime_error("extent " + text_ + ": no dimension " + word);
        return found->second;
    }

    const std::string& text_;
    const Dims& dims_;
    size_t at_ = 0;
};

inline int64_t extent(const Json& value, const Dims& dims) {
    return value.kind == Json::Number ? value.integer() : Extent(value.text, dims).value();
}

inline int64_t elements(const Json& shape, const Dims& dims) {
    int64_t out = 1;
    for (const Json& each : shape.list) out *= extent(each, dims);
    return out;
}

inline int64_t width_of(const std::string& dtype) {
    static const std::map<std::string, int64_t> widths = {{"f32", 4}, {"i32", 4}, {"bf16", 2}, {"f16", 2},
                                                          {"i64", 8}, {"i8", 1},  {"bool", 1}, {"f8e4m3", 1}};
    const auto found = widths.find(dtype);
    if (found == widths.end()) throw std::runtime_error("no dtype " + dtype);
    return found->second;
}
