#pragma once

#include <stddef.h>
#include <stdint.h>

/// A file of the page or of the browser client, as it lies in this folder.
struct CRoomPage_file {
    /// The path below the server's root, such as `client/room.js`.
    const char *path;
    const uint8_t *bytes;
    size_t count;
};

/// All files, `CRoomPage_count` of them. A function, since Swift cannot import an array of unknown length.
const struct CRoomPage_file *CRoomPage_files(void);
extern const size_t CRoomPage_count;
