// swift-tools-version: 6.2
import PackageDescription

// Rooms of peers that stay connected. Layout: Sources/ (contracts, pure machines, shells), Plugins/ (transport backends
// and the C libraries under them), Tests/, Benchmarks/ (a package of its own).

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Warnings are errors in CI only: those of another compiler stop nobody.
let warnings: [SwiftSetting] = Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)]

/// The linker settings of an executable that loads plugins. Plugins link the dynamic product `RoomPluginAPI`, and the
/// executable has that name, so that there is one copy of the API in the process. Needs lld: gold drops the SONAME of
/// an executable.
let pluginHost: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-use-ld=lld", "-Xlinker", "--export-dynamic", "-Xlinker", "-soname=libRoomPluginAPI.so",
            "-Xlinker", "-z", "-Xlinker", "nostart-stop-gc",
        ], .when(platforms: [.linux]))
]

/// The executable in a folder `bin`, with Swift's libraries in `lib/room` beside it, does not need the toolchain: see
/// `make install`.
let installed: [LinkerSetting] =
    Context.environment["ROOM_INSTALLED"] == nil
    ? []
    : [
        .unsafeFlags(
            ["-no-toolchain-stdlib-rpath", "-Xlinker", "-rpath=$ORIGIN/../lib/room"], .when(platforms: [.linux]))
    ]

let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let nioSSL = Target.Dependency.product(
    name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["NIOSSL"]))

/// Modules of SwiftNIO.
func nio(_ names: String...) -> [Target.Dependency] { names.map { .product(name: $0, package: "swift-nio") } }

/// Modules of SwiftNIO, with the trait NIO.
func optionalNIO(_ names: String...) -> [Target.Dependency] {
    names.map { .product(name: $0, package: "swift-nio", condition: .when(traits: ["NIO"])) }
}

