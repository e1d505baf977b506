// BackgroundTasks, as far as the SDK uses it, played on Linux: a test is the system that runs a task.

import Foundation

open class BGTask {
    public var expirationHandler: (() -> Void)?
    private let done: @Sendable (Bool) -> Void
    public init(done: @escaping @Sendable (Bool) -> Void) { self.done = done }
    open func setTaskCompleted(success: Bool) { done(success) }
}

open class BGTaskRequest {
    public let identifier: String
    public var earliestBeginDate: Date?
    init(identifier: String) { self.identifier = identifier }
}

open class BGAppRefreshTaskRequest: BGTaskRequest {
    public override init(identifier: String) { super.init(identifier: identifier) }
}

public final class BGTaskScheduler: @unchecked Sendable {
    public static let shared = BGTaskScheduler()
    private let lock = NSLock()
    private var handlers: [String: (BGTask) -> Void] = [:]
    private var asked: [String] = []

    public func register(
        forTaskWithIdentifier identifier: String, using queue: DispatchQueue?, launchHandler: @escaping (BGTask) -> Void
    ) -> Bool {
        lock.withLock { handlers.updateValue(launchHandler, forKey: identifier) == nil }
    }

    public func submit(_ request: BGTaskRequest) throws {
        lock.withLock { asked.append(request.identifier) }
    }

    /// Which tasks were asked for.
    public var submitted: [String] { lock.withLock { asked } }

    /// Runs one, as the system does; says whether it was a success.
    public func run(_ identifier: String) async -> Bool {
        await withCheckedContinuation { waiting in
            let task = BGTask { waiting.resume(returning: $0) }
            lock.withLock { handlers[identifier] }?(task)
        }
    }
}
