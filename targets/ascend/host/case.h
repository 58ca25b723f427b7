// One launch of a kernel with known inputs and outputs: launched, compared, stored.
#pragma once

#include <cstdio>

#include "device.h"
#include "launch.h"
#include "tensors.h"

// What a launch is, as case.json and trace.json describe it, and what it holds: an array for each tensor, or none.
struct Case {
    std::string kernel, where;
    std::vector<Tensor> tensors;
    std::vector<std::pair<std::string, int64_t>> sizes;
    std::vector<Bytes> before, after;
    Json tolerance;

    Case(const Json& json, Json tolerances)
        : kernel(json.at("kernel").text), where(json.at("where").text), tolerance(std::move(tolerances)) {
        for (const Json& each : json.at("tensors").list) tensors.emplace_back(each);
        for (const Json& each : json.at("sizes").list) sizes.emplace_back(each.list[0].text, each.list[1].integer());
        before.resize(tensors.size());
        after.resize(tensors.size());
    }

    static Case load(const std::filesystem::path& folder) {
        const Json json = read_json(folder / "case.json");
        Case out(json, json.at("tolerance"));
        for (size_t i = 0; i < out.tensors.size(); i++) {
            const Json& tensor = json.at("tensors").list[i];
            if (const Json* file = tensor.find("before")) out.before[i] = out.read(i, folder / file->text);
            if (const Json* file = tensor.find("after")) out.after[i] = out.read(i, folder / file->text);
        }
        return out;
    }

    // As `load` reads it; `found` are the outputs that a kernel really gave.
    void save(const std::filesystem::path& folder, const std::vector<Bytes>& found) const {
        std::filesystem::create_directories(folder);
        std::string list, numbers;
        for (size_t i = 0; i < tensors.size(); i++) {
            const Tensor& t = tensors[i];
            std::string line = quoted("name", t.name) + ", " + quoted("role", t.role) + ", " +
                               quoted("dtype", t.dtype) + ", \"shape\": " + list_text(t.shape);
            if (t.read()) line += ", " + stored(folder, "before", t, before[i]);
            if (t.written())
                line += ", " + stored(folder, "after", t, after[i]) + ", " + stored(folder, "found", t, found[i]);
            list += (i ? ",\n  {" : "\n  {") + line + "}";
        }
        for (const auto& [name, n] : sizes)
            numbers += (numbers.empty() ? "[\"" : ", [\"") + name + "\", " + std::to_string(n) + "]";
        std::string bounds;
        for (const auto& [dtype, value] : tolerance.fields) {
            char text[64];
            std::snprintf(text, sizeof text, "%s\"%s\": %.9g", bounds.empty() ? "" : ", ", dtype.c_str(), value.number);
            bounds += text;
        }
        std::ofstream file(folder / "case.json");
        file << "{" << quoted("kernel", kernel) << ", " << quoted("where", where) << ",\n \"sizes\": [" << numbers
             << "],\n \"tensors\": [" << list << "],\n \"tolerance\": {" << bounds << "}}\n";
    }

    double bound(const Tensor& t) const {
        const Json* found = tolerance.find(t.dtype);
        return found ? found->number : 0;
    }

private:
    Bytes read(size_t i, const std::filesystem::path& path) const {
        Bytes out = read_npy(path);
        if (static_cast<int64_t>(out.size()) != tensors[i].bytes())
            throw std::runtime_error(path.string() + ": not as large as case.json says");
        return out;
    }
    static std::string quoted(const std::string& key, const std::string& value) {
        return "\"" + key + "\": \"" + value + "\"";
    }
    static std::string stored(const std::filesystem::path& folder, const std::string& key, const Tensor& t,
                              const Bytes& data) {
        const std::string name = t.name + "." + key + ".npy";
        write_npy(folder / name, t, data);
        return quoted(key, name);
    }
};

// Outputs of a launch beside the expected ones.
struct Verdict {
    bool good = true;
    double worst = 0;
    std::string text;  // what differs, a line each
};

inline Verdict compare(const Case& c, const std::vector<Bytes>& found) {
    Verdict out;
    for (size_t i = 0; i < c.tensors.size(); i++) {
        const Tensor& t = c.tensors[i];
        if (!t.written()) continue;
        const Difference d = difference(found[i], c.after[i], t, c.bound(t));
        out.worst = std::max(out.worst, d.worst);
        if (d.first < 0) continue;
        out.good = false;
        char text[512];
        std::snprintf(text, sizeof text,
                      "  tensor     %s, %s %s\n  element    %s: expected %.9g, found %.9g\n"
                      "  worst      %.2g of the largest of its row, tolerance %.2g; %lld of %lld elements are off\n",
                      t.name.c_str(), t.dtype.c_str(), list_text(t.shape).c_str(),
                      list_text(index_in(t, d.first)).c_str(), element(c.after[i], t.dtype, d.first),
                      element(found[i], t.dtype, d.first), d.worst, c.bound(t), static_cast<long long>(d.wrong),
                      static_cast<long long>(t.count()));
        out.text += text;
    }
    return out;
}
