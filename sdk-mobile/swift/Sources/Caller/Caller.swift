// Swift's side of the fault suite: a command of JSON on each line of standard input, an answer on each line of standard output, written when
// the call has returned. Promises to use the SDK as an app does (virtual time apart) and to end with its input. Knows no scenario.

import Foundation
import Headwater

@main @MainActor
struct Caller {
    private var client: Headwater?
    private var reports = Reports()

    static func main() async {
        var caller = Caller()
        while let line = readLine() {
            do {
                try await caller.act(on: JSONDecoder().decode(Command.self, from: Data(line.utf8)))
            } catch let Headwater.Failure.invalidOptions(detail) {
                answer(["error": .string("InvalidOptions: \(detail)")])
            } catch {
                answer(["error": .string("\(error)")])
            }
        }
    }

    private mutating func act(on command: Command) async throws {
        if command.do == "open" { return try open(command) }
        guard let client else { return answer(["error": "Closed: no client is open"]) }
        switch command.do {
        case "track", "identify", "screen", "group", "alias":
            try record(command, client)
        case "consent":
            client.setConsent(command.answers ?? [:])
            answer(Self.ok)
        case "reset", "background", "foreground", "online", "close":
            switch command.do {
            case "reset": client.reset()
            case "background": client.background()
            case "foreground": client.foreground()
            case "online": client.online()
            default: client.close()
            }
            answer(Self.ok)
        case "flush":
            let left = await client.flush(timeout: Double(command.timeoutMs ?? 20_000) / 1000)
            answer(["flushed": .init(left)])
        case "pending":
            answer(["pending": .init(client.pending)])
        case "user":
            let user = client.user
            answer(["anonymousId": .string(user.anonymousId), "userId": .init(user.userId) { .string($0) }])
        case "pass":
            client.pass(ms: UInt32(clamping: command.ms ?? 0))
            answer(Self.ok)
        case "setClockBy":
            client.setClockBy(ms: command.byMs ?? command.ms ?? 0)
            answer(Self.ok)
        case "reports":
            answer(["reports": .array(await reports.take().map(said))])
        case "memory":
            answer(["residentBytes": .init(try residentBytes())])
        default:
            answer(["error": "unknown command"])
        }
    }

    private mutating func open(_ command: Command) throws {
        var options = Headwater.Options()
        options.folder = command.folder.map { URL(fileURLWithPath: $0, isDirectory: true) }
        options.survives = command.survives == "power" ? .power : .process
        options.uploads = command.uploads == "host" ? .urlSession : .builtIn
        if let maxEvents = command.maxEvents { options.maxEvents = maxEvents }
        if let maxBytes = command.maxBytes { options.maxBytes = maxBytes }
        if let gatherMs = command.gatherMs { options.gather = Double(gatherMs) / 1000 }
        options.maxAge = command.maxAgeMs.map { Double($0) / 1000 }
        if let maxBatchEvents = command.maxBatchEvents { options.maxBatchEvents = maxBatchEvents }
        options.consent = command.consent ?? [:]
        client = nil
        let opened = try Headwater(
            writeKey: command.writeKey ?? "", endpoint: command.endpoint ?? "", options: options)
        (client, reports) = (opened, Reports())
        let (stream, reports) = (opened.reports, reports)
        Task.detached { for await report in stream { await reports.hear(report) } }
        answer(Self.ok)
    }

    private func record(_ command: Command, _ client: Headwater) throws {
        let options = Headwater.EventOptions(category: command.category ?? .analytics)
        let (properties, traits) = (command.properties, command.traits)
        switch command.do {
        case "identify": told(client.identify(command.userId, traits, options: options))
        case "screen": told(client.screen(command.name ?? "", properties, options: options))
        case "group": told(client.group(command.groupId ?? "", traits, options: options))
        case "alias": told(client.alias(command.userId ?? "", options: options))
        default:
            guard let count = command.count, count > 1 else {
                return told(client.track(command.event ?? "", properties, options: options))
            }
            var properties = properties ?? [:]
            var first: Int64 = 0
            if case .integer(let given)? = properties["n"] { first = given }
            for n in first..<first + Int64(count) {
                properties["n"] = .integer(n)
                told(client.track(command.event ?? "", properties, options: options))
            }
        }
    }

    private func told(_ recorded: Headwater.Recorded) {
        if recorded.messageId.isEmpty {
            answer(["error": "Closed: the client was closed"])
        } else {
            answer(["messageId": .string(recorded.messageId), "durable": .bool(recorded.durable)])
        }
    }

    private static let ok: [String: Headwater.JSONValue] = ["ok": true]
}

/// A line of the orchestrator's.
private struct Command: Decodable {
    let `do`: String
    var writeKey, endpoint, folder, survives, uploads: String?
    var maxEvents, maxBytes, gatherMs, maxBatchEvents, maxAgeMs, count, timeoutMs: Int?
    var ms, byMs: Int64?
    var consentByName, answersByName: [String: Headwater.Answer]?
    var event, userId, groupId, name: String?
    var properties, traits: [String: Headwater.JSONValue]?
    var category: Headwater.Category?

    var consent: [Headwater.Category: Headwater.Answer]? { consentByName.map(Self.categories) }
    var answers: [Headwater.Category: Headwater.Answer]? { answersByName.map(Self.categories) }

    private static func categories(_ named: [String: Headwater.Answer]) -> [Headwater.Category: Headwater.Answer] {
        var answers: [Headwater.Category: Headwater.Answer] = [:]
        for (name, answer) in named {
            if let category = Headwater.Category(rawValue: name) { answers[category] = answer }
        }
        return answers
    }

    private enum CodingKeys: String, CodingKey {
        case `do`, writeKey, endpoint, folder, survives, uploads, maxEvents, maxBytes, gatherMs, maxBatchEvents, count
        case maxAgeMs, timeoutMs, ms, byMs, event, userId, groupId, name, properties, traits, category
        case consentByName = "consent", answersByName = "answers"
    }
}

/// What was told since it was last asked for.
private actor Reports {
    private var heard: [Headwater.Report] = []

    func hear(_ report: Headwater.Report) { heard.append(report) }

    func take() -> [Headwater.Report] {
        defer { heard = [] }
        return heard
    }
}

private func said(_ report: Headwater.Report) -> Headwater.JSONValue {
    switch report {
    case .dropped(let messageId, let reason):
        ["kind": "dropped", "messageId": .init(messageId) { .string($0) }, "reason": .string(reason)]
    case .stopped(let status): ["kind": "stopped", "status": .init(status)]
    case .notDurable(let detail): ["kind": "notDurable", "detail": .string(detail)]
    case .stateLost(let detail): ["kind": "stateLost", "detail": .string(detail)]
    case .notSending(let detail): ["kind": "notSending", "detail": .string(detail)]
    case .noMessages(let detail): ["kind": "noMessages", "detail": .string(detail)]
    case .fieldsLost(let messageId, let detail):
        ["kind": "fieldsLost", "messageId": .string(messageId), "detail": .string(detail)]
    }
}

private func answer(_ members: [String: Headwater.JSONValue]) {
    // One write, and no buffer that dies with the process.
    FileHandle.standardOutput.write(Data((Headwater.JSONValue.object(members).text + "\n").utf8))
}

/// `VmRSS:  1234 kB`.
private func residentBytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
}
