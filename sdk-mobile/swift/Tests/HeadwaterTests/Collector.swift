// The real collector for a test (HEADWATER names its binary), a folder that goes with it, and how a test reads JSON. Promises that the process
// ends with the test, and that nothing is waited for longer than a minute.

import Foundation
import Testing

@testable import Headwater

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

typealias JSON = Headwater.JSONValue

/// How long anything may take on a busy machine, in seconds.
let patience = 60.0

/// A running collector with one source, whose key is `wk_test`.
final class Collector: Sendable {
    let endpoint: String
    private let token: String
    private let process: Locked<Process>

    /// `more`: of a configuration, in front of its source.
    init(in folder: Folder, more: String = "") throws {
        let binary = try #require(
            ProcessInfo.processInfo.environment["HEADWATER"], "set HEADWATER to the collector's binary")
        let config = folder.url.appendingPathComponent("headwater.toml")
        let text = """
            listen = "127.0.0.1:0"
            data = "\(folder.url.appendingPathComponent("collector").path)"
            \(more)[sources.app]
            write_key = "wk_test"
            """
        _ = FileManager.default.createFile(
            atPath: config.path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        let (process, input, output) = (Process(), Pipe(), Pipe())
        // A shell between, which ends it when it is told to, and when whoever holds the other end of its input is gone.
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
            "-c", "\"$@\" & end() { kill -9 $!; exit; }; trap end TERM; read _; end", "sh", binary, "serve", "--config",
            config.path,
        ]
        process.standardInput = input
        process.environment = ["HEADWATER_LOG": "warn"]
        process.standardOutput = output
        try process.run()
        var (endpoint, token, said): (String?, String?, String) = (nil, nil, "")
        while endpoint == nil || token == nil {
            let more = output.fileHandleForReading.availableData
            try #require(!more.isEmpty, "the collector ended: \(said)")
            said += String(decoding: more, as: UTF8.self)
            for line in said.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
                if let found = line.without("headwater listens on ") { endpoint = found }
                if let found = line.without("admin token: ") { token = found }
            }
        }
        (self.endpoint, self.token, self.process) = (endpoint!, token!, Locked(process))
    }

    deinit {
        // Not waited for: `waitUntilExit` turns the run loop, which a test on the main actor has not.
        process.with { process in _ = kill(process.processIdentifier, SIGTERM) }
    }

    /// The events in the log, once there are so many.
    func events(_ count: Int) async throws -> [JSON] {
        let start = Date()
        while true {
            let events = try await log()
            if events.count >= count { return events }
            try #require(-start.timeIntervalSinceNow < patience, "\(events.count) of \(count) events came")
            try await Task.sleep(nanoseconds: 20_000_000)
        }
    }

    private func log() async throws -> [JSON] {
        var all: [JSON] = []
        while true {
            var url = "\(endpoint)/v1/events?limit=5000"
            if let last = all.last?["offset"] { url += "&after=\(last.string ?? last.text)" }
            var request = URLRequest(url: URL(string: url)!)
            request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization")
            let (data, response) = try await URLSession.shared.data(for: request)
            try #require((response as? HTTPURLResponse)?.statusCode == 200)
            let lines = try data.split(separator: UInt8(ascii: "\n")).map { try JSON($0) }
            if lines.isEmpty { return all }
            all += lines
        }
    }
}

/// A folder that is gone with the test.
final class Folder: Sendable {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("headwater-swift-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    /// What a client in it has for its options.
    func options(_ change: (inout Headwater.Options) -> Void = { _ in }) -> Headwater.Options {
        var options = Headwater.Options()
        options.folder = url.appendingPathComponent("app")
        options.gather = 0.005
        change(&options)
        return options
    }

    /// A client that nobody answers.
    func alone(_ change: (inout Headwater.Options) -> Void = { _ in }) throws -> Headwater {
        try Headwater(writeKey: "wk_test", endpoint: "http://127.0.0.1:1", options: options(change))
    }

    /// A client of this collector.
    func client(
        of collector: Collector, _ change: (inout Headwater.Options) -> Void = { _ in }
    ) throws -> Headwater {
        try Headwater(writeKey: "wk_test", endpoint: collector.endpoint, options: options(change))
    }
}

extension JSON {
    init(_ text: some Collection<UInt8>) throws { self = try JSONDecoder().decode(JSON.self, from: Data(text)) }

    /// A member, or null.
    subscript(_ name: String) -> JSON {
        if case .object(let object) = self { object[name] ?? .null } else { .null }
    }

    var string: String? { if case .string(let string) = self { string } else { nil } }
}

/// The first report that is looked for; none if the client is closed before, or none came.
func first(
    _ reports: AsyncStream<Headwater.Report>, where fits: @escaping @Sendable (Headwater.Report) -> Bool
) async -> Headwater.Report? {
    let reading = Task { () -> Headwater.Report? in
        for await report in reports where fits(report) { return report }
        return nil
    }
    let ending = Task {
        try await Task.sleep(nanoseconds: UInt64(patience * 1e9))
        reading.cancel()
    }
    defer { ending.cancel() }
    return await reading.value
}

extension Substring {
    fileprivate func without(_ prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
