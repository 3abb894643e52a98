// swift-tools-version: 6.2
// What Cairn's speed is measured with. A package of its own, so that a user of Cairn never builds it: `make bench`.
import PackageDescription

let package = Package(
    name: "Benchmarks",
    dependencies: [.package(name: "Cairn", path: "..")],
    targets: [
        .target(name: "CLimits"),
        .executableTarget(
            name: "benchmarks",
            dependencies: [
                "CLimits", .product(name: "PlugIns", package: "Cairn"), .product(name: "Pricing", package: "Cairn"),
                .product(name: "Regression", package: "Cairn"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
