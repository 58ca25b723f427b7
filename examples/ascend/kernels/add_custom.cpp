// z = x + y, the way AscendC is taught: two buffers per queue, so that a copy in, an addition and a copy out overlap.
#include "kernel_operator.h"

using namespace AscendC;

struct AddTiling {
    uint32_t total;  // elements, over all cores
    uint32_t tile;   // elements per step
};

class AddKernel {
public:
    __aicore__ inline AddKernel() {}

    __aicore__ inline void Init(GM_ADDR x, GM_ADDR y, GM_ADDR z, const AddTiling& tiling, TPipe* pipe) {
        perCore = (tiling.total + GetBlockNum() - 1) / GetBlockNum();
        perCore = (perCore + 7) / 8 * 8;  // whole blocks of 32 bytes
        const uint32_t start = perCore * GetBlockIdx();
        mine = start >= tiling.total ? 0 : start + perCore > tiling.total ? tiling.total - start : perCore;
        tile = tiling.tile;
        xGm.SetGlobalBuffer((__gm__ float*)x + start, mine);
        yGm.SetGlobalBuffer((__gm__ float*)y + start, mine);
        zGm.SetGlobalBuffer((__gm__ float*)z + start, mine);
        pipe->InitBuffer(xQueue, 2, tile * sizeof(float));
        pipe->InitBuffer(yQueue, 2, tile * sizeof(float));
        pipe->InitBuffer(zQueue, 2, tile * sizeof(float));
    }

    __aicore__ inline void Process() {
        for (uint32_t at = 0; at < mine; at += tile) {
            const uint32_t count = at + tile > mine ? mine - at : tile;
            CopyIn(at, count);
            Compute(count);
            CopyOut(at, count);
        }
    }

private:
    __aicore__ inline void CopyIn(uint32_t at, uint32_t count) {
        LocalTensor<float> x = xQueue.AllocTensor<float>();
        LocalTensor<float> y = yQueue.AllocTensor<float>();
        const DataCopyExtParams block{1, static_cast<uint32_t>(count * sizeof(float)), 0, 0, 0};
        DataCopyPad(x, xGm[at], block, {false, 0, 0, 0});
        DataCopyPad(y, yGm[at], block, {false, 0, 0, 0});
        xQueue.EnQue(x);
        yQueue.EnQue(y);
    }
    __aicore__ inline void Compute(uint32_t count) {
        LocalTensor<float> x = xQueue.DeQue<float>();
        LocalTensor<float> y = yQueue.DeQue<float>();
        LocalTensor<float> z = zQueue.AllocTensor<float>();
        Add(z, x, y, count);
        zQueue.EnQue<float>(z);
        xQueue.FreeTensor(x);
        yQueue.FreeTensor(y);
    }
    __aicore__ inline void CopyOut(uint32_t at, uint32_t count) {
        LocalTensor<float> z = zQueue.DeQue<float>();
        DataCopyPad(zGm[at], z, {1, static_cast<uint32_t>(count * sizeof(float)), 0, 0, 0});
        zQueue.FreeTensor(z);
    }

    TQue<QuePosition::VECIN, 1> xQueue, yQueue;
    TQue<QuePosition::VECOUT, 1> zQueue;
    GlobalTensor<float> xGm, yGm, zGm;
    uint32_t perCore, mine, tile;
};

extern "C" __global__ __aicore__ void add_custom(GM_ADDR x, GM_ADDR y, GM_ADDR z, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    REGISTER_TILING_DEFAULT(AddTiling);
    GET_TILING_DATA(data, tiling);
    TPipe pipe;
    AddKernel kernel;
    kernel.Init(x, y, z, data, &pipe);
    kernel.Process();
}
