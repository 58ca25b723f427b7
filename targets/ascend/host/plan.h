// The plan: from numbers for its dimensions to a flat list of launches with known places in memory.
#pragma once

#include <algorithm>
#include <optional>

#include "extent.h"

// A tensor's place: bytes of the arena, or a block by space ("weights", "state", "tokens", "result", ...) and key.
struct Place {
    std::string space, key, form;
    int64_t offset = 0;

    std::string name() const { return form.empty() ? key : key + "@" + form; }
};

struct Tree {
    Place place;
    std::map<std::string, Tree> parts;  // of a bundle that was put together

    bool bundle() const { return !parts.empty(); }
};

struct Slice {
    Place place;
    int64_t bytes = 0;
};

struct Step {
    std::string kernel, where;
    std::vector<Slice> tensors;
    std::vector<int64_t> scalars;
};

class Linker {
public:
    explicit Linker(const Json& plan) {
        for (const Json& each : plan.at("functions").list) functions_[each.at("name").text] = &each;
    }

    // The launches of an entry whose parameters each lie in the space of their name; `arena` becomes the bytes needed.
    std::vector<Step> link(const std::string& entry, const Dims& dims, int64_t& arena) {
        steps_.clear();
        arena_ = 0;
        std::map<std::string, Tree> scope;
        for (const char* name : {"tokens", "past", "new", "weights", "state"}) scope[name].place.space = name;
        std::vector<std::optional<Place>> results;
        const Json& function = *functions_.at(entry);
        for (size_t i = 0; i < function.at("results").list.size(); i++) {
            results.push_back(Place{"result", std::to_string(i), "", 0});
        }
        run(function, dims, scope, results, 0, "");
        arena = arena_;
        return std::move(steps_);
    }

private:
    static constexpr int64_t kAlign = 64;
    struct Ref {
        std::string kind, base, path, form, offset;
    };

    static int64_t aligned(int64_t size) { return (std::max<int64_t>(size, 1) + kAlign - 1) / kAlign * kAlign; }

    static Ref parse(const std::string& text) {
        Ref ref;
        const size_t first = text.find(':'), second = text.find(':', first + 1);
        ref.kind = text.substr(0, first);
        ref.base = text.substr(first + 1, second - first - 1);
        std::string rest = text.substr(second + 1);
        const size_t hash = rest.find('#');
        ref.offset = hash == std::string::npos ? "0" : rest.substr(hash + 1);
        rest = rest.substr(0, hash);
        const size_t at = rest.find('@');
        ref.form = at == std::string::npos ? "" : rest.substr(at + 1);
        ref.path = rest.substr(0, at);
        return ref;
    }

    static Tree descend(const Tree& root, const Ref& ref) {
        const Tree* tree = &root;
        std::string path = ref.path;
        while (tree->bundle() && !path.empty()) {
            const size_t dot = path.find('.');
            tree = &tree->parts.at(path.substr(0, dot));
            path = dot == std::string::npos ? "" : path.substr(dot + 1);
        }
        Tree out = *tree;
        if (out.bundle()) return out;
        if (!path.empty()) out.place.key += out.place.key.empty() ? path : "." + path;
        if (!ref.form.empty()) out.place.form = ref.form;
        return out;
    }

    struct Frame {
        const Json& function;
        const Dims& dims;
        const std::map<std::string, Tree>& scope;
        const std::vector<std::optional<Place>>& results;
        std::vector<int64_t> slots;
        int64_t end = 0;
    };

    static Tree find(const Frame& f, const std::string& text) {
        const Ref ref = parse(text);
        if (ref.kind == "temp") {
            const Json& buffer = f.function.at("buffers").at(ref.base);  // [elements, dtype, slot]
            const int64_t begin = Extent(ref.offset, f.dims).value() * width_of(buffer.list[1].text);
            Tree out;
            out.place = {"arena", "", "", f.slots[buffer.list[2].integer()] + begin};
            return out;
        }
        if (ref.kind == "result") {
            Tree out;
            out.place = f.results.at(std::stoul(ref.base)).value();
            return out;
        }
        return descend(f.scope.at(ref.base), ref);
    }

    static Tree find_tree(const Frame& f, const Json& tree) {
        if (tree.kind == Json::Text) return find(f, tree.text);
        Tree out;
        for (const auto& [name, part] : tree.fields) out.parts[name] = find_tree(f, part);
        return out;
    }

    void run(const Json& function, const Dims& dims, const std::map<std::string, Tree>& scope,
             const std::vector<std::optional<Place>>& results, int64_t base, const std::string& where) {
        for (const Json& pair : function.at("requires").list) {
            if (extent(pair.list[0], dims) != extent(pair.list[1], dims)) {
                throw std::runtime_error(function.at("name").text + ": sizes do not fit together");
            }
        }
        Frame f{function, dims, scope, results, {}, base};
        for (const Json& sizes : function.at("slots").list) {
            int64_t most = 0;
            for (const Json& size : sizes.list) most = std::max(most, extent(size, dims));
            f.slots.push_back(f.end);
            f.end += aligned(most);
        }
        arena_ = std::max(arena_, f.end);
        for (const Json& step : function.at("steps").list) {
            const std::string& loc = step.at("loc").text;
            const std::string here = where.empty() || loc.empty() ? where + loc : where + "." + loc;
            if (step.find("launch")) {
                launch(f, step, here);
            } else {
                call(f, step, here);
            }
        }
    }

    void launch(const Frame& f, const Json& step, const std::string& where) {
        Step out{step.at("launch").text, where, {}, {}};
        for (const Json& view : step.at("args").list) {  // [reference, dtype, shape]
            const int64_t bytes = elements(view.list[2], f.dims) * width_of(view.list[1].text);
            out.tensors.push_back({find(f, view.list[0].text).place, bytes});
        }
        for (const Json& scalar : step.at("scalars").list) out.scalars.push_back(extent(scalar, f.dims));
        steps_.push_back(std::move(out));
    }

    void call(const Frame& f, const Json& step, const std::string& where) {
        const Json& callee = *functions_.at(step.at("call").text);
        Dims inner;
        for (const Json& symbol : callee.at("symbols").list) {
            const Json* given = step.at("dims").find(symbol.text);
            inner[symbol.text] = given ? extent(*given, f.dims) : f.dims.at(symbol.text);
        }
        std::map<std::string, Tree> scope;
        for (const auto& [name, tree] : step.at("args").fields) scope[name] = find_tree(f, tree);
        std::vector<std::optional<Place>> results;
        const auto& theirs = callee.at("results").list;
        const auto& ours = step.at("results").list;
        for (size_t i = 0; i < ours.size(); i++) {
            const bool tensors = ours[i].kind == Json::Text && theirs[i].kind == Json::Text;
            const Tree tree = tensors ? find(f, ours[i].text) : Tree{};
            results.push_back(tensors && !tree.bundle() ? std::optional<Place>(tree.place) : std::nullopt);
        }
        run(callee, inner, scope, results, f.end, where);
    }

    std::map<std::string, const Json*> functions_;
    std::vector<Step> steps_;
    int64_t arena_ = 0;
};
