// UIKit, as far as the SDK uses it, played on Linux: the same declarations, with the same isolation, and a record of what was asked. Promises
// nothing about a device. A test plays the person: it posts UIKit's notifications.

import Foundation

public struct UIBackgroundTaskIdentifier: Hashable, Sendable {
    public static let invalid = UIBackgroundTaskIdentifier(rawValue: 0)
    public let rawValue: Int
}

@MainActor
public final class UIApplication {
    public enum State: Sendable { case active, inactive, background }
    public struct OpenURLOptions {}

    public static let shared = UIApplication()
    nonisolated public static let didBecomeActiveNotification = Notification.Name("UIApplicationDidBecomeActive")
    nonisolated public static let willEnterForegroundNotification = Notification.Name("UIApplicationWillEnterForeground")
    nonisolated public static let didEnterBackgroundNotification = Notification.Name("UIApplicationDidEnterBackground")
    nonisolated public static let willTerminateNotification = Notification.Name("UIApplicationWillTerminate")

    public var applicationState = State.background
    /// Tasks that were begun and not ended, each with what is called when the system asks for its end.
    public private(set) var tasks: [UIBackgroundTaskIdentifier: (@MainActor @Sendable () -> Void)?] = [:]
    public private(set) var begun = 0

    public func beginBackgroundTask(
        withName name: String?, expirationHandler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier {
        begun += 1
        let task = UIBackgroundTaskIdentifier(rawValue: begun)
        tasks[task] = .some(expirationHandler)
        return task
    }

    public func endBackgroundTask(_ task: UIBackgroundTaskIdentifier) {
        precondition(tasks.removeValue(forKey: task) != nil, "ended twice, or never begun")
    }
}

@MainActor
public final class UIDevice {
    public static let current = UIDevice()
    public let model = "iPhone"
    public let identifierForVendor = UUID(uuidString: "11111111-2222-4333-8444-555555555555")
}

@MainActor
public final class UIScreen {
    public static let main = UIScreen()
    public let bounds = CGRect(x: 0, y: 0, width: 393, height: 852)
    public let scale: CGFloat = 3
}

@MainActor
public final class UIOpenURLContext: Hashable {
    @MainActor public struct Options { public let sourceApplication: String? }
    public let url: URL
    public let options: Options

    public init(url: URL, from sourceApplication: String?) {
        self.url = url
        options = Options(sourceApplication: sourceApplication)
    }

    nonisolated public static func == (one: UIOpenURLContext, other: UIOpenURLContext) -> Bool { one === other }
    nonisolated public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// Foundation's on Apple's platforms.
public final class NSUserActivity {
    public var webpageURL: URL?
    public var referrerURL: URL?
    public init(_ webpageURL: URL?) { self.webpageURL = webpageURL }
}
