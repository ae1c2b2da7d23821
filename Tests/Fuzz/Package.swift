// swift-tools-version: 6.2
import PackageDescription

// The decoders under libFuzzer. A package of its own, since everything in it, the package under test included, is built
// with `-sanitize=fuzzer,address -enable-testing`; `run` passes these flags.

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "room", path: "../..")],
    targets: [
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "Fuzz",
            // Not RoomServer: its SwiftNIO would cost minutes to build and most of the speed, since libFuzzer looks at
            // every counter of every module after each input.
            dependencies: [
                "CFuzzer", .product(name: "RoomConnection", package: "room"),
                .product(name: "PeerWebRTC", package: "room"), .product(name: "TransportPluginAPI", package: "room"),
                .product(name: "WebSocketWire", package: "room"),
            ],
            swiftSettings: [.enableUpcomingFeature("ExistentialAny"), .treatAllWarnings(as: .error)]),
    ],
    swiftLanguageModes: [.v6]
)
