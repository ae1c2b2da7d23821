// swift-tools-version: 6.2
import PackageDescription

// A transport that is loaded at run time shares the program's copy of the API: it links the dynamic product.
let isLoadable = Context.environment["LOADABLE"] != nil
let api = Target.Dependency.product(name: isLoadable ? "RoomPluginAPI" : "TransportPluginAPI", package: "room")

let package = Package(
    name: "UnixSignaling",
    products: [
        .library(name: "UnixSignaling", type: isLoadable ? .dynamic : nil, targets: ["UnixSignaling"]),
        .library(name: "TCPPeers", type: isLoadable ? .dynamic : nil, targets: ["TCPPeers"]),
    ],
    dependencies: [.package(name: "room", path: "../..")],
    targets: [
        .target(name: "UnixSignaling", dependencies: [api]),
        .target(name: "TCPPeers", dependencies: [api], swiftSettings: isLoadable ? [.define("LOADABLE")] : []),
    ]
)

func room(_ product: String) -> Target.Dependency { .product(name: product, package: "room") }

if !isLoadable {
    package.targets += [
        // A program that has both, chosen by its configuration file.
        .target(
            name: "LocalRoom",
            dependencies: [api, "UnixSignaling", "TCPPeers", room("RoomConnection"), room("SignalingFoundation")]),
        // The room server's side of `unix`.
        .executableTarget(
            name: "unix-bridge", dependencies: ["UnixSignaling", api, room("SignalingFoundation")]),
        .executableTarget(name: "local-room", dependencies: ["LocalRoom", room("RoomConnection")]),
        .testTarget(name: "UnixSignalingTests", dependencies: ["UnixSignaling", room("TransportTestKit")]),
        .testTarget(name: "TCPPeersTests", dependencies: ["TCPPeers", room("TransportTestKit")]),
        .testTarget(
            name: "LocalRoomTests", dependencies: ["LocalRoom", room("RoomConnection"), room("RoomServer")]),
    ]
}