let package = Package(
    name: "room",
    products: [
        .library(name: "RoomKit", targets: ["RoomKit"]),
        .library(name: "RoomConnection", targets: ["RoomConnection", "RoomValues"]),
        .library(name: "RoomProtocol", targets: ["RoomProtocol"]),
        .library(name: "RoomServer", targets: ["RoomServer", "RoomServerCore"]),
        .library(name: "WebSocketWire", targets: ["WebSocketWire"]),
        .library(name: "InProcessTransport", targets: ["InProcessTransport"]),
        .library(name: "TransportPluginAPI", targets: ["TransportPluginAPI", "TransportToolbox", "TransportValues"]),
        .library(name: "TransportTestKit", targets: ["TransportTestKit"]),
        .library(name: "SignalingFoundation", targets: ["SignalingFoundation"]),
        .library(name: "SignalingLibwebsockets", targets: ["SignalingLibwebsockets"]),
        .library(name: "SignalingNIO", targets: ["SignalingNIO"]),
        .library(name: "PeerWebRTC", targets: ["PeerWebRTC", "ICELibnice"]),
        .library(
            name: "RoomPluginAPI", type: .dynamic,
            targets: ["TransportPluginAPI", "TransportToolbox", "TransportValues", "WebSocketWire"]),
        .executable(name: "room", targets: ["room"]),
    ],
    traits: [
        .trait(name: "Libwebsockets", description: "Signaling over libwebsockets (libwebsockets-dev, libglib2.0-dev)"),
        .trait(
            name: "WebRTC",
            description: "Peers over WebRTC data channels (libnice-dev, libglib2.0-dev, libssl-dev, libusrsctp-dev)"),
        .trait(name: "OpenSSL", description: "wss:// in SignalingFoundation (libssl-dev)"),
        .trait(name: "NIO", description: "Signaling over SwiftNIO, which the room server builds anyway"),
        .trait(
            name: "NIOSSL",
            description: "wss:// in SignalingNIO (builds BoringSSL, which takes minutes)"),
        .default(enabledTraits: ["Libwebsockets", "OpenSSL", "WebRTC", "NIO"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.2.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.33.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.6.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
    ],
    targets: [
        // Contracts and pure machines
        .target(name: "CLinux"),
        .target(name: "TransportValues"),
        .target(name: "WebSocketWire"),
        .target(
            name: "TransportToolbox",
            dependencies: [
                "CLinux", "TransportValues", "WebSocketWire",
                deque,
                heap,
            ]),
        .target(name: "TransportPluginAPI", dependencies: ["TransportToolbox", "TransportValues", log]),
        .target(name: "RoomProtocol", dependencies: ["TransportValues"]),
        .target(name: "Deadlines", dependencies: ["TransportValues", heap]),
        .target(name: "RoomValues", dependencies: ["RoomProtocol", "TransportValues"]),
        .target(
            name: "RoomCore",
            dependencies: [
                "RoomProtocol", "RoomValues", "TransportValues",
                deque,
            ]),
        .target(
            name: "RoomServerCore",
            dependencies: [
                "Deadlines", "RoomProtocol", "TransportValues", "WebSocketWire",
                deque,
                heap,
            ]),
        .target(
            name: "RoomCluster",
            dependencies: [
                "Deadlines", "RoomProtocol", "TransportValues",
                deque,
            ]),
        .target(
            name: "RoomSimulation",
            dependencies: [
                "RoomCluster", "RoomCore", "RoomServerCore", "RoomProtocol", "RoomValues", "TransportValues",
            ],
            // Its objects are used by one thread; debug builds, and so the tests, check every access.
            swiftSettings: [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]),

        // Shells
        .target(name: "NetworkMonitor", dependencies: ["CLinux", "TransportPluginAPI"]),
        .target(
            name: "RoomConnection",
            dependencies: [
                "NetworkMonitor", "RoomCore", "RoomProtocol", "RoomValues", "TransportPluginAPI", log,
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Metrics", package: "swift-metrics"),
            ]),
        .target(
            name: "RoomKit",
            dependencies: [
                "InProcessTransport", "RoomConnection", "SignalingFoundation", "TransportPluginAPI",
                .target(name: "SignalingLibwebsockets", condition: .when(traits: ["Libwebsockets"])),
                .target(name: "SignalingNIO", condition: .when(traits: ["NIO"])),
                .target(name: "PeerWebRTC", condition: .when(traits: ["WebRTC"])),
                .target(name: "ICELibnice", condition: .when(traits: ["WebRTC"])),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        // The page and the browser client as bytes: #embed costs milliseconds, resources of Swift seconds.
        .target(name: "CRoomPage", path: "Sources/RoomPage", exclude: ["Client", "Page"]),
        .target(
            name: "RoomServer",
            dependencies: [
                "CRoomPage", "Hashing", "RoomCluster", "RoomServerCore", "RoomProtocol", "TransportPluginAPI",
                "TransportValues", "WebSocketWire", "COpenSSL", "CZlib", log,
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ] + nio("NIOCore", "NIOPosix"), exclude: ["Deployment"]),
        .target(
            name: "InProcessTransport",
            dependencies: ["TransportPluginAPI", deque]),
        .target(name: "TransportTestKit", dependencies: ["CLinux", "TransportPluginAPI", "WebSocketWire"]),
        .target(name: "CommandLineIO", dependencies: ["CLinux", "TransportPluginAPI", log]),
        .target(name: "RoomDemo", dependencies: ["CommandLineIO", "TransportPluginAPI"]),
        .target(name: "Hashing", dependencies: ["COpenSSL"]),
        .target(name: "FileTransfer", dependencies: ["CLinux", "Hashing", "RoomConnection", "TransportPluginAPI"]),
        .target(
            name: "RoomDoctor",
            dependencies: ["RoomConnection", "TransportPluginAPI", "WebSocketWire", "COpenSSL"]),
        .target(
            name: "TransportBenchmark",
            dependencies: [
                "CommandLineIO", "RoomConnection", "RoomProtocol", "TransportPluginAPI", "TransportTestKit",
                "WebSocketWire",
            ]),
        .executableTarget(
            name: "room",
            dependencies: [
                "CLinux", "CommandLineIO", "FileTransfer", "Hashing", "RoomConnection", "RoomDemo", "RoomDoctor",
                "RoomKit", "RoomProtocol", "RoomServer", "RoomSimulation", "TransportBenchmark", "InProcessTransport",
                "TransportPluginAPI", "TransportTestKit",
                .target(name: "PeerWebRTC", condition: .when(traits: ["WebRTC"])),
                .target(name: "ICELibnice", condition: .when(traits: ["WebRTC"])), log,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ], linkerSettings: pluginHost + installed),

        // Transport backends
        .systemLibrary(
            name: "COpenSSL", path: "Plugins/CLibraries/COpenSSL", pkgConfig: "openssl",
            providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "Plugins/CLibraries/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CGLib", path: "Plugins/CLibraries/CGLib", pkgConfig: "gobject-2.0",
            providers: [.apt(["libglib2.0-dev"])]),
        .systemLibrary(
            name: "CNice", path: "Plugins/CLibraries/CNice", pkgConfig: "nice", providers: [.apt(["libnice-dev"])]),
        .systemLibrary(
            name: "CUsrsctp", path: "Plugins/CLibraries/CUsrsctp", pkgConfig: "usrsctp",
            providers: [.apt(["libusrsctp-dev"])]),
        .systemLibrary(
            name: "CLibwebsockets", path: "Plugins/CLibraries/CLibwebsockets", pkgConfig: "libwebsockets",
            providers: [.apt(["libwebsockets-dev"])]),
        .target(name: "GLibLoop", dependencies: ["TransportPluginAPI", "CGLib"], path: "Plugins/CLibraries/GLibLoop"),
        .target(
            name: "SignalingFoundation",
            dependencies: [
                "TransportPluginAPI", "WebSocketWire",
                .target(name: "COpenSSL", condition: .when(traits: ["OpenSSL"])),
            ], path: "Plugins/SignalingFoundation"),
        .target(
            name: "SignalingLibwebsockets", dependencies: ["TransportPluginAPI", "CLibwebsockets"],
            path: "Plugins/SignalingLibwebsockets"),
        .target(
            name: "SignalingNIO",
            dependencies: [
                "TransportPluginAPI", "WebSocketWire", nioSSL,
            ] + optionalNIO("NIOCore", "NIOPosix", "NIOTLS"), path: "Plugins/SignalingNIO"),
        .target(
            name: "PeerWebRTC", dependencies: ["TransportPluginAPI", "COpenSSL", "CUsrsctp", log],
            path: "Plugins/PeerWebRTC"),
        .target(
            name: "ICELibnice", dependencies: ["TransportPluginAPI", "GLibLoop", "CGLib", "CNice", log],
            path: "Plugins/ICELibnice"),

        // Tests
        .testTarget(name: "TransportValuesTests", dependencies: ["TransportValues"]),
        .testTarget(
            name: "TransportToolboxTests",
            dependencies: ["TransportTestKit", "TransportToolbox", "TransportValues", "WebSocketWire"]),
        .testTarget(name: "CommandLineIOTests", dependencies: ["CommandLineIO", "TransportPluginAPI", log]),
        .testTarget(
            name: "FileTransferTests",
            dependencies: ["FileTransfer", "Hashing", "RoomConnection", "TransportPluginAPI", "TransportValues"]),
        .testTarget(name: "WebSocketWireTests", dependencies: ["WebSocketWire"]),
        .testTarget(name: "RoomProtocolTests", dependencies: ["RoomProtocol", "TransportValues"]),
        .testTarget(
            name: "RoomCoreTests", dependencies: ["RoomCore", "RoomProtocol", "RoomValues", "TransportValues"]),
        .testTarget(
            name: "RoomServerCoreTests",
            dependencies: ["RoomServerCore", "RoomProtocol", "TransportValues", "WebSocketWire"]),
        .testTarget(
            name: "RoomClusterTests",
            dependencies: ["RoomCluster", "RoomCore", "RoomProtocol", "RoomSimulation", "TransportValues"]),
        .testTarget(name: "NetworkMonitorTests", dependencies: ["NetworkMonitor", "TransportPluginAPI"]),
        .testTarget(
            name: "RoomDoctorTests",
            dependencies: [
                "RoomConnection", "RoomDoctor", "TransportPluginAPI", "TransportTestKit", "TLSTestSupport",
                "TURNTestSupport",
            ]),
        .testTarget(name: "RoomSimulationTests", dependencies: ["RoomSimulation"]),
        .testTarget(name: "TransportBenchmarkTests", dependencies: ["TransportBenchmark"]),
        .testTarget(
            name: "InProcessTransportTests",
            dependencies: ["InProcessTransport", "TransportPluginAPI", "TransportTestKit"]),
        .testTarget(
            name: "RoomConnectionTests",
            dependencies: [
                "FileTransfer", "RoomConnection", "RoomCore", "InProcessTransport", "RoomProtocol", "RoomServerCore",
                "TransportPluginAPI", "TransportTestKit", .product(name: "CoreMetrics", package: "swift-metrics"),
            ]),
        .testTarget(
            name: "RoomKitTests",
            dependencies: [
                "InProcessTransport", "RoomKit", "RoomServer", log,
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .testTarget(
            name: "RoomServerTests",
            dependencies: [
                "COpenSSL", "CRoomPage", "CZlib", "Hashing", "RoomCluster", "RoomServer", "RoomServerCore",
                "RoomProtocol", "TransportPluginAPI", "TransportValues", "WebSocketWire", log,
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ] + nio("NIOCore", "NIOEmbedded", "NIOPosix")),
        .target(
            name: "TLSTestSupport", dependencies: ["TransportPluginAPI", "TransportTestKit", "COpenSSL"],
            path: "Tests/TLSTestSupport"),
        .target(name: "TURNTestSupport", dependencies: ["TransportPluginAPI"], path: "Tests/TURNTestSupport"),
        .testTarget(
            name: "SignalingFoundationTests",
            dependencies: [
                "SignalingFoundation", "TransportPluginAPI", "TransportTestKit", "TransportToolbox", "TLSTestSupport",
                "WebSocketWire",
            ]),
        .testTarget(
            name: "SignalingLibwebsocketsTests",
            dependencies: ["SignalingLibwebsockets", "TransportPluginAPI", "TransportTestKit", "TLSTestSupport"]),
        .testTarget(
            name: "SignalingNIOTests",
            dependencies: [
                "SignalingNIO", "TransportPluginAPI", "TransportTestKit", "TLSTestSupport", "WebSocketWire",
            ] + optionalNIO("NIOCore")),

        .testTarget(
            name: "PeerWebRTCTests",
            dependencies: [
                "PeerWebRTC", "ICELibnice", "InProcessTransport", "TransportTestKit", "TransportPluginAPI", "CUsrsctp",
                log,
            ]),
        .testTarget(
            name: "ICELibniceTests",
            dependencies: ["ICELibnice", "GLibLoop", "CGLib", "CNice", "TransportPluginAPI", "TURNTestSupport"]),
        .executableTarget(
            name: "AutobahnEchoServer",
            dependencies: [
                "RoomServer", "WebSocketWire",
            ] + nio("NIOCore", "NIOPosix"), path: "Tests/Autobahn/EchoServer"),
        .testTarget(
            name: "DocumentationTests",
            dependencies: [
                "InProcessTransport", "RoomKit", "RoomServer", "TransportTestKit", "TransportPluginAPI",
                "WebSocketWire",
                log, .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]),
        // Whole programs to begin with, in one file each. The end-to-end tests run them.
        .executableTarget(name: "ExampleChat", dependencies: ["RoomKit"], path: "Tests/Examples/Chat"),
        .executableTarget(name: "ExampleRobot", dependencies: ["RoomKit"], path: "Tests/Examples/Robot"),
        .executableTarget(name: "ExampleFiles", dependencies: ["RoomKit"], path: "Tests/Examples/Files"),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "room", "CLinux", "ExampleChat", "ExampleFiles", "ExampleRobot", "CommandLineIO", "FileTransfer",
                "TransportPluginAPI", "TransportTestKit", "TLSTestSupport", "TURNTestSupport", "WebSocketWire",
                .product(name: "Yams", package: "Yams"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where ![.system, .plugin].contains(target.type) && !target.name.hasPrefix("C") {
    target.swiftSettings = (target.swiftSettings ?? []) + strict + warnings
}
