// Network, as far as the SDK uses it, played on Linux: a test is the network that goes and comes.

import Foundation

public struct NWInterface { public enum InterfaceType: Sendable { case wifi, cellular } }

public struct NWPath: Sendable {
    public enum Status: Sendable { case satisfied, unsatisfied }
    public let status: Status
    let interface: NWInterface.InterfaceType

    public init(_ status: Status, _ interface: NWInterface.InterfaceType) {
        (self.status, self.interface) = (status, interface)
    }

    public func usesInterfaceType(_ type: NWInterface.InterfaceType) -> Bool { status == .satisfied && type == interface }
}

public final class NWPathMonitor: @unchecked Sendable {
    nonisolated(unsafe) private static var running: [NWPathMonitor] = []
    private static let lock = NSLock()
    public var pathUpdateHandler: (@Sendable (NWPath) -> Void)?

    public init() {}
    public func start(queue: DispatchQueue) { Self.lock.withLock { Self.running.append(self) } }
    public func cancel() { Self.lock.withLock { Self.running.removeAll { $0 === self } } }

    /// How many were started and not cancelled.
    public static var count: Int { lock.withLock { running.count } }

    /// The network has changed.
    public static func change(to path: NWPath) {
        for monitor in lock.withLock({ running }) { monitor.pathUpdateHandler?(path) }
    }
}
