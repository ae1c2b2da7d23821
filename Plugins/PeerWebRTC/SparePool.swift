/// An object that can be used again once it is empty.
protocol Reusable: AnyObject {
    func removeAll()
}

/// A pool of spare objects: one at hand, and a few more.
final class SparePool<Item: Reusable> {
    private var maximumCount: Int { 8 }
    private let make: () -> Item
    @exclusivity(unchecked) private var spare: Item?
    private var others: [Item] = []

    init(make: @escaping () -> Item) { self.make = make }

    @inline(__always)
    func take() -> Item {
        if let item = spare {
            spare = nil
            return item
        }
        return others.popLast() ?? make()
    }

    /// Empties an object, and keeps it.
    @inline(__always)
    func recycle(_ item: Item) {
        item.removeAll()
        if spare == nil {
            spare = item
        } else if others.count < maximumCount {
            others.append(item)
        }
    }
}
