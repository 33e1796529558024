// The robot's constants as the last operand of a call.
#pragma once

#include "ffi.hpp"
#include "skeleton.hpp"

namespace {

// False where the operand has another size than `Robot`.
inline bool read_robot(const XLA_FFI_CallFrame* frame, Robot& robot) {
    const auto* packed = static_cast<const XLA_FFI_Buffer*>(frame->args.args[frame->args.size - 1]);
    if (packed->rank != 1 || packed->dims[0] * sizeof(float) != sizeof robot) return false;
    std::memcpy(&robot, packed->data, sizeof robot);
    return true;
}

}  // namespace
