// The life of the app, followed for a client: UIKit, AppKit or nothing at all, and the network. Promises to end with the client, which it
// does not keep alive. What is said and sent when stands in the two classes that it starts.

import Foundation

final class Lifecycle: Sendable {
    #if canImport(UIKit) && !os(watchOS)
    private let app = Locked<AppLifecycle?>(nil)
    #endif
    #if canImport(AppKit) && !targetEnvironment(macCatalyst)
    private let mac = Locked<MacLifecycle?>(nil)
    #endif
    #if canImport(Network)
    private let network: NetworkWatch
    #endif

    init(_ client: Headwater) {
        #if canImport(Network)
        network = NetworkWatch(client)
        #endif
        #if canImport(UIKit) && !os(watchOS)
        Self.onMain { [weak client, app] in
            guard let client else { return }
            client.learn(AppLifecycle.context())
            if client.options.lifecycle { app.with { $0 = AppLifecycle(client) } }
        }
        #endif
        #if canImport(AppKit) && !targetEnvironment(macCatalyst)
        if client.options.lifecycle {
            Self.onMain { [weak client, mac] in
                if let client { mac.with { $0 = MacLifecycle(client) } }
            }
        }
        #endif
    }

    /// Now, if this is the main thread: the first event of an app that makes its client there knows its screen.
    private static func onMain(_ act: @escaping @MainActor @Sendable () -> Void) {
        if Thread.isMainThread {
            MainActor.assumeIsolated(act)
        } else {
            DispatchQueue.main.async(execute: act)
        }
    }
}

/// Listens for notifications until it is gone.
final class Observers: Sendable {
    private let tokens = Locked<[any NSObjectProtocol]>([])

    /// On the thread that posts it, which for those of an app is the main one.
    func on(_ name: Notification.Name, _ act: @escaping @MainActor @Sendable () -> Void) {
        let token = NotificationCenter.default.addObserver(forName: name, object: nil, queue: nil) { _ in
            MainActor.assumeIsolated(act)
        }
        tokens.with { $0.append(token) }
    }

    deinit {
        tokens.with { tokens in
            for token in tokens { NotificationCenter.default.removeObserver(token) }
        }
    }
}
