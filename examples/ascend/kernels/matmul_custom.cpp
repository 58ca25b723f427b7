// C = A B with half inputs and float sums, on the cube cores: tiles of C are dealt out to the cores; each step of K is
// copied to L1 in fractals, loaded to L0A and L0B, and accumulated in L0C.
#include "kernel_operator.h"

using namespace AscendC;

struct MatmulTiling {
    uint32_t M, N, K;
    uint32_t baseM, baseN, baseK;  // one tile of each; multiples of 16
};

__aicore__ inline uint32_t Fractals(uint32_t x) { return (x + 15) / 16; }
__aicore__ inline uint32_t Least(uint32_t a, uint32_t b) { return a < b ? a : b; }

class MatmulKernel {
public:
    __aicore__ inline MatmulKernel() {}

    __aicore__ inline void Init(GM_ADDR a, GM_ADDR b, GM_ADDR c, const MatmulTiling& tiling, TPipe* pipe) {
        t = tiling;
        aGm.SetGlobalBuffer((__gm__ half*)a);
        bGm.SetGlobalBuffer((__gm__ half*)b);
        cGm.SetGlobalBuffer((__gm__ float*)c);
        pipe->InitBuffer(a1Queue, 2, t.baseM * t.baseK * sizeof(half));
        pipe->InitBuffer(b1Queue, 2, t.baseK * t.baseN * sizeof(half));
        pipe->InitBuffer(a2Queue, 2, t.baseM * t.baseK * sizeof(half));
        pipe->InitBuffer(b2Queue, 2, t.baseK * t.baseN * sizeof(half));
        pipe->InitBuffer(cQueue, 1, t.baseM * t.baseN * sizeof(float));
    }

    __aicore__ inline void Process() {
        const uint32_t rows = (t.M + t.baseM - 1) / t.baseM, columns = (t.N + t.baseN - 1) / t.baseN;
        for (uint32_t tile = GetBlockIdx(); tile < rows * columns; tile += GetBlockNum()) {
            row = tile / columns * t.baseM;
            column = tile % columns * t.baseN;
            m = Least(t.baseM, t.M - row);
            n = Least(t.baseN, t.N - column);
            Tile();
        }
    }

private:
    __aicore__ inline void Tile() {
        LocalTensor<float> c = cQueue.AllocTensor<float>();
        for (uint32_t at = 0; at < t.K; at += t.baseK) {
            k = Least(t.baseK, t.K - at);
            CopyIn(at);
            SplitA();
            SplitB();
            Accumulate(c, at == 0);
        }
        cQueue.EnQue<float>(c);
        CopyOut();
    }

    // Row-major to Nz: column blocks of 16, each holding all rows.
    __aicore__ inline void CopyIn(uint32_t at) {
        LocalTensor<half> a1 = a1Queue.AllocTensor<half>();
        LocalTensor<half> b1 = b1Queue.AllocTensor<half>();
        Nd2NzParams p;
        p.ndNum = 1;
        p.dstNzNStride = 1;
        p.nValue = m;
        p.dValue = k;
        p.srcDValue = t.K;
        p.dstNzC0Stride = Fractals(m) * 16;
        DataCopy(a1, aGm[static_cast<uint64_t>(row) * t.K + at], p);
        p.nValue = k;
        p.dValue = n;
        p.srcDValue = t.N;
        p.dstNzC0Stride = Fractals(k) * 16;
        DataCopy(b1, bGm[static_cast<uint64_t>(at) * t.N + column], p);
        a1Queue.EnQue(a1);
        b1Queue.EnQue(b1);
    }

    // Nz to Zz: one band of 16 rows after the other.
    __aicore__ inline void SplitA() {
        LocalTensor<half> a1 = a1Queue.DeQue<half>();
        LocalTensor<half> a2 = a2Queue.AllocTensor<half>();
        LoadData2DParams p;
        p.repeatTimes = Fractals(k);
        p.srcStride = Fractals(m);
        for (uint32_t i = 0; i < Fractals(m); i++) LoadData(a2[i * Fractals(k) * 256], a1[i * 256], p);
        a2Queue.EnQue(a2);
        a1Queue.FreeTensor(a1);
    }

    // Nz to Zn: bands of 16 rows of K, every fractal transposed.
    __aicore__ inline void SplitB() {
        LocalTensor<half> b1 = b1Queue.DeQue<half>();
        LocalTensor<half> b2 = b2Queue.AllocTensor<half>();
        LoadData2DParams p;
        p.repeatTimes = Fractals(n);
        p.srcStride = Fractals(k);
        p.ifTranspose = true;
        for (uint32_t i = 0; i < Fractals(k); i++) LoadData(b2[i * Fractals(n) * 256], b1[i * 256], p);
        b2Queue.EnQue(b2);
        b1Queue.FreeTensor(b1);
    }

    __aicore__ inline void Accumulate(const LocalTensor<float>& c, bool first) {
        LocalTensor<half> a2 = a2Queue.DeQue<half>();
        LocalTensor<half> b2 = b2Queue.DeQue<half>();
        MmadParams p;
        p.m = m;
        p.n = n;
        p.k = k;
        p.cmatrixInitVal = first;
        Mmad(c, a2, b2, p);
        if (Fractals(m) * Fractals(n) < 10) PipeBarrier<PIPE_M>();  // small products do not wait for each other
        a2Queue.FreeTensor(a2);
        b2Queue.FreeTensor(b2);
    }

    __aicore__ inline void CopyOut() {
        LocalTensor<float> c = cQueue.DeQue<float>();
        FixpipeParamsV220 p;
        p.mSize = m;
        p.nSize = n;
        p.srcStride = Fractals(m) * 16;
        p.dstStride = t.N;
        Fixpipe(cGm[static_cast<uint64_t>(row) * t.N + column], c, p);
        cQueue.FreeTensor(c);
    }

    TQue<QuePosition::A1, 1> a1Queue;
    TQue<QuePosition::B1, 1> b1Queue;
    TQue<QuePosition::A2, 1> a2Queue;
    TQue<QuePosition::B2, 1> b2Queue;
    TQue<QuePosition::CO1, 1> cQueue;
    GlobalTensor<half> aGm, bGm;
    GlobalTensor<float> cGm;
    MatmulTiling t;
    uint32_t row, column, m, n, k;
};

extern "C" __global__ __aicore__ void matmul_custom(GM_ADDR a, GM_ADDR b, GM_ADDR c, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    REGISTER_TILING_DEFAULT(MatmulTiling);
    GET_TILING_DATA(data, tiling);
    TPipe pipe;
    MatmulKernel kernel;
    kernel.Init(a, b, c, data, &pipe);
    kernel.Process();
}
