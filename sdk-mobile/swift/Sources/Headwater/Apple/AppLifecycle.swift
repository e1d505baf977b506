// An app with UIKit: what it says as it opens, comes and goes, and that what waits is sent before the system suspends it. Promises that a
// background task is ended as soon as the events are answered for, or when the system asks. Knows nothing of batches.

#if canImport(UIKit) && !os(watchOS)

import Foundation
import UIKit

@MainActor
final class AppLifecycle {
    private weak var client: Headwater?
    /// Whether the person has seen the app since it was launched. Scenes enter the foreground at launch, too.
    private var seen = false
    private var time: BackgroundTime?
    nonisolated private let observers = Observers()

    init(_ client: Headwater) {
        self.client = client
        observers.on(UIApplication.didBecomeActiveNotification) { [weak self] in self?.becameActive() }
        observers.on(UIApplication.willEnterForegroundNotification) { [weak self] in self?.entersForeground() }
        observers.on(UIApplication.didEnterBackgroundNotification) { [weak self] in self?.enteredBackground() }
        observers.on(UIApplication.willTerminateNotification) { [weak self] in self?.client?.background() }
        // A client that is made late.
        if UIApplication.shared.applicationState == .active { becameActive() }
    }

    private func becameActive() {
        guard !seen, let client else { return }
        seen = true
        client.foreground()
        client.learn(Self.context())
        opened(client, fromBackground: false)
    }

    private func entersForeground() {
        guard seen, let client else { return }
        client.foreground()
        client.learn(Self.context())
        opened(client, fromBackground: true)
    }

    private func opened(_ client: Headwater, fromBackground: Bool) {
        func said(_ key: String) -> String { Bundle.main.object(forInfoDictionaryKey: key) as? String ?? "" }
        client.opened(
            version: said("CFBundleShortVersionString"), build: said("CFBundleVersion"),
            properties: ["from_background": .bool(fromBackground)])
    }

    private func enteredBackground() {
        guard let client else { return }
        client.track("Application Backgrounded")
        // Not one of an earlier time in the background.
        time?.end()
        // Held by what ends it, whatever becomes of this client.
        let own = BackgroundTime()
        time = own
        client.background()
        Task {
            let left = await client.flush(timeout: Self.mostSeconds)
            #if canImport(BackgroundTasks)
            if left > 0, client.isWorthAnother { client.scheduleRefresh() }
            #endif
            own.end()
        }
    }

    /// What only the main thread may ask.
    static func context() -> [String: Headwater.JSONValue] {
        let (device, screen) = (UIDevice.current, UIScreen.main)
        var context: [String: Headwater.JSONValue] = [
            "screen": [
                "width": .number(screen.bounds.width), "height": .number(screen.bounds.height),
                "density": .number(screen.scale),
            ]
        ]
        var known: [String: Headwater.JSONValue] = ["name": .string(device.model)]
        // The vendor's, which no other company's app sees; not the advertiser's.
        known["id"] = device.identifierForVendor.map { .string($0.uuidString) }
        if case .object(let device)? = Context.known()["device"] { known.merge(device) { own, _ in own } }
        context["device"] = .object(known)
        return context
    }

    /// The system gives about 30 seconds.
    private static let mostSeconds = 20.0
}

/// Time that the system gives an app which it would suspend: ended once, by whoever comes first.
@MainActor
private final class BackgroundTime {
    private var task = UIBackgroundTaskIdentifier.invalid

    init() {
        task = UIApplication.shared.beginBackgroundTask(withName: "headwater") { self.end() }
    }

    func end() {
        guard task != .invalid else { return }
        UIApplication.shared.endBackgroundTask(task)
        task = .invalid
    }
}

#endif
