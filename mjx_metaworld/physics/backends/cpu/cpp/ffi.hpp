// Parts of a handler for XLA's foreign function interface.
#pragma once

#include <cstdint>
#include <cstring>

#include "xla/ffi/api/c_api.h"

namespace {

// True when XLA asks which version of the interface the handler was written for, which this answers.
inline bool tells_version(XLA_FFI_CallFrame* frame) {
    if (!frame->extension_start || frame->extension_start->type != XLA_FFI_Extension_Metadata) return false;
    auto* extension = reinterpret_cast<XLA_FFI_Metadata_Extension*>(frame->extension_start);
    extension->metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    extension->metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return true;
}

inline XLA_FFI_Error* fail(const XLA_FFI_CallFrame* frame, const char* message) {
    XLA_FFI_Error_Create_Args args = {};
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message;
    args.errc = XLA_FFI_Error_Code_INVALID_ARGUMENT;
    return frame->api->XLA_FFI_Error_Create(&args);
}

// The value of a scalar attribute; false where there is none of this name and type.
template <class T>
bool read(const XLA_FFI_CallFrame* frame, const char* name, XLA_FFI_DataType type, T& value) {
    for (std::int64_t i = 0; i < frame->attrs.size; ++i) {
        const XLA_FFI_ByteSpan* own = frame->attrs.names[i];
        if (own->len != std::strlen(name) || std::strncmp(own->ptr, name, own->len) != 0) continue;
        if (frame->attrs.types[i] != XLA_FFI_AttrType_SCALAR) return false;
        const auto* scalar = static_cast<const XLA_FFI_Scalar*>(frame->attrs.attrs[i]);
        if (scalar->dtype != type) return false;
        std::memcpy(&value, scalar->value, sizeof value);
        return true;
    }
    return false;
}

// Operands and results of a call, tile by tile. The axes behind the tiles' tell how large a tile is.
template <int OPERANDS, int RESULTS>
class Call {
  public:
    // Of operands and results with so many axes each, of which the first `operands` and `results` are there.
    Call(const XLA_FFI_CallFrame* frame, const int (&operand_axes)[OPERANDS], const int (&result_axes)[RESULTS],
         int operands = OPERANDS, int results = RESULTS) {
        for (int i = 0; i < operands; ++i) in[i] = of(frame->args.args[i], operand_axes[i]);
        for (int i = 0; i < results; ++i) out[i] = of(frame->rets.rets[i], result_axes[i]);
        for (std::int64_t i = 0; i < in[0].buffer->rank - operand_axes[0]; ++i) tiles *= in[0].buffer->dims[i];
    }

    template <class Number = float>
    const Number* operand(int i, std::int64_t tile) const {
        return static_cast<const Number*>(in[i].buffer->data) + tile * in[i].of_tile;
    }
    template <class Number = float>
    Number* result(int i, std::int64_t tile) const {
        return static_cast<Number*>(out[i].buffer->data) + tile * out[i].of_tile;
    }
    // Length of an operand's or a result's axis, counted from the last.
    std::int64_t operand_axis(int i, int from_last) const { return axis(in[i].buffer, from_last); }
    std::int64_t result_axis(int i, int from_last) const { return axis(out[i].buffer, from_last); }

    // Fills a result, of numbers of four bytes, with zeros.
    void clear(int i) const { std::memset(out[i].buffer->data, 0, sizeof(float) * tiles * out[i].of_tile); }

    std::int64_t tiles = 1;

  private:
    struct Tiled {
        const XLA_FFI_Buffer* buffer;
        std::int64_t of_tile;
    };

    static Tiled of(const void* given, int axes) {
        const auto* buffer = static_cast<const XLA_FFI_Buffer*>(given);
        std::int64_t of_tile = 1;
        for (std::int64_t i = buffer->rank - axes; i < buffer->rank; ++i) of_tile *= buffer->dims[i];
        return {buffer, of_tile};
    }
    static std::int64_t axis(const XLA_FFI_Buffer* buffer, int from_last) {
        return buffer->dims[buffer->rank - 1 - from_last];
    }

    Tiled in[OPERANDS], out[RESULTS];
};

}  // namespace
