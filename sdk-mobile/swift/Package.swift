// swift-tools-version: 6.0
// The package `Headwater`: the generated boundary to the Rust core and the class that apps see. `Generated/` is made by `generate` before the
// first build. On a Mac the core is the XCFramework that `xcframework` makes; elsewhere the shared library, found where the linker looks or in
// HEADWATER_NATIVE. HEADWATER_TESTING=1 (a library with virtual time), HEADWATER_STAND_INS=1 (Apple's modules, played) and HEADWATER_SPEED=1
// are for our tests and measurements.

import Foundation
import PackageDescription

let native = Context.environment["HEADWATER_NATIVE"]

/// What a build needs that is made by a step of its own: SwiftPM and the linker would name a file, and no way to it.
func need(_ path: String, _ what: String) {
    if FileManager.default.fileExists(atPath: path) { return }
    FileHandle.standardError.write(Data("Headwater: \(path) is missing. \(what)\n".utf8))
    exit(1)
}
let checkout = URL(fileURLWithPath: Context.packageDirectory).resolvingSymlinksInPath()
    .deletingLastPathComponent().deletingLastPathComponent().path
let testing = Context.environment["HEADWATER_TESTING"] == "1"
let speed = Context.environment["HEADWATER_SPEED"] == "1"
let standIns = Context.environment["HEADWATER_STAND_INS"] == "1"

#if os(macOS)
need(Context.packageDirectory + "/Generated", "Run \(checkout)/sdk-mobile/swift/xcframework first.")
let core = Target.binaryTarget(name: "HeadwaterCoreFFI", path: "HeadwaterCoreFFI.xcframework")
// The XCFramework is linked by itself.
let link: [LinkerSetting] = []
let resources: [Resource] = [.copy("PrivacyInfo.xcprivacy")]
let leftOut: [String] = []
#else
need(
    Context.packageDirectory + "/Generated/HeadwaterCore/HeadwaterCore.swift",
    "In \(checkout), run: cargo build -p headwater-mobile -p headwater-bindgen && sdk-mobile/swift/generate")
if let native {
    need(
        native + "/libheadwater_mobile.so",
        "HEADWATER_NATIVE names the folder of the library that sdk-mobile/library (or cargo build -p headwater-mobile) makes.")
}
let core = Target.systemLibrary(name: "HeadwaterCoreFFI", path: "Generated/HeadwaterCoreFFI")
// Only for a build that names a folder: SwiftPM refuses unsafe flags in a dependency, and one that names none has none.
let folder = native.map { [LinkerSetting.unsafeFlags(["-L", $0, "-Xlinker", "-rpath", "-Xlinker", $0])] } ?? []
let link = [LinkerSetting.linkedLibrary("headwater_mobile")] + folder
let resources: [Resource] = []
let leftOut = ["PrivacyInfo.xcprivacy"]
#endif

let played: [String] = standIns ? ["AppKit", "BackgroundTasks", "DarwinPlayed", "Network", "SwiftUI", "UIKit", "os"] : []
let playedHere: [Target.Dependency] = played.map { Target.Dependency.byName(name: $0) }
var defines: [SwiftSetting] = []
if testing { defines.append(.define("HEADWATER_TESTING")) }
if standIns { defines.append(.define("HEADWATER_STAND_INS")) }

var targets: [Target] = [
    core,
    .target(
        name: "HeadwaterCore", dependencies: ["HeadwaterCoreFFI"], path: "Generated/HeadwaterCore", linkerSettings: link),
    .target(
        name: "Headwater", dependencies: ["HeadwaterCore"] + playedHere, exclude: leftOut, resources: resources,
        swiftSettings: defines),
    .testTarget(
        name: "HeadwaterTests", dependencies: ["Headwater"] + playedHere, exclude: ["api.txt"], swiftSettings: defines),
]
for name in played { targets.append(.target(name: name, path: "Tests/StandIns/" + name)) }
// Of no use in an app.
if testing {
    targets.append(.executableTarget(name: "Caller", dependencies: ["Headwater"], swiftSettings: defines))
}
if speed { targets.append(.executableTarget(name: "Speed", dependencies: ["Headwater"])) }

let package = Package(
    name: "Headwater",
    platforms: [.iOS(.v14), .macOS(.v11)],
    products: [.library(name: "Headwater", targets: ["Headwater"])],
    targets: targets,
    swiftLanguageModes: [.v6]
)
