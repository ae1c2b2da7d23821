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
    dependencies: [.package(url: "https://github.com/apple/swift-log", from: "1.6.0")],
    targets: [
        .target(name: "CLinux"),
        .target(
            name: "TransportPluginAPI", dependencies: ["CLinux", .product(name: "Logging", package: "swift-log")],
            swiftSettings: strict),
        .target(name: "RoomProtocol", swiftSettings: strict),
        .target(name: "RoomCore", dependencies: ["RoomProtocol", "TransportPluginAPI"], swiftSettings: strict),
        .target(name: "RoomServerCore", dependencies: ["RoomProtocol", "TransportPluginAPI"], swiftSettings: strict),
        .target(
            name: "RoomSimulation", dependencies: ["RoomCore", "RoomServerCore", "RoomProtocol"],
            swiftSettings: strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"])]),
        .executableTarget(name: "simulate", dependencies: ["RoomSimulation"], swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
