// swift-tools-version: 6.2
import PackageDescription

// Micro-benchmarks of hot paths: `make micro`. A package of its own, so that nobody who uses the library fetches what
// it needs.

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"), .treatAllWarnings(as: .error),
]

let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "room", path: "..", traits: []),
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
        .package(url: "https://github.com/apple/swift-collections", from: "1.2.0"),
    ],
    targets: [
        // Measured code that is not public, by links to its files: compiled as in its own module.
        .target(
            name: "SignalingFoundationCodec", dependencies: [.product(name: "TransportPluginAPI", package: "room")],
            path: "Subjects/SignalingFoundationCodec", swiftSettings: strict),
        .target(
            name: "RoomServerCodec", path: "Subjects/RoomServerCodec", swiftSettings: strict),
        .target(
            name: "SessionDescriptions", dependencies: [.product(name: "TransportPluginAPI", package: "room")],
            path: "Subjects/SessionDescriptions", swiftSettings: strict),
        .target(
            name: "Queues",
            dependencies: [
                .product(name: "RoomConnection", package: "room"),
                .product(name: "DequeModule", package: "swift-collections"),
            ], path: "Subjects/Queues", swiftSettings: strict),
        .executableTarget(
            name: "HotPaths",
            dependencies: [
                "SignalingFoundationCodec", "RoomServerCodec", "SessionDescriptions", "Queues",
                .product(name: "RoomConnection", package: "room"),
                .product(name: "TransportPluginAPI", package: "room"),
                .product(name: "Benchmark", package: "benchmark"),
            ], path: "HotPaths", plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    ],
    swiftLanguageModes: [.v6]
)
