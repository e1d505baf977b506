// An app with AppKit: what it says as it opens, and that what waits is sent as it ends. A Mac suspends no app: there is nothing else to do.

#if canImport(AppKit) && !targetEnvironment(macCatalyst)

import AppKit
import Foundation

@MainActor
final class MacLifecycle {
    private weak var client: Headwater?
    nonisolated private let observers = Observers()

    init(_ client: Headwater) {
        self.client = client
        observers.on(NSApplication.didBecomeActiveNotification) { [weak self] in self?.client?.foreground() }
        observers.on(NSApplication.willTerminateNotification) { [weak self] in self?.client?.background() }
        // Command-line tools have no version, and are not opened.
        func said(_ key: String) -> String? { Bundle.main.object(forInfoDictionaryKey: key) as? String }
        if let version = said("CFBundleShortVersionString") {
            client.opened(version: version, build: said("CFBundleVersion") ?? "")
        }
    }
}

#endif
