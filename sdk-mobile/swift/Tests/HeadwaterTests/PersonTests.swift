// Who the person is and what they have agreed to, on the real library.

import Foundation
import Testing

@testable import Headwater

@Suite struct PersonTests {
    @Test func identityLastsAndResetEndsIt() throws {
        let folder = try Folder()
        let client = try folder.alone()
        let device = client.user.anonymousId
        #expect(UUID(uuidString: device) != nil && client.user.userId == nil)
        client.identify("u-1")
        #expect(client.user == Headwater.User(anonymousId: device, userId: "u-1"))
        client.identify(nil, ["plan": "pro"])
        #expect(client.user.userId == "u-1")
        client.setAnonymousId("from-the-web")
        #expect(client.user.anonymousId == "from-the-web")
        client.reset()
        #expect(client.user.userId == nil)
        #expect(client.user.anonymousId != "from-the-web" && client.user.anonymousId != device)
    }

    @Test func nothingIsSentBeforeTheAnswerAndAllOfItAfter() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector) { options in
            options.consent = [.analytics: .pending, .marketing: .pending]
        }
        #expect(client.consent(.analytics) == .pending && client.consent(.necessary) == .granted)
        #expect(client.track("Waits").durable)
        #expect(client.track("Ad Viewed", options: .init(category: .marketing)).durable)
        let needed = client.track("Needed", options: .init(category: .necessary))
        #expect(await client.flush(timeout: patience) == 2)
        #expect(try await collector.events(1).map { $0["messageId"] } == [.string(needed.messageId)])
        client.setConsent([.analytics: .granted, .marketing: .denied])
        #expect(client.consent(.marketing) == .denied)
        let denied = client.track("Ad Viewed", options: .init(category: .marketing))
        #expect(!denied.durable)
        #expect(await client.flush(timeout: patience) == 0)
        #expect(try await collector.events(2).map { $0["event"] } == ["Needed", "Waits"])
    }

    @Test func oneAnswerIsForAllCategories() throws {
        let client = try Folder().alone()
        client.setConsent(.denied)
        #expect(Headwater.Category.allCases.allSatisfy { client.consent($0) == .denied })
        #expect(client.pending == 0)
    }

    @Test func anAppSaysWhatHappensToIt() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector)
        client.opened(version: "1.0", build: "7")
        client.opened(version: "1.1", build: "8", properties: ["from_background": true])
        client.opened(
            url: URL(string: "https://shop.example/k?utm_source=mail&utm_campaign=spring&utm_medium")!,
            referrer: "com.example.mail")
        client.setPushToken(Data([0x0a, 0xff, 0x00]))
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(6)
        #expect(events.prefix(5).map { $0["event"] } == [
            "Application Installed", "Application Opened", "Application Updated", "Application Opened",
            "Deep Link Opened",
        ])
        #expect(events[2]["properties"]["previous_version"] == "1.0")
        #expect(events[3]["properties"]["from_background"] == true)
        #expect(events[4]["properties"]["referring_application"] == "com.example.mail")
        #expect(events[4]["context"]["campaign"] == ["name": "spring", "source": "mail"])
        #expect(events[5]["traits"] == ["pushToken": "0aff00"])
    }
}
