// zlib for Swift: its header, and a function in place of the macros that Swift cannot import.
#include <stdint.h>
#include <string.h>
#include <zlib.h>

/// A stream that reads `bytes` and writes to `output`.
static inline z_stream CZlib_stream(const uint8_t *bytes, size_t count, uint8_t *output, size_t capacity) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    stream.next_in = (Bytef *)bytes;
    stream.avail_in = (uInt)count;
    stream.next_out = output;
    stream.avail_out = (uInt)capacity;
    return stream;
}

/// Compresses `bytes` into `output` in the format of gzip (RFC 1952). Returns the length, or 0 if `capacity` is too
/// small or memory is short.
static inline size_t CZlib_gzip(const uint8_t *bytes, size_t count, uint8_t *output, size_t capacity) {
    z_stream stream = CZlib_stream(bytes, count, output, capacity);
    // 15 bits of window; 16 asks for the format of gzip.
    if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    int result = deflate(&stream, Z_FINISH);
    size_t length = stream.total_out;
    deflateEnd(&stream);
    return result == Z_STREAM_END ? length : 0;
}

/// Expands what `CZlib_gzip` has made. Returns the length, or 0 when it is damaged or longer than `capacity`.
static inline size_t CZlib_gunzip(const uint8_t *bytes, size_t count, uint8_t *output, size_t capacity) {
    z_stream stream = CZlib_stream(bytes, count, output, capacity);
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return 0;
    int result = inflate(&stream, Z_FINISH);
    size_t length = stream.total_out;
    inflateEnd(&stream);
    return result == Z_STREAM_END ? length : 0;
}
