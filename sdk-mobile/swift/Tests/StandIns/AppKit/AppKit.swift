// AppKit, as far as the SDK uses it, played on Linux, so that what uses it is compiled. Nobody posts its notifications.

import Foundation

@MainActor
public final class NSApplication {
    nonisolated public static let didBecomeActiveNotification = Notification.Name("NSApplicationDidBecomeActive")
    nonisolated public static let willTerminateNotification = Notification.Name("NSApplicationWillTerminate")
}
