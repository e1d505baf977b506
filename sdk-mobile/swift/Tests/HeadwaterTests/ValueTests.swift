// What JSON cannot say, and what a caller gets wrong: nothing of it throws, and what becomes of it is told.

import Foundation
import Testing

@testable import Headwater

@Suite struct ValueTests {
    @Test func aValueIsWrittenAsJSON() throws {
        let value: JSON = [
            "text": "a \"quote\", \\ and\n\u{0}\u{1f} ü 👩‍👩‍👧", "": nil, "big": .init(UInt64.max), "small": 2.5e-300,
            "least": .init(Int64.min), "list": [1, 2.5, false, [], [:]],
        ]
        let read = try JSONSerialization.jsonObject(with: Data(value.text.utf8)) as? [String: Any]
        #expect(read?["text"] as? String == "a \"quote\", \\ and\n\u{0}\u{1f} ü 👩‍👩‍👧")
        #expect(read?[""] is NSNull)
        #expect(read?["big"] as? Double == 18_446_744_073_709_551_616)
        #expect(read?["small"] as? Double == 2.5e-300)
        #expect(read?["least"] as? Int64 == .min)
        #expect((read?["list"] as? [Any])?.count == 5)
        // Codable and back; a number that is whole comes back as an integer.
        #expect(try JSONDecoder().decode(JSON.self, from: JSONEncoder().encode(value))["list"] == value["list"])
    }

    @Test func whatIsNoNumberIsNull() throws {
        let value: JSON = ["nan": .number(.nan), "up": .number(.infinity), "down": .number(-.infinity)]
        #expect(try JSON(Array(value.text.utf8)) == ["nan": nil, "up": nil, "down": nil])
        let (text, lost) = Fields.encodable(["nan": Double.nan, "one": 1]).text
        #expect(lost == nil)
        #expect(try JSON(Array(text!.utf8)) == ["nan": nil, "one": 1])
        let (mixed, _) = Fields.mixed(["nan": Float.nan, "text": "no number", "date": Date(timeIntervalSince1970: 0)]).text
        #expect(try JSON(Array(mixed!.utf8)) == ["nan": nil, "text": "no number", "date": "1970-01-01T00:00:00.000Z"])
    }

    @Test func whatIsNestedTooDeepIsNullFromThere() throws {
        var value: JSON = 1
        for _ in 0..<5_000 { value = ["in": value] }
        let client = try Folder().alone()
        #expect(client.track("Deep", ["deep": value]).durable)
        var read = try JSON(Array(JSON.object(["deep": value]).text.utf8))
        var depth = 0
        while read != nil { (read, depth) = (read["deep"] != nil ? read["deep"] : read["in"], depth + 1) }
        #expect(depth == 60)
    }

    private struct Throws: Encodable {
        func encode(to encoder: any Encoder) throws {
            throw EncodingError.invalidValue(1, .init(codingPath: [], debugDescription: "not today"))
        }
    }

    private struct Deep: Encodable {
        let left: Int
        enum Keys: CodingKey { case `in` }
        func encode(to encoder: any Encoder) throws {
            var object = encoder.container(keyedBy: Keys.self)
            if left > 0 { try object.encode(Deep(left: left - 1), forKey: .in) }
        }
    }

    @Test func fieldsWithoutAFormAreLeftOutAndTold() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector)
        let recorded = [
            client.track("Throws", Throws()), client.track("No Object", [1, 2]), client.track("Number", 7),
            client.track("Too Deep", Deep(left: 100)),
        ]
        let nothing: [String: Int]? = nil
        client.track("Nothing", nothing)
        #expect(recorded.filter(\.durable).count == 4)
        var told: [String] = []
        for await report in client.reports {
            guard case .fieldsLost(let messageId, let detail) = report else { continue }
            #expect(!detail.isEmpty)
            told.append(messageId)
            if told.count == recorded.count { break }
        }
        #expect(told == recorded.map(\.messageId))
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(5)
        #expect(events.map { $0["event"] } == ["Throws", "No Object", "Number", "Too Deep", "Nothing"])
        for event in events { #expect(event["properties"] == nil || event["properties"] == [:]) }
    }

    @Test func numbersThatMakeNoSenseAreTaken() async throws {
        let folder = try Folder()
        let client = try folder.alone { options in
            (options.maxEvents, options.maxBytes, options.maxBatchEvents) = (-1, .min, .max)
            (options.gather, options.maxAge) = (-.infinity, .nan)
        }
        client.track("E", options: .init(timestamp: .distantPast))
        client.track("E", options: .init(timestamp: Date(timeIntervalSince1970: .nan)))
        client.track("E", options: .init(timestamp: .distantFuture))
        _ = await client.flush(timeout: .nan)
        _ = await client.flush(timeout: -.infinity)
        client.track("", ["": nil])
    }

    @Test func optionsThatMakeNoSenseAreRefusedWithWhatToDo() throws {
        let folder = try Folder()
        func failure(_ key: String, _ endpoint: String, _ change: (inout Headwater.Options) -> Void = { _ in }) -> String {
            do {
                _ = try Headwater(writeKey: key, endpoint: endpoint, options: folder.options(change))
                return "none"
            } catch let Headwater.Failure.invalidOptions(detail) {
                return detail
            } catch {
                return "another: \(error)"
            }
        }
        #expect(failure(" ", "http://127.0.0.1:1").contains("write_key"))
        #expect(failure("k", "127.0.0.1:1").contains("endpoint"))
        #expect(failure("k", "http://127.0.0.1:1") { $0.folder = URL(string: "https://a.example/") }.contains("folder"))
        #expect(failure("k", "http://127.0.0.1:1") { $0.uploads = .backgroundURLSession("x") }.contains("urlSession"))
    }

    @Test func aWriteKeyIsNoPath() throws {
        let folder = try DataFolder.standard(for: "../a b/ü").path
        #expect(folder.hasSuffix("/headwater/-46--46--47-a-32-b-47--252-"))
    }
}
