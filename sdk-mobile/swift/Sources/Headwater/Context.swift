// What every event says of where it happened, in Segment's words. Promises not to ask for anything that needs a permission, and no advertising
// id. Knows what any thread may ask; screen, device id and network are learnt where UIKit and Network are (`Apple/`).

import Foundation
#if HEADWATER_STAND_INS
import DarwinPlayed
#endif

enum Context {
    /// Of this release: the workspace's, as a test checks.
    static let version = "0.1.0"

    /// What can be known at once.
    static func known() -> [String: Headwater.JSONValue] {
        var context: [String: Headwater.JSONValue] = [
            "library": ["name": "headwater-swift", "version": .string(version)],
            "locale": .string(Locale.current.identifier.replacingOccurrences(of: "_", with: "-")),
            "timezone": .string(TimeZone.current.identifier),
            "os": ["name": .string(osName), "version": .string(osVersion)],
            "app": app,
        ]
        #if canImport(Darwin) || HEADWATER_STAND_INS
        context["device"] = [
            "manufacturer": "Apple", "model": .string(model), "type": .string(osName.lowercased()),
        ]
        #endif
        return context
    }

    private static var app: Headwater.JSONValue {
        let bundle = Bundle.main
        func said(_ key: String) -> Headwater.JSONValue? {
            (bundle.object(forInfoDictionaryKey: key) as? String).map(Headwater.JSONValue.string)
        }
        var app: [String: Headwater.JSONValue] = [
            "name": said("CFBundleDisplayName") ?? said("CFBundleName") ?? .string(ProcessInfo.processInfo.processName)
        ]
        app["version"] = said("CFBundleShortVersionString")
        app["build"] = said("CFBundleVersion")
        app["namespace"] = bundle.bundleIdentifier.map(Headwater.JSONValue.string)
        return .object(app)
    }

    private static var osName: String {
        #if targetEnvironment(macCatalyst) || os(macOS)
        "macOS"
        #elseif os(iOS)
        "iOS"
        #elseif os(tvOS)
        "tvOS"
        #elseif os(watchOS)
        "watchOS"
        #elseif os(visionOS)
        "visionOS"
        #elseif os(Linux)
        "Linux"
        #else
        "unknown"
        #endif
    }

    private static var osVersion: String {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }

    #if canImport(Darwin) || HEADWATER_STAND_INS
    /// Such as `iPhone16,2`.
    private static var model: String {
        #if os(macOS) || targetEnvironment(macCatalyst)
        let key = "hw.model"
        #else
        let key = "hw.machine"
        #endif
        var size = 0
        guard sysctlbyname(key, nil, &size, nil, 0) == 0, size > 1 else { return "unknown" }
        var bytes = [UInt8](repeating: 0, count: size)
        guard sysctlbyname(key, &bytes, &size, nil, 0) == 0 else { return "unknown" }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    #endif
}
