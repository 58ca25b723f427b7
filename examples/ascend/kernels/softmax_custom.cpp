// Softmax of rows, one row at a time, float. Scalars go through GetValue: the compiler orders them with the vector
// pipe.
#include "kernel_operator.h"

using namespace AscendC;

struct SoftmaxTiling {
    uint32_t rows, width;
};

class SoftmaxKernel {
public:
    __aicore__ inline SoftmaxKernel() {}

    __aicore__ inline void Init(GM_ADDR x, GM_ADDR y, const SoftmaxTiling& tiling, TPipe* pipe) {
        t = tiling;
        xGm.SetGlobalBuffer((__gm__ float*)x, static_cast<uint64_t>(t.rows) * t.width);
        yGm.SetGlobalBuffer((__gm__ float*)y, static_cast<uint64_t>(t.rows) * t.width);
        pipe->InitBuffer(inQueue, 2, t.width * sizeof(float));
        pipe->InitBuffer(outQueue, 2, t.width * sizeof(float));
        pipe->InitBuffer(scratch, (t.width / 64 + 8) * sizeof(float));
        pipe->InitBuffer(result, 32);
    }

    __aicore__ inline void Process() {
        for (uint32_t row = GetBlockIdx(); row < t.rows; row += GetBlockNum()) {
            CopyIn(row);
            Compute();
            CopyOut(row);
        }
    }

private:
    __aicore__ inline void CopyIn(uint32_t row) {
        LocalTensor<float> x = inQueue.AllocTensor<float>();
        DataCopyPad(x, xGm[static_cast<uint64_t>(row) * t.width],
                    {1, static_cast<uint32_t>(t.width * sizeof(float)), 0, 0, 0}, {false, 0, 0, 0});
        inQueue.EnQue(x);
    }
    __aicore__ inline void Compute() {
        const int32_t width = t.width;
        LocalTensor<float> x = inQueue.DeQue<float>();
        LocalTensor<float> y = outQueue.AllocTensor<float>();
        LocalTensor<float> tmp = scratch.Get<float>();
        LocalTensor<float> one = result.Get<float>();
        ReduceMax(one, x, tmp, width);
        const float most = one.GetValue(0);
        Adds(y, x, -most, width);
        Exp(y, y, width);
        ReduceSum(one, y, tmp, width);
        const float sum = one.GetValue(0);
        Muls(y, y, 1.0f / sum, width);
        outQueue.EnQue<float>(y);
        inQueue.FreeTensor(x);
    }
    __aicore__ inline void CopyOut(uint32_t row) {
        LocalTensor<float> y = outQueue.DeQue<float>();
        DataCopyPad(yGm[static_cast<uint64_t>(row) * t.width], y,
                    {1, static_cast<uint32_t>(t.width * sizeof(float)), 0, 0, 0});
        outQueue.FreeTensor(y);
    }

    TQue<QuePosition::VECIN, 1> inQueue;
    TQue<QuePosition::VECOUT, 1> outQueue;
    TBuf<QuePosition::VECCALC> scratch, result;
    GlobalTensor<float> xGm, yGm;
    SoftmaxTiling t;
};

extern "C" __global__ __aicore__ void softmax_custom(GM_ADDR x, GM_ADDR y, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    REGISTER_TILING_DEFAULT(SoftmaxTiling);
    GET_TILING_DATA(data, tiling);
    TPipe pipe;
    SoftmaxKernel kernel;
    kernel.Init(x, y, data, &pipe);
    kernel.Process();
}
