internal import Glibc

/// A value behind a `pthread_mutex_t`.
///
/// `Synchronization.Mutex` would do, but ThreadSanitizer does not model the futex it is made of and reports races that
/// are none. Prefer isolation to locks; where a lock is right, this is the one.
public struct Locked<Value>: @unchecked Sendable {
    // SAFETY: `value` is reached only between `pthread_mutex_lock` and `pthread_mutex_unlock`.
    private let storage: Storage

    public init(_ value: sending Value) { storage = Storage(value) }

    /// Runs `body` with the value, holding the lock. `body` must not wait, call out, or take another lock,
    /// and must not let a reference to something that is not `Sendable` out of it.
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(storage.mutex)
        defer { pthread_mutex_unlock(storage.mutex) }
        return try body(&storage.value)
    }

    private final class Storage {
        let mutex: UnsafeMutablePointer<pthread_mutex_t>
        var value: Value

        init(_ value: sending Value) {
            self.value = value
            mutex = .allocate(capacity: 1)
            mutex.initialize(to: pthread_mutex_t())
            pthread_mutex_init(mutex, nil)
        }

        deinit {
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
        }
    }
}
