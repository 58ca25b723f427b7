// ACL: what went wrong as exceptions, and memory of the device.
#pragma once

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "acl/acl.h"

// The runtime's own words on the last failure; empty where it has none.
inline std::string recent_message() {
    const char* text = aclGetRecentErrMsg();
    return text ? text : "";
}

inline void check(aclError error, const char* what) {
    if (error != ACL_SUCCESS)
        throw std::runtime_error(std::string(what) + ": " + std::to_string(error) + " " + recent_message());
}

// Under the emulator launches succeed and leave their findings here.
inline void check_messages() {
    const std::string text = recent_message();
    if (!text.empty()) throw std::runtime_error(text);
}

// A stream of the first device.
inline aclrtStream opened() {
    aclrtStream stream = nullptr;
    check(aclInit(nullptr), "aclInit");
    check(aclrtSetDevice(0), "aclrtSetDevice");
    check(aclrtCreateStream(&stream), "aclrtCreateStream");
    return stream;
}

inline int64_t cores_of(aclrtDevAttr kind) {
    int64_t count = 0;
    check(aclrtGetDeviceInfo(0, kind, &count), "aclrtGetDeviceInfo");
    return count;
}

// What a program returns: what `run` does, or 2 after saying what went wrong.
template <typename F>
int reported(const char* program, F&& run) {
    try {
        return run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", program, error.what());
        return 2;
    }
}

// Memory of the device.
class Block {
public:
    explicit Block(int64_t bytes) : bytes_(std::max<int64_t>(bytes, 64)) {
        check(aclrtMalloc(&data_, bytes_, ACL_MEM_MALLOC_HUGE_FIRST), "aclrtMalloc");
    }
    Block(const Block&) = delete;
    Block(Block&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
    ~Block() {
        if (data_) aclrtFree(data_);
    }
    uint8_t* at(int64_t offset) const { return static_cast<uint8_t*>(data_) + offset; }
    int64_t bytes() const { return bytes_; }
    void upload(const void* from, int64_t n) {
        check(aclrtMemcpy(data_, bytes_, from, n, ACL_MEMCPY_HOST_TO_DEVICE), "to the device");
    }
    void download(void* to, int64_t n) const {
        check(aclrtMemcpy(to, n, data_, n, ACL_MEMCPY_DEVICE_TO_HOST), "from the device");
    }
    void clear() { check(aclrtMemset(data_, bytes_, 0, bytes_), "aclrtMemset"); }

private:
    void* data_ = nullptr;
    int64_t bytes_;
};
