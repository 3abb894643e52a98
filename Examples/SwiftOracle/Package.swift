// swift-tools-version: 6.2
// An oracle of one's own in Swift: `cairn` with one oracle more.
import PackageDescription

let package = Package(
    name: "SwiftOracle",
    dependencies: [.package(name: "Cairn", path: "../..")],
    targets: [
        .executableTarget(
            name: "my-cairn",
            dependencies: [
                .product(name: "CairnCommand", package: "Cairn"), .product(name: "Regression", package: "Cairn"),
            ])
    ],
    swiftLanguageModes: [.v6]
)
