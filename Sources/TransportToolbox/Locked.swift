internal import Glibc

/// A value behind a `pthread_mutex_t`.
///
/// ThreadSanitizer does not model the futex of `Synchronization.Mutex`, and reports false races. Prefer isolation to
/// locks; where a lock is right, use this one.
@frozen
public struct Locked<Value>: @unchecked Sendable {
    // SAFETY: `storage.value` is reached only between `lock()` and `unlock()` of `storage`.
    @usableFromInline
    let storage: Storage

    /// Creates a lock that guards `value`.
    @inlinable
    public init(_ value: sending Value) { storage = Storage(value) }

    /// Runs `body` with the value, holding the lock. `body` must not wait, call out, or take another lock, and must not
    /// let a reference to anything that is not `Sendable` escape.
    @inlinable
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        storage.lock()
        defer { storage.unlock() }
        return try body(&storage.value)
    }

    @usableFromInline
    final class Storage: PlatformLock {
        @usableFromInline
        var value: Value

        @usableFromInline
        init(_ value: sending Value) { self.value = value }
    }
}

/// The lock itself, separate from the value, so that users of `Locked` are specialised and only the two calls are not.
@usableFromInline
class PlatformLock {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    @usableFromInline
    init() {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    @usableFromInline
    final func lock() { pthread_mutex_lock(mutex) }

    @usableFromInline
    final func unlock() { pthread_mutex_unlock(mutex) }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }
}
