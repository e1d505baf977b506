// A later time to send what could not be sent before the app was suspended: BGAppRefreshTask. Promises that each task is completed once, and
// that the next one is only asked for while something waits.

#if canImport(BackgroundTasks) && canImport(UIKit) && !os(watchOS)

internal import BackgroundTasks
import Foundation

extension Headwater {
    /// Lets the system wake the app to send what waits. Call it once, before the app has finished launching, with an identifier that stands in
    /// the Info.plist under `BGTaskSchedulerPermittedIdentifiers`, and with the background mode `fetch`. Says whether the system takes it.
    @discardableResult
    public func registerRefresh(identifier: String) -> Bool {
        refresh.with { $0 = identifier }
        return BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { [weak self] task in
            let task = Locked(task)
            let sending = Task { [weak self] in
                let left = await self?.flush(timeout: Self.mostSeconds) ?? 0
                // What only waits for the person, or for another write key, no refresh sends.
                if left > 0, self?.isWorthAnother == true { self?.scheduleRefresh() }
                task.with { $0.setTaskCompleted(success: left == 0) }
            }
            task.with { $0.expirationHandler = { sending.cancel() } }
        }
    }

    /// Asks for the next one, if one was registered.
    func scheduleRefresh() {
        guard let identifier = refresh.with({ $0 }) else { return }
        let request = BGAppRefreshTaskRequest(identifier: identifier)
        request.earliestBeginDate = Date(timeIntervalSinceNow: Self.earliestSeconds)
        // Refused where the person has turned refreshes off: it is sent when the app is opened.
        try? BGTaskScheduler.shared.submit(request)
    }

    /// The system gives 30 seconds.
    private static let mostSeconds = 25.0
    /// The system decides when; sooner than this it never does.
    private static let earliestSeconds = 15.0 * 60
}

#endif
