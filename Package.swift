// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "Cairn",
    products: [
        .executable(name: "cairn", targets: ["cairn"]),
        .library(name: "Regression", targets: ["Regression"]),
        .library(name: "Pricing", targets: ["Pricing"]),
        .library(name: "PlugIns", targets: ["PlugIns"]),
        .library(name: "CairnCommand", targets: ["CairnCommand"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Who may import whom is drawn in Docs/Architecture.md and enforced by Tests/TidyTests.
        .target(name: "CKernels"),
        .target(name: "Regression", dependencies: ["CKernels"], swiftSettings: settings),
        .target(name: "Pricing", dependencies: ["CKernels", "Regression"], swiftSettings: settings),
        .systemLibrary(name: "CCrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "Cluster", dependencies: ["CCrypto", "Regression"], swiftSettings: settings),
        .target(
            name: "Wire",
            dependencies: ["Cluster", "Regression", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            swiftSettings: settings),
        .target(name: "Simulation", dependencies: ["Cluster", "Regression", "Wire"], swiftSettings: settings),
        .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .target(name: "ZeroMQ", dependencies: ["CZeroMQ"], swiftSettings: settings),
        .target(name: "CPlugIn"),
        .target(
            name: "PlugIns",
            dependencies: [
                "CPlugIn", "Regression", "ZeroMQ", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: settings),
        .target(
            name: "Runtime",
            dependencies: [
                "Cluster", "PlugIns", "Pricing", "Regression", "Wire", "ZeroMQ", "Yams",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .target(
            name: "CairnCommand",
            dependencies: [
                "Cluster", "PlugIns", "Regression", "Runtime", "Simulation",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        .executableTarget(name: "cairn", dependencies: ["CairnCommand"], swiftSettings: settings),
        .testTarget(
            name: "RegressionTests", dependencies: ["CKernels", "Pricing", "Regression"],
            resources: [.copy("Resources")], swiftSettings: settings),
        .testTarget(
            name: "PricingTests", dependencies: ["Pricing", "Regression"],
            resources: [.copy("Resources")], swiftSettings: settings),
        .testTarget(
            name: "ClusterTests", dependencies: ["Cluster", "Pricing", "Regression", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "WireTests", dependencies: ["Cluster", "Pricing", "Regression", "Wire"], swiftSettings: settings),
        .target(name: "ChildProcess", path: "Tests/ChildProcess", swiftSettings: settings),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation"], swiftSettings: settings),
        .testTarget(name: "CairnTests", dependencies: ["ChildProcess", "cairn"], swiftSettings: settings),
        .testTarget(
            name: "RuntimeTests", dependencies: ["ChildProcess", "Cluster", "Regression", "Runtime"],
            swiftSettings: settings),
        .testTarget(
            name: "PlugInsTests", dependencies: ["ChildProcess", "PlugIns", "Regression"],
            resources: [.copy("Resources")],
            swiftSettings: settings),
        .testTarget(name: "TidyTests", swiftSettings: settings),
        .testTarget(name: "ZeroMQTests", dependencies: ["ZeroMQ"], swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)

// `make fuzz` builds everything for libFuzzer, in a folder of its own.
if Context.environment["CAIRN_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "Fuzz", dependencies: ["Cluster", "Pricing", "Regression", "Runtime", "Wire"], path: "Fuzz",
            exclude: ["Corpora", "run.sh", "seeds.py"], swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])])
    )
}
