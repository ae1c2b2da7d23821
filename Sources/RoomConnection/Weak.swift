/// A reference that does not keep its object alive.
final class Weak<Object: AnyObject & Sendable>: Sendable {
    // SAFETY: written once, and weak references are loaded atomically.
    nonisolated(unsafe) private(set) weak var object: Object?

    init(_ object: Object) { self.object = object }
}
