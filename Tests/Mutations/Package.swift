// swift-tools-version: 6.2
import PackageDescription

// The machines and the simulator alone, for `Tests/Mutations/run`, which builds a copy of them.

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "mutations",
    dependencies: [.package(url: "https://github.com/apple/swift-collections", from: "1.2.0")],
    targets: [
        .target(name: "TransportValues", swiftSettings: strict),
        .target(name: "WebSocketWire", swiftSettings: strict),
        .target(name: "RoomProtocol", dependencies: ["TransportValues"], swiftSettings: strict),
        .target(
            name: "Deadlines",
            dependencies: ["TransportValues", .product(name: "HeapModule", package: "swift-collections")],
            swiftSettings: strict),
        .target(name: "RoomValues", dependencies: ["RoomProtocol", "TransportValues"], swiftSettings: strict),
        .target(
            name: "RoomCore",
            dependencies: [
                "RoomProtocol", "RoomValues", "TransportValues",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: strict),
        .target(
            name: "RoomServerCore",
            dependencies: [
                "Deadlines", "RoomProtocol", "TransportValues", "WebSocketWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ], swiftSettings: strict),
        .target(
            name: "RoomCluster",
            dependencies: [
                "Deadlines", "RoomProtocol", "TransportValues",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: strict),
        .target(
            name: "RoomSimulation", dependencies: ["RoomCluster", "RoomCore", "RoomServerCore", "RoomProtocol"],
            swiftSettings: strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"])]),
        .executableTarget(name: "simulate", dependencies: ["RoomSimulation"], swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
