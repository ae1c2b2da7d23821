// swift-tools-version: 6.2
import PackageDescription

// A transport that is loaded at run time shares the program's copy of the API: it links the dynamic product.
let isLoadable = Context.environment["LOADABLE"] != nil
let api = Target.Dependency.product(name: isLoadable ? "RoomPluginAPI" : "TransportPluginAPI", package: "room")

let package = Package(
    name: "UnixSignaling",
    products: [.library(name: "UnixSignaling", type: isLoadable ? .dynamic : nil, targets: ["UnixSignaling"])],
    dependencies: [.package(name: "room", path: "../..")],
    targets: [.target(name: "UnixSignaling", dependencies: [api])]
)

if !isLoadable {
    package.targets.append(
        .testTarget(
            name: "UnixSignalingTests",
            dependencies: ["UnixSignaling", .product(name: "TransportTestKit", package: "room")]))
}
