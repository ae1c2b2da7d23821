// swift-tools-version: 6.2
import PackageDescription

// The first program of the README, in a package that depends on the one around it, as a reader would write it. `run`
// writes its source out of the README.
let package = Package(
    name: "FirstProgram",
    dependencies: [.package(name: "room", path: "../..")],
    targets: [
        .executableTarget(name: "FirstProgram", dependencies: [.product(name: "RoomKit", package: "room")])
    ],
    swiftLanguageModes: [.v6]
)
