// Links as a scene delegate gets them. Promises one event for each link, whichever of its two doors it came through.

#if canImport(UIKit) && !os(watchOS)

import Foundation
import UIKit

extension Headwater {
    /// For `scene(_:openURLContexts:)` and the `urlContexts` of `scene(_:willConnectTo:options:)`.
    @MainActor
    public func opened(_ contexts: Set<UIOpenURLContext>) {
        for context in contexts { opened(url: context.url, referrer: context.options.sourceApplication) }
    }

    /// For `scene(_:continue:)` and the `userActivities` of `scene(_:willConnectTo:options:)`: universal links.
    @MainActor
    public func opened(_ activity: NSUserActivity) {
        if let url = activity.webpageURL { opened(url: url, referrer: activity.referrerURL?.absoluteString) }
    }
}

#endif
