// An event's whole way from Swift: committed, sent, in the real collector's log, in Segment's words.

import Foundation
import Testing

@testable import Headwater

@Suite struct LineTests {
    private struct Product: Codable {
        var sku: String
        var price: Double
        var seen: Date?
    }

    @Test func everyVerbHasItsFormOnTheWire() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector) { $0.context = ["app": ["name": "Shop", "version": "1.2"]] }
        let anonymousId = client.user.anonymousId
        let first = client.track("Product Viewed", ["sku": "kettle", "price": 49, "tags": ["new", nil]])
        #expect(first.durable)
        let price = 49.5
        let sku = "kettle"
        client.track("In Variables", ["sku": sku, "price": price])
        client.track(
            "As A Type", Product(sku: "kettle", price: 1, seen: Date(timeIntervalSince1970: 1_760_000_000.125)))
        client.identify("u-1", ["plan": "pro"])
        client.screen("Checkout", ["step": 2], category: "Shop")
        client.page("Home")
        client.group("acme", ["seats": 5])
        client.alias("u-2")
        client.track(
            "With Options",
            options: .init(timestamp: Date(timeIntervalSince1970: 1_700_000_000), context: ["ip": "192.0.2.7"]))
        #expect(await client.flush(timeout: patience) == 0)
        #expect(client.pending == 0)

        let events = try await collector.events(9)
        #expect(events.map { $0["type"] } == [
            "track", "track", "track", "identify", "screen", "page", "group", "alias", "track",
        ])
        #expect(events[0]["messageId"] == .string(first.messageId))
        #expect(events[0]["anonymousId"] == .string(anonymousId))
        #expect(events[0]["event"] == "Product Viewed")
        #expect(events[0]["properties"] == ["sku": "kettle", "price": 49, "tags": ["new", nil]])
        #expect(events[0]["userId"] == nil)
        #expect(events[1]["properties"] == ["sku": "kettle", "price": 49.5])
        #expect(events[2]["properties"] == ["sku": "kettle", "price": 1, "seen": "2025-10-09T08:53:20.125Z"])
        #expect(events[3]["traits"] == ["plan": "pro"])
        #expect(events[3]["userId"] == "u-1")
        #expect(events[4]["name"] == "Checkout" && events[4]["category"] == "Shop")
        #expect(events[4]["properties"] == ["step": 2])
        #expect(events[5]["name"] == "Home" && events[5]["userId"] == "u-1")
        #expect(events[6]["groupId"] == "acme" && events[6]["traits"] == ["seats": 5])
        #expect(events[7]["previousId"] == "u-1" && events[7]["userId"] == "u-2")
        #expect(events[8]["originalTimestamp"] == "2023-11-14T22:13:20.000Z" || events[8]["timestamp"] == "2023-11-14T22:13:20.000Z")
        #expect(events[8]["context"]["ip"] == "192.0.2.7")
        for (number, event) in events.enumerated() {
            #expect(event["context"]["headwater"]["seq"] == .init(number + 1))
            #expect(event["context"]["app"] == ["name": "Shop", "version": "1.2"])
            #expect(event["context"]["library"] == ["name": "headwater-swift", "version": .string(Context.version)])
            #expect(event["context"]["sessionId"] == events[0]["context"]["sessionId"])
            for known in ["os", "locale", "timezone"] { #expect(event["context"][known] != nil) }
        }
    }

    @Test func callsOfManyTasksAreAllThereAndOnce() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector)
        let ids = await withTaskGroup(of: [String].self) { group in
            for task in 0..<8 {
                group.addTask {
                    (0..<300).map { client.track("Hit", ["task": .init(task), "n": .init($0)]).messageId }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(ids).count == 2_400)
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(2_400)
        #expect(events.count == 2_400)
        #expect(Set(events.compactMap { $0["messageId"].string }) == Set(ids))
        let numbers = events.map { $0["context"]["headwater"]["seq"] }
        #expect(Set(numbers) == Set((1...2_400).map { JSON($0) }))
        // Of one task, the order of its calls.
        for task in 0..<8 {
            let own = events.filter { $0["properties"]["task"] == .init(task) }.map { $0["properties"]["n"] }
            #expect(own == (0..<300).map { JSON($0) })
        }
    }

    @Test func whatIsStoredIsSentByTheNextClient() async throws {
        let folder = try Folder()
        let before = try folder.alone()
        before.identify("u-1")
        before.track("Offline", ["n": 1])
        #expect(before.pending == 2)
        #expect(await before.flush(timeout: patience) == 2)
        before.close()
        let collector = try Collector(in: folder)
        let after = try folder.client(of: collector)
        #expect(after.user == Headwater.User(anonymousId: before.user.anonymousId, userId: "u-1"))
        #expect(await after.flush(timeout: patience) == 0)
        #expect(try await collector.events(2).map { $0["type"] } == ["identify", "track"])
    }

    @Test func theSameByURLSession() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector) { $0.uploads = .urlSession }
        for n in 0..<250 { client.track("Hit", ["n": .init(n)]) }
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(250)
        #expect(events.map { $0["properties"]["n"] } == (0..<250).map { JSON($0) })
    }

    @Test func whatNobodyAnswersIsKeptByURLSession() async throws {
        let folder = try Folder()
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:1", options: folder.options { $0.uploads = .urlSession })
        client.track("Offline")
        #expect(await client.flush(timeout: patience) == 1)
        #expect(client.pending == 1)
    }

    @Test func aRedirectIsNoAnswerByURLSession() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let portal = try Silent(
            but: "HTTP/1.1 307 Elsewhere\r\nLocation: \(collector.endpoint)/v1/batch?receipt=1\r\nContent-Length: 0\r\n\r\n")
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(portal.port)",
            options: folder.options { $0.uploads = .urlSession })
        client.track("E")
        #expect(await client.flush(timeout: patience) == 1)
        #expect(try await collector.events(0).isEmpty)
    }

    /// A Swift program has not Rust's own answer to SIGPIPE: it would die of it.
    @Test func aServerThatSpeaksAnotherLanguageEndsNoProcess() async throws {
        // SwiftPM ignores it, for its tests as well; a program does not.
        signal(SIGPIPE, SIG_DFL)
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try Headwater(
            writeKey: "wk_test", endpoint: collector.endpoint.replacingOccurrences(of: "http://", with: "https://"),
            options: folder.options { $0.uploads = .builtIn })
        // Whether it hangs up before the last word or after it is a race: of twenty it loses some.
        client.track("E")
        for _ in 0..<20 { #expect(await client.flush(timeout: patience) == 1) }
    }

    @Test(arguments: [Headwater.Uploads.builtIn, .urlSession])
    func whyNothingGoesOutIsTold(_ uploads: Headwater.Uploads) async throws {
        let client = try Folder().alone { $0.uploads = uploads }
        client.track("E")
        guard case .notSending(let detail)? = await first(client.reports, where: { _ in true }) else {
            Issue.record("no report")
            return
        }
        #expect(detail.hasPrefix("http://127.0.0.1:1 cannot be reached: "), "\(detail)")
    }

    @Test func aFailureIsASentence() throws {
        let folder = try Folder()
        for endpoint in ["events.example.com", "https://", "https://events.example.com/v1"] {
            do {
                _ = try Headwater(writeKey: "wk_test", endpoint: endpoint, options: folder.options())
                Issue.record("\(endpoint) was taken")
            } catch {
                #expect(error.localizedDescription.contains("endpoint \"\(endpoint)\""), "\(error.localizedDescription)")
            }
        }
    }

    @Test func theVersionIsTheWorkspaces() throws {
        let manifest = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../../Cargo.toml")
        let text = try String(contentsOf: manifest.standardizedFileURL, encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("version = ") })
        #expect(line == "version = \"\(Context.version)\"")
    }
}
