// swift-tools-version: 6.2
import PackageDescription

// Proves that `room` loads a transport that was built elsewhere: `make test-plugin`.
let package = Package(
    name: "TrivialPlugin",
    products: [.library(name: "TrivialPlugin", type: .dynamic, targets: ["TrivialPlugin"])],
    dependencies: [.package(name: "room", path: "../..")],
    targets: [.target(name: "TrivialPlugin", dependencies: [.product(name: "RoomPluginAPI", package: "room")])]
)
