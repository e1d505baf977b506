// Messages, on the real collector with a rule: an event sets one off, it is read, what is said of it ends it. And what a reader never has.

import Foundation
import Testing

@testable import Headwater

@Suite struct MessageTests {
    private static let rule = """
        [rules.cart]
        on = "Cart Left"
        then = [{ in_app = "card", template = "cart.txt", expires = "1h" }]
        """
    private static let template = """
        +++
        title = "Your {{ event.properties.sku }} waits"
        button = "Look"
        url = "/cart"
        [data]
        sku = "{{ event.properties.sku }}"
        +++
        We kept it.

        """

    private func collector(in folder: Folder) throws -> Collector {
        let rules = folder.url.appendingPathComponent("rules", isDirectory: true)
        try FileManager.default.createDirectory(at: rules, withIntermediateDirectories: true)
        try Self.rule.write(to: rules.appendingPathComponent("rules.toml"), atomically: true, encoding: .utf8)
        try Self.template.write(to: rules.appendingPathComponent("cart.txt"), atomically: true, encoding: .utf8)
        return try Collector(in: folder, more: "rules = \"\(rules.path)\"\n")
    }

    @Test(arguments: [Headwater.Uploads.builtIn, .urlSession])
    func anEventSetsOffAMessageThatIsReadAndOverWhenItWasShown(uploads: Headwater.Uploads) async throws {
        let folder = try Folder()
        let collector = try collector(in: folder)
        let client = try folder.client(of: collector) { $0.uploads = uploads }
        var messages = client.messages.makeAsyncIterator()
        client.foreground()
        client.track("Cart Left", ["sku": "kettle"])
        let message = try #require(await messages.next())
        #expect([message.rule, message.placement] == ["cart", "card"])
        #expect([message.title, message.body] == ["Your kettle waits", "We kept it."])
        #expect([message.button, message.url] == ["Look", "/cart"])
        #expect(message.data == ["sku": "kettle"] && message.expiresAt > Date())
        message.clicked()
        message.clicked()
        message.shown()
        #expect(await client.flush(timeout: patience) == 0)
        let said = try await collector.events(4).filter { $0["properties"]["message_id"] == .string(message.id) }
        let words = said.map { $0["event"] }.filter { $0 == "Message Shown" || $0 == "Message Clicked" }
        #expect(words == ["Message Shown", "Message Clicked"])
        client.track("Cart Left", ["sku": "pot"])
        #expect(await messages.next()?.title == "Your pot waits")
        client.close()
        #expect(await messages.next() == nil)
        message.dismissed()
    }

    @Test func nothingIsReadAfterAResetThatWasForTheOneBefore() async throws {
        let folder = try Folder()
        let collector = try collector(in: folder)
        let client = try folder.client(of: collector)
        var late = client.messages.makeAsyncIterator()
        var early = client.messages.makeAsyncIterator()
        client.foreground()
        client.track("Cart Left", ["sku": "hers"])
        let hers = try #require(await early.next())
        client.reset()
        hers.shown()
        client.track("Cart Left", ["sku": "his"])
        #expect(await late.next()?.data == ["sku": "his"])
        #expect(await client.flush(timeout: patience) == 0)
        let said = try await collector.events(3).map { $0["event"] }
        #expect(!said.contains("Message Shown"), "said in the name of somebody else")
    }
}
