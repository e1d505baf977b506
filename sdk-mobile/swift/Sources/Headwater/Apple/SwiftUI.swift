// What a SwiftUI app writes: which client its views have, which screen a view is, and that links open it. Promises one `screen` each time
// that a view appears.

#if canImport(SwiftUI)

import Foundation
import SwiftUI

extension EnvironmentValues {
    /// The client that views and their modifiers use: `.environment(\.headwater, client)`.
    public var headwater: Headwater? {
        get { self[ClientKey.self] }
        set { self[ClientKey.self] = newValue }
    }
}

extension View {
    /// This view is a screen: `screen` is called each time it appears.
    public func headwaterScreen(_ name: String, _ properties: [String: Headwater.JSONValue]? = nil) -> some View {
        modifier(Screen(name: name, properties: properties))
    }

    /// Links that open the app are told: `Deep Link Opened`.
    public func headwaterLinks() -> some View {
        modifier(Links())
    }
}

private struct ClientKey: EnvironmentKey {
    static let defaultValue: Headwater? = nil
}

private struct Screen: ViewModifier {
    @Environment(\.headwater) private var client
    let name: String
    let properties: [String: Headwater.JSONValue]?

    func body(content: Content) -> some View {
        content.onAppear { client?.screen(name, properties) }
    }
}

private struct Links: ViewModifier {
    @Environment(\.headwater) private var client

    func body(content: Content) -> some View {
        content.onOpenURL { url in client?.opened(url: url) }
    }
}

#endif
