// swift-tools-version: 6.2
import PackageDescription

// Micro-benchmarks of hot paths: `make micro`. A package of its own, so that nobody who uses the library fetches what
// it needs. Measured code that is not public is reached through `@_spi(Benchmarks)`.

let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "room", path: "..", traits: []),
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "HotPaths",
            dependencies: ["PeerWebRTC", "RoomConnection", "TransportPluginAPI", "WebSocketWire"].map {
                .product(name: $0, package: "room")
            } + [.product(name: "Benchmark", package: "benchmark")], path: "HotPaths",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ],
    swiftLanguageModes: [.v6]
)
