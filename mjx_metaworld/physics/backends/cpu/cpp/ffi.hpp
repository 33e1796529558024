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

// Arrays of a call, and how far a tile's are apart; the axes behind the tiles' tell how large a tile is.
struct Buffers {
    void* data;
    std::int64_t of_tile;
};

inline Buffers buffers_of(const XLA_FFI_Buffer* buffer, int axes) {
    std::int64_t of_tile = 1;
    for (std::int64_t i = buffer->rank - axes; i < buffer->rank; ++i) of_tile *= buffer->dims[i];
    return {buffer->data, of_tile};
}

}  // namespace
