// JSON as the artefact's manifest and plan have it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct Json {
    enum Kind { Null, Bool, Number, Text, List, Object } kind = Null;
    double number = 0;
    std::string text;
    std::vector<Json> list;
    std::vector<std::pair<std::string, Json>> fields;

    const Json* find(const std::string& name) const {
        for (const auto& [key, value] : fields) {
            if (key == name) return &value;
        }
        return nullptr;
    }
    const Json& at(const std::string& name) const {
        if (const Json* found = find(name)) return *found;
        throw std::runtime_error("no field " + name);
    }
    int64_t integer() const { return static_cast<int64_t>(number); }
};

class JsonReader {
public:
    explicit JsonReader(std::string text) : text_(std::move(text)) {}

    Json read() {
        Json value = any();
        space();
        if (at_ != text_.size()) fail("more than one value");
        return value;
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw std::runtime_error("JSON, byte " + std::to_string(at_) + ": " + what);
    }
    void space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) at_++;
    }
    char peek() {
        space();
        if (at_ == text_.size()) fail("ends early");
        return text_[at_];
    }
    void expect(char c) {
        if (peek() != c) fail(std::string("expected ") + c);
        at_++;
    }
    bool take(const char* word) {
        const size_t n = std::string(word).size();
        if (text_.compare(at_, n, word) != 0) return false;
        at_ += n;
        return true;
    }

    Json any() {
        Json out;
        switch (peek()) {
            case '{': object(out); break;
            case '[': array(out); break;
            case '"':
                out.kind = Json::Text;
                out.text = string();
                break;
            default: word(out);
        }
        return out;
    }
    void object(Json& out) {
        out.kind = Json::Object;
        expect('{');
        while (peek() != '}') {
            if (!out.fields.empty()) expect(',');
            space();
            std::string name = string();
            expect(':');
            out.fields.emplace_back(std::move(name), any());
        }
        at_++;
    }
    void array(Json& out) {
        out.kind = Json::List;
        expect('[');
        while (peek() != ']') {
            if (!out.list.empty()) expect(',');
            out.list.push_back(any());
        }
        at_++;
    }
    std::string string() {
        expect('"');
        std::string out;
        while (at_ < text_.size() && text_[at_] != '"') {
            char c = text_[at_++];
            if (c == '\\') {
                c = text_[at_++];
                if (c == 'u') {  // names of the artefact are plain; other characters only need to be skipped
                    at_ += 4;
                    c = '?';
                } else if (c == 'n') {
                    c = '\n';
                }
            }
            out.push_back(c);
        }
        at_++;
        return out;
    }
    void word(Json& out) {
        if (take("true") || take("false")) {
            out.kind = Json::Bool;
            out.number = text_[at_ - 2] == 'u';
            return;
        }
        if (take("null")) return;
        char* end = nullptr;
        out.kind = Json::Number;
        out.number = std::strtod(text_.c_str() + at_, &end);
        if (end == text_.c_str() + at_) fail("not a value");
        at_ = static_cast<size_t>(end - text_.c_str());
    }

    std::string text_;
    size_t at_ = 0;
};

inline Json read_json(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot read the file");
    std::stringstream text;
    text << file.rdbuf();
    return JsonReader(text.str()).read();
}
