// Mmad and Fixpipe.
#pragma once

#include "load.h"

namespace emu {

// Offsets of elements in the three operand layouts, in elements.
struct Layout {
    int64_t m16, n16, k0, c0;  // padded sizes: rows and columns in fractals, k in blocks of c0
    int64_t a(int64_t m, int64_t k) const {
        const int64_t fractal = __NPU_ARCH__ == 3510 ? k / c0 * m16 + m / 16 : m / 16 * k0 + k / c0;  // Nz, Zz
        return fractal * 16 * c0 + m % 16 * c0 + k % c0;
    }
    int64_t b(int64_t k, int64_t n) const { return (k / c0 * n16 + n / 16) * 16 * c0 + n % 16 * c0 + k % c0; }  // Zn
    int64_t c(int64_t m, int64_t n) const { return n / 16 * m16 * 256 + m * 16 + n % 16; }                      // Nz
};

// Runs of a matrix: rows x columns, columns in blocks of `block` contiguous elements.
template <typename F>
std::vector<Run> matrix_runs(int64_t rows, int64_t columns, int64_t block, int64_t size, F&& offset) {
    std::vector<Run> out;
    for (int64_t x = 0; x < columns; x += block) {
        for (int64_t r = 0; r < rows; r++) {
            const uint64_t off = uint64_t(offset(r, x) * size);
            const uint32_t bytes = uint32_t(std::min(block, columns - x) * size);
            if (!out.empty() && out.back().off + out.back().bytes == off) {
                out.back().bytes += bytes;
            } else {
                out.push_back({off, bytes});
            }
        }
    }
    return out;
}

// Accumulates in float, in the order of k by blocks of 16; int8 exactly.
void multiply(uint8_t* c, const uint8_t* a, const uint8_t* b, const uint8_t* bias, Dtype ct, Dtype at, Dtype bt,
              const Layout& l, const Product& p) {
    const int64_t as = size_of(at), bs = size_of(bt);
    std::vector<float> left(size_t(p.m * p.k)), right(size_t(p.n * p.k));
    for (int64_t m = 0; m < p.m; m++) {
        for (int64_t k = 0; k < p.k; k++) left[size_t(m * p.k + k)] = float(load(a + l.a(m, k) * as, at));
    }
    for (int64_t n = 0; n < p.n; n++) {
        for (int64_t k = 0; k < p.k; k++) right[size_t(n * p.k + k)] = float(load(b + l.b(k, n) * bs, bt));
    }
    for (int64_t m = 0; m < p.m; m++) {
        for (int64_t n = 0; n < p.n; n++) {
            uint8_t* to = c + l.c(m, n) * 4;
            const float* x = left.data() + m * p.k;
            const float* y = right.data() + n * p.k;
            const double start = p.zero ? 0 : bias ? load(bias + n * 4, ct) : load(to, ct);
            if (ct == Dtype::I32) {
                double sum = start;
                for (int64_t k = 0; k < p.k; k++) sum += double(x[k]) * double(y[k]);
                store(to, ct, sum);
                continue;
            }
            float sum = float(start);
            for (int64_t k = 0; k < p.k; k += 16) {
                double part = 0;
                for (int64_t i = k; i < std::min(k + 16, p.k); i++) part += double(x[i]) * double(y[i]);
                sum = float(double(sum) + part);
            }
            put(to, sum);
        }
    }
}

// Multiplications per cycle and core are 16*16*16 for 16-bit types, twice that for 8-bit, and a quarter for float.
double mmad_cycles(const Product& p, Dtype t) {
    const auto up = [](int64_t x, int64_t by) { return double((x + by - 1) / by); };
    const double k = size_of(t) == 1 ? up(p.k, 32) : size_of(t) == 2 ? up(p.k, 16) : 4 * up(p.k, 16);
    return up(p.m, 16) * up(p.n, 16) * k;
}

bool check_mmad(const Place& c, const Place& a, const Place& b, const Place* bias, const Product& p, const char* who,
                At at) {
    if (p.m <= 0 || p.n <= 0 || p.k <= 0) {
        find("count", at,
             format("Mmad of %lld x %lld x %lld", static_cast<long long>(p.m), static_cast<long long>(p.n),
                    static_cast<long long>(p.k)));
        return false;
    }
    if (__NPU_ARCH__ == 2201 && p.m == 1) {
        find("mode", at, "Mmad with m = 1 is a matrix-vector product with another layout on this chip",
             "pad to 16 rows");
        return false;
    }
    if (p.unmodelled) find("mode", at, "Mmad: sparse and Winograd products are not modelled");
    if (bias && p.zero) {
        find("mode", at, "Mmad with a bias and cmatrixInitVal = true starts from zero and ignores the bias",
             "set cmatrixInitVal = false");
    }
    return check_position(a, {Hardware::L0A}, who, at) && check_position(b, {Hardware::L0B}, who, at) &&
           check_position(c, {Hardware::L0C}, who, at) && check_aligned(a, 512, who, at) &&
           check_aligned(b, 512, who, at) && check_aligned(c, 1024, who, at) &&
           (!bias ||
            (check_position(*bias, {Hardware::BIAS, Hardware::L0C}, who, at) && check_aligned(*bias, 64, who, at)));
}

void mmad(const Place& c, const Place& a, const Place& b, const Place* bias, Dtype ct, Dtype at_type, Dtype bt,
          const Product& p, At at) {
    Core& me = core(at);
    Instr i("Mmad", M, at);
    if (!has_lane(me, M)) return issue(std::move(i));
    if (!check_mmad(c, a, b, bias, p, i.name, at)) return;
    if (!bias && p.from_bias && !p.zero) {
        find("mode", at, "Mmad with cmatrixSource = true needs the bias tensor", "use the form with a bias");
        return;
    }
    const int64_t size = size_of(at_type), c0 = 32 / size, k_unit = p.align_k ? std::max<int64_t>(16, c0) : c0;
    const Layout l{(p.m + 15) / 16, (p.n + 15) / 16, (p.k + k_unit - 1) / k_unit * k_unit / c0, c0};
    std::vector<Range> ra, rb, rc, rbias;
    const auto run_a = matrix_runs(p.m, p.k, c0, size, [&](int64_t m, int64_t k) { return l.a(m, k); });
    const auto run_b = matrix_runs(p.n, p.k, c0, size, [&](int64_t n, int64_t k) { return l.b(k, n); });
    const auto run_c = matrix_runs(p.m, p.n, 16, 4, [&](int64_t m, int64_t n) { return l.c(m, n); });
    if (!add_ranges(me, ra, a, run_a, i.name, at) || !add_ranges(me, rb, b, run_b, i.name, at) ||
        !add_ranges(me, rc, c, run_c, i.name, at))
        return;
    if (bias && !p.zero && !add_ranges(me, rbias, *bias, {{0, uint32_t(p.n * 4)}}, i.name, at)) return;
    for (const auto* each : {&ra, &rb, &rbias}) i.reads.insert(i.reads.end(), each->begin(), each->end());
    if (!p.zero && !bias) i.reads.insert(i.reads.end(), rc.begin(), rc.end());
    i.writes = rc;
    i.cycles = mmad_cycles(p, at_type);
    // Spec §3.11: large products are ordered after the ones before them; small ones need PipeBarrier<PIPE_M>.
    i.in_order = l.m16 * l.n16 >= 10;
    i.unit = p.unit_flag != 0;
    uint8_t* pc = rc[0].memory->bytes + c.addr;
    uint8_t* pa = ra[0].memory->bytes + a.addr;
    uint8_t* pb = rb[0].memory->bytes + b.addr;
    const uint8_t* pbias = rbias.empty() ? nullptr : rbias[0].memory->bytes + rbias[0].off;
    i.run = [=] { multiply(pc, pa, pb, pbias, ct, at_type, bt, l, p); };
    issue(std::move(i));
}

// --- Fixpipe -------------------------------------------------------------------------------------------------------
const char* fix_rule(QuantMode_t q, Dtype to, Dtype from) {
    const bool f = from == Dtype::F32, s = from == Dtype::I32;
    const bool byte = to == Dtype::I8 || to == Dtype::U8;
    switch (q) {
        case QuantMode_t::NoQuant:
            return to == from ? nullptr
                              : "NoQuant keeps the type; to convert use F322F16, F322BF16, DEQF16 or the like";
        case QuantMode_t::F322F16: return f && to == Dtype::F16 ? nullptr : "F322F16 makes half of float";
        case QuantMode_t::F322BF16: return f && to == Dtype::BF16 ? nullptr : "F322BF16 makes bfloat16 of float";
        case QuantMode_t::DEQF16:
        case QuantMode_t::VDEQF16: return s && to == Dtype::F16 ? nullptr : "DEQF16 makes half of int32";
        case QuantMode_t::QF322B8_PRE:
        case QuantMode_t::VQF322B8_PRE: return f && byte ? nullptr : "QF322B8_PRE makes int8 of float";
        default: return s && byte ? nullptr : "REQ8 makes int8 of int32";
    }
}

struct FixWrite {
    Range to;
    int64_t m, n;       // first element
    uint32_t elements;  // along n
};

struct FixPlan {
    std::vector<FixWrite> writes;
    uint8_t* source;
    std::vector<float> scales;  // one, or one per column
    const uint8_t* vector = nullptr;
};

void run_fixpipe(const FixPlan& plan, Dtype to, Dtype from, const Fix& p, int atomic, Dtype atomic_type) {
    const uint32_t size = size_of(to);
    const bool scaled =
        p.quant != QuantMode_t::NoQuant && p.quant != QuantMode_t::F322F16 && p.quant != QuantMode_t::F322BF16;
    for (const FixWrite& w : plan.writes) {
        std::vector<uint8_t> bytes(w.elements * size);
        for (uint32_t e = 0; e < w.elements; e++) {
            const int64_t n = w.n + e, nd = w.m / (1 << 20), m = w.m % (1 << 20);
            double x =
                load(plan.source + (nd * p.src_nd * 256 + n / 16 * p.src_stride * 16 + m * 16 + n % 16) * 4, from);
            if (p.relu && x < 0) x = 0;
            if (scaled) {
                float scale;
                std::memcpy(&scale, plan.vector ? plan.vector + n * 8 : reinterpret_cast<const uint8_t*>(&p.scale), 4);
                x *= scale;
            }
            store(bytes.data() + e * size, to, x);
        }
        if (atomic) {
            atomic_store(w.to, bytes, atomic, atomic_type);
        } else {
            std::memcpy(w.to.memory->bytes + w.to.off, bytes.data(), bytes.size());
        }
    }
}

// Checks the source side and issues. Rows of further matrices (ndNum) are numbered from nd << 20.
void finish_fixpipe(Core& c, Instr& i, FixPlan& plan, const Place& src, Dtype to, Dtype from, const Fix& p,
                    const Place* vector, bool to_gm) {
    std::vector<Range> reads;
    for (int64_t nd = 0; nd < p.nd; nd++) {
        const auto runs = matrix_runs(p.m, p.n, 16, 4, [&](int64_t m, int64_t n) {
            return nd * p.src_nd * 256 + n / 16 * p.src_stride * 16 + m * 16;
        });
        if (!add_ranges(c, reads, src, runs, i.name, i.at)) return;
    }
    plan.source = reads[0].memory->bytes + src.addr;
    i.reads = reads;
    if (vector) {
        const auto scales = range_of(c, *vector, 0, uint64_t(p.n * 8), i.name, i.at);
        if (!scales || !check_position(*vector, {Hardware::FIXBUF, Hardware::L1}, i.name, i.at)) return;
        i.reads.push_back(*scales);
        plan.vector = scales->memory->bytes + scales->off;
    }
    for (const FixWrite& w : plan.writes) i.writes.push_back(w.to);
    i.cycles = double(bytes_in(i.writes)) / (to_gm ? 256 : 128);
    i.unit = p.unit_flag != 0;
    const int atomic = to_gm ? c.atomic : 0;
    const Dtype atomic_type = c.atomic_type;
    if (atomic) {
        i.write_kind = Kind::Atomic;
        for (const FixWrite& w : plan.writes) check_defined(i, w.to);
    }
    i.run = [=] { run_fixpipe(plan, to, from, p, atomic, atomic_type); };
    issue(std::move(i));
}

bool check_fixpipe(const Place& src, Dtype to, Dtype from, const Fix& p, const Place* vector, At at) {
    if (p.m <= 0 || p.n <= 0 || p.nd <= 0) {
        find("count", at, format("Fixpipe of %lld x %lld", static_cast<long long>(p.m), static_cast<long long>(p.n)));
        return false;
    }
    if (const char* rule = fix_rule(p.quant, to, from)) {
        find("dtype", at, format("Fixpipe from %s to %s: %s", name_of(from), name_of(to), rule));
        return false;
    }
    const bool wants =
        p.quant == QuantMode_t::VDEQF16 || p.quant == QuantMode_t::VQF322B8_PRE || p.quant == QuantMode_t::VREQ8;
    if (wants != (vector != nullptr)) {
        find("mode", at,
             wants ? "Fixpipe: this quantPre needs a tensor of scales"
                   : "Fixpipe: this quantPre takes no tensor of scales");
        return false;
    }
    if (p.src_stride < (p.m + 15) / 16 * 16) {
        find("count", at,
             format("Fixpipe: srcStride %lld is less than the rows rounded up to 16",
                    static_cast<long long>(p.src_stride)),
             "srcStride is the padded number of rows");
    }
    return check_position(src, {Hardware::L0C}, "Fixpipe", at) && check_aligned(src, 64, "Fixpipe", at);
}

void fixpipe_gm(uint64_t dst, const Place& src, Dtype to, Dtype from, const Fix& p, const Place* vector, At at) {
    Core& c = core(at);
    Instr i("Fixpipe", FIX, at);
    if (!has_lane(c, FIX)) return issue(std::move(i));
    if (!check_fixpipe(src, to, from, p, vector, at)) return;
    const int64_t size = size_of(to);
    FixPlan plan;
    const int64_t block = p.row_major ? p.n : 16;
    for (int64_t nd = 0; nd < p.nd; nd++) {
        for (int64_t n = 0; n < p.n; n += block) {
            for (int64_t m = 0; m < p.m; m++) {
                const int64_t columns = std::min(block, p.n - n);
                const int64_t off = p.row_major ? nd * p.dst_nd * size + m * p.dst_stride * size
                                                : n / 16 * p.dst_stride * 32 + m * 16 * size;
                const auto r = gm_range(dst + uint64_t(off), uint64_t(columns * size), i.name, at);
                if (!r) return;
                plan.writes.push_back({*r, (nd << 20) + m, n, uint32_t(columns)});
            }
        }
    }
    finish_fixpipe(c, i, plan, src, to, from, p, vector, true);
}

// To L1 in fractals; on 3510 also to the UB of one vector core, or halved over both.
void fixpipe_local(const Place& dst, const Place& src, Dtype to, Dtype from, const Fix& p, const Place* vector, At at) {
    Core& c = core(at);
    Instr i("Fixpipe", FIX, at);
    if (!has_lane(c, FIX)) return issue(std::move(i));
    if (!check_fixpipe(src, to, from, p, vector, at)) return;
    const bool ub = hardware_of(dst.pos) == Hardware::UB;
    if (ub && __NPU_ARCH__ != 3510) {
        find("position", at, "Fixpipe to UB does not exist on this chip", "go through a GM workspace");
        return;
    }
    if (!check_position(dst, {Hardware::L1, Hardware::UB}, i.name, at) || !check_aligned(dst, 32, i.name, at)) return;
    const int64_t size = size_of(to), block = p.row_major ? p.n : 16;
    const int64_t half_m = p.dual == 1 ? (p.m + 1) / 2 : p.m, half_n = p.dual == 2 ? (p.n + 1) / 2 : p.n;
    FixPlan plan;
    for (int64_t n = 0; n < p.n; n += p.dual == 2 ? std::min(block, half_n) : block) {
        for (int64_t m = 0; m < p.m; m++) {
            const int part = p.dual == 1 ? int(m / half_m) : p.dual == 2 ? int(n / half_n) : p.sub;
            const int64_t row = p.dual == 1 ? m % half_m : m, column = p.dual == 2 ? n % half_n : n;
            const int64_t columns = std::min(p.dual == 2 ? std::min(block, half_n) : block, p.n - n);
            const int64_t off =
                p.row_major ? (row * p.dst_stride + column) * size : column / 16 * p.dst_stride * 32 + row * 16 * size;
            auto r = range_of(c, dst, uint64_t(off), uint64_t(columns * size), i.name, at);
            if (!r) return;
            if (ub && part < 2 && c.group->ub[part]) r->memory = c.group->ub[part].get();
            plan.writes.push_back({*r, m, n, uint32_t(columns)});
        }
    }
    finish_fixpipe(c, i, plan, src, to, from, p, vector, false);
}

}  // namespace emu
