internal import COpenSSL

/// A BIO that reads datagrams in place from the received batch, and writes records into the batch that is sent at the
/// end of the turn. It needs no memory BIO in between, and keeps datagram boundaries.
func makeDatagramBIOMethod() -> OpaquePointer? {
    guard let method = BIO_meth_new(BIO_get_new_index() | Int32(BIO_TYPE_SOURCE_SINK), "datagram batch") else {
        return nil
    }
    guard BIO_meth_set_read(method, datagramRead) == 1, BIO_meth_set_write(method, datagramWrite) == 1,
        BIO_meth_set_ctrl(method, datagramControl) == 1, BIO_meth_set_create(method, datagramCreate) == 1
    else {
        BIO_meth_free(method)
        return nil
    }
    return method
}

private func datagramCreate(_ bio: OpaquePointer?) -> Int32 {
    BIO_set_init(bio, 1)
    return 1
}

private func datagramRead(_ bio: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int32) -> Int32 {
    // Ownership: unretained; the session frees the SSL object, and the BIO with it, in its `deinit`.
    guard let data = BIO_get_data(bio), let buffer, capacity > 0 else { return -1 }
    return Unmanaged<DTLSSession>.fromOpaque(data)._withUnsafeGuaranteedRef { session in
        let count = session.takeDatagram(into: UnsafeMutableRawBufferPointer(start: buffer, count: Int(capacity)))
        if count == 0 {
            COpenSSL_retry_read(bio)
            return -1
        }
        COpenSSL_clear_retry(bio)
        return Int32(truncatingIfNeeded: count)
    }
}

private func datagramWrite(_ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int32) -> Int32 {
    guard let data = BIO_get_data(bio), let bytes, count > 0 else { return -1 }
    Unmanaged<DTLSSession>.fromOpaque(data)._withUnsafeGuaranteedRef { session in
        session.output.append(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
    }
    return count
}

private func datagramControl(
    _ bio: OpaquePointer?, _ command: Int32, _ number: Int, _ pointer: UnsafeMutableRawPointer?
) -> Int {
    switch command {
    case BIO_CTRL_FLUSH, BIO_CTRL_DUP: 1
    // IPv6 and UDP headers; the larger of the two families.
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD: DTLSSession.overhead
    default: 0
    }
}
