// What nobody listens for is said where a developer looks: Console on Apple's platforms, standard error elsewhere.

import Foundation
#if canImport(os)
import os
#endif

enum Log {
    static func write(_ text: String) {
        #if canImport(os)
        os_log("%{public}@", log: OSLog(subsystem: "io.headwater", category: "client"), type: .default, text as NSString)
        #else
        FileHandle.standardError.write(Data("headwater: \(text)\n".utf8))
        #endif
    }
}
