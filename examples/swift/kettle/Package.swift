// swift-tools-version: 6.0
// A program that uses the SDK: the package is all that it depends on. In a folder of its own name, since two packages cannot both be `swift`.

import PackageDescription

let package = Package(
    name: "Kettle",
    platforms: [.macOS(.v11)],
    dependencies: [.package(path: "../../../sdk-mobile/swift")],
    targets: [
        .executableTarget(name: "Kettle", dependencies: [.product(name: "Headwater", package: "swift")])
    ],
    swiftLanguageModes: [.v6]
)
