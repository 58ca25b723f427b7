// What a tiling function sees, and what it leaves: tiling data, blocks, workspace, schedule mode.
#pragma once

#include "shape.h"

namespace fe {
class PlatFormInfos;
}  // namespace fe

namespace gert {

class TilingContext {
public:
    const char* GetNodeName() const;
    const StorageShape* GetInputShape(size_t index) const;
    const StorageShape* GetOutputShape(size_t index) const;
    const RuntimeAttrs* GetAttrs() const;
    fe::PlatFormInfos* GetPlatformInfo() const;
    // Room for a struct, not initialised; null where there is too little.
    template <typename T>
    T* GetTilingData() {
        return static_cast<T*>(Room(sizeof(T)));
    }
    size_t* GetWorkspaceSizes(size_t count);
    ge::graphStatus SetBlockDim(uint32_t blocks);
    ge::graphStatus SetTilingKey(uint64_t key);
    ge::graphStatus SetScheduleMode(uint32_t mode);

private:
    void* Room(size_t bytes);
};

}  // namespace gert
