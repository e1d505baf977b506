// Where a client's data lies. Promises a folder of its own for each write key, in the app's private storage, readable while the phone is
// locked (once it was unlocked since it started), and in no backup: a restored copy would send what was sent, under the same numbers.

import Foundation
#if HEADWATER_STAND_INS
import DarwinPlayed
#endif

enum DataFolder {
    /// The folder that a client has unless it is given another.
    static func standard(for writeKey: String) throws -> URL {
        // A key is text of somebody else's: what is no letter or digit does not go into a path.
        let name = writeKey.unicodeScalars.map { scalar in
            CharacterSet.alphanumerics.contains(scalar) && scalar.isASCII || scalar == "_" ? String(scalar) : "-\(scalar.value)-"
        }
        return try base().appendingPathComponent("headwater").appendingPathComponent(name.joined())
    }

    private static func base() throws -> URL {
        #if canImport(Darwin) || HEADWATER_STAND_INS
        do {
            return try FileManager.default.url(
                for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        } catch {
            throw Headwater.Failure.invalidOptions("there is no Application Support folder: name a folder. \(error)")
        }
        #else
        let environment = ProcessInfo.processInfo.environment
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") {
            return URL(fileURLWithPath: state, isDirectory: true)
        }
        return FileManager.default.homeDirectoryForCurrentUser.appendingPathComponent(".local/state")
        #endif
    }

    /// Makes it as it should be. Where it cannot be made, the core goes on in memory and says so.
    static func prepare(_ folder: URL) {
        #if canImport(Darwin) || HEADWATER_STAND_INS
        var attributes: [FileAttributeKey: Any] = [:]
        #if !os(macOS)
        // A background session, a push or a refresh may wake the app while the phone is locked.
        attributes[.protectionKey] = FileProtectionType.completeUntilFirstUserAuthentication
        #endif
        try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true, attributes: attributes)
        // If the folder was there before, in another class.
        try? FileManager.default.setAttributes(attributes, ofItemAtPath: folder.path)
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        var own = folder
        try? own.setResourceValues(values)
        #endif
    }
}
