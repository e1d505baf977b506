// What the SDK uses of `os`, played on Linux: the log is read by nobody.

import Foundation

public final class OSLog: @unchecked Sendable {
    public init(subsystem: String, category: String) {}
}

public enum OSLogType: Sendable { case `default` }

public func os_log(_ message: StaticString, log: OSLog, type: OSLogType, _ arguments: Any...) {}
