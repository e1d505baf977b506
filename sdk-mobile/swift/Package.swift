// swift-tools-version: 6.0
// The package `Headwater`: the generated boundary to the Rust core and the class that apps see. `Generated/` is made by `generate` before the
// first build. On a Mac the core is the XCFramework that `xcframework` makes; elsewhere the shared library, found where the linker looks or in
// HEADWATER_NATIVE. HEADWATER_TESTING=1 (a library with virtual time) and HEADWATER_STAND_INS=1 (Apple's modules, played) are for our tests.

import PackageDescription

let native = Context.environment["HEADWATER_NATIVE"]
let testing = Context.environment["HEADWATER_TESTING"] == "1"
let standIns = Context.environment["HEADWATER_STAND_INS"] == "1"

#if os(macOS)
let core = Target.binaryTarget(name: "HeadwaterCoreFFI", path: "HeadwaterCoreFFI.xcframework")
// The archive brings no list of what it needs itself.
let link: [LinkerSetting] = []
let resources: [Resource] = [.copy("PrivacyInfo.xcprivacy")]
let leftOut: [String] = []
#else
let core = Target.systemLibrary(name: "HeadwaterCoreFFI", path: "Generated/HeadwaterCoreFFI")
// Only for a build that names a folder: SwiftPM refuses unsafe flags in a dependency, and one that names none has none.
let folder = native.map { [LinkerSetting.unsafeFlags(["-L", $0, "-Xlinker", "-rpath", "-Xlinker", $0])] } ?? []
let link = [LinkerSetting.linkedLibrary("headwater_mobile")] + folder
let resources: [Resource] = []
let leftOut = ["PrivacyInfo.xcprivacy"]
#endif

let played = standIns ? ["AppKit", "BackgroundTasks", "Network", "SwiftUI", "UIKit"] : []
let defines: [SwiftSetting] =
    (testing ? [.define("HEADWATER_TESTING")] : []) + (standIns ? [.define("HEADWATER_STAND_INS")] : [])

let package = Package(
    name: "Headwater",
    platforms: [.iOS(.v14), .macOS(.v11), .tvOS(.v14), .macCatalyst(.v14)],
    products: [.library(name: "Headwater", targets: ["Headwater"])],
    targets: [
        core,
        .target(
            name: "HeadwaterCore", dependencies: ["HeadwaterCoreFFI"], path: "Generated/HeadwaterCore",
            linkerSettings: link),
        .target(
            name: "Headwater", dependencies: ["HeadwaterCore"] + played.map { .byName(name: $0) },
            exclude: leftOut, resources: resources, swiftSettings: defines),
        .testTarget(
            name: "HeadwaterTests", dependencies: ["Headwater"] + played.map { .byName(name: $0) },
            exclude: ["api.txt"], swiftSettings: defines),
    ] + played.map { .target(name: $0, path: "Tests/StandIns/\($0)") }
        // Needs virtual time, and is of no use in an app.
        + (testing ? [.executableTarget(name: "Caller", dependencies: ["Headwater"], swiftSettings: defines)] : []),
    swiftLanguageModes: [.v6]
)
