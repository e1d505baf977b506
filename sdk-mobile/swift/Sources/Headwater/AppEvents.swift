// What an app says of itself in words that everybody uses: opened, opened by a link, reachable by push. Promises nothing of its own.

import Foundation
internal import HeadwaterCore

extension Headwater {
    /// The app was opened in this version. Says so by `Application Installed` (the first time), `Application Updated` (in another version than
    /// before) and `Application Opened`, with these properties. Called by itself with `lifecycle`.
    public func opened(version: String, build: String, properties: [String: JSONValue]? = nil) {
        try? core.opened(version: version, build: build, properties: properties.map(JSONValue.text))
    }

    /// The app was opened by a link: `Deep Link Opened`, with its `url` and who it came from, and what the link's `utm_` parameters say of a
    /// campaign.
    @discardableResult
    public func opened(url: URL, referrer: String? = nil) -> Recorded {
        var properties: [String: JSONValue] = ["url": .string(url.absoluteString)]
        properties["referring_application"] = referrer.map(JSONValue.string)
        let campaign = Self.campaign(of: url)
        let options = EventOptions(context: campaign.isEmpty ? nil : ["campaign": .object(campaign)])
        return track("Deep Link Opened", properties, options: options)
    }

    /// Where the person's device is reached by push: the trait `pushToken`, in hexadecimal. From
    /// `application(_:didRegisterForRemoteNotificationsWithDeviceToken:)`.
    @discardableResult
    public func setPushToken(_ token: Data) -> Recorded {
        let digits = Array("0123456789abcdef")
        let text = String(token.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
        return identify(nil, ["pushToken": .string(text)])
    }

    private static func campaign(of url: URL) -> [String: JSONValue] {
        let items = URLComponents(url: url, resolvingAgainstBaseURL: false)?.queryItems ?? []
        var campaign: [String: JSONValue] = [:]
        for item in items where item.name.hasPrefix("utm_") {
            let name = item.name.dropFirst(4)
            campaign[name == "campaign" ? "name" : String(name)] = item.value.map(JSONValue.string)
        }
        return campaign
    }
}
