// What an app may choose, with the default of each choice, and the words of its answers. Promises that every number is taken (what makes no
// sense is moved to the nearest that does). Knows nothing of how it is done.

import Foundation
internal import HeadwaterCore

extension Headwater {
    /// Options of a client. All have defaults that suit an app.
    public struct Options: Sendable {
        /// A folder of this client's own. Default: `headwater/` and the write key's name in Application Support, left out of backups (on Linux
        /// in `$XDG_STATE_HOME`, or `~/.local/state`). Two processes may share it: one of them sends for both.
        public var folder: URL?
        /// What a commit survives. Default: the death of the process.
        public var survives = Survives.process
        /// Who makes the requests. Default: URLSession on Apple's platforms, this library on others.
        public var uploads = Uploads.platform
        /// Events kept while they cannot be sent; the oldest of the least important are dropped, and reported, beyond it.
        public var maxEvents = 100_000
        /// Bytes of the file they are kept in.
        public var maxBytes = 50 * 1024 * 1024
        /// Age at which an event is given up, in seconds, judged when a request fails. Default: none is too old.
        public var maxAge: TimeInterval?
        /// How long the first event of a batch waits for others, in seconds. Longer saves a phone's radio.
        public var gather: TimeInterval = 0.1
        /// Events in a batch; a backlog goes in batches of up to eight times as many.
        public var maxBatchEvents = 100
        /// What holds for a category until the person was asked. Default: granted.
        public var consent: [Category: Answer] = [:]
        /// Members of every event's context that stand in place of those found on the device: `["app": ["name": "Shop"]]`.
        public var context: [String: JSONValue] = [:]
        /// Whether the app's life is followed by itself (UIKit, AppKit): `Application Installed`, `Updated`, `Opened`, `Backgrounded`, what is
        /// waiting sent as the app leaves. Without it, call `opened`, `foreground` and `background`. In an app extension, set it to false.
        public var lifecycle = true

        public init() {}
    }

    /// What a commit survives.
    public enum Survives: Sendable, Hashable {
        /// The death of the process, however it dies.
        case process
        /// The loss of power as well: each call waits for the disk.
        case power
    }

    /// Who makes the requests.
    public enum Uploads: Sendable, Hashable {
        /// URLSession on Apple's platforms, the library's own HTTP elsewhere.
        case platform
        /// The library's own HTTP. The release for Apple's platforms has none.
        case builtIn
        /// A URLSession of the client's own, while the app runs.
        case urlSession
        /// A background URLSession with this identifier, which goes on while the app is suspended: see
        /// `Headwater.handleEvents(forBackgroundSession:completion:)`. Apple's platforms only.
        case backgroundURLSession(String)
    }

    /// What an event is collected for: each has its own answer about consent.
    public enum Category: String, Sendable, Hashable, CaseIterable, Codable {
        /// To know how the product is used. Events that name none are of this one.
        case analytics
        /// To advertise.
        case marketing
        /// To make the product work better for this person.
        case functional
        /// To make it work at all.
        case necessary
    }

    /// The person's answer about a category.
    public enum Answer: String, Sendable, Hashable, CaseIterable, Codable {
        /// Not given yet: events are kept, and not sent.
        case pending
        /// Yes.
        case granted
        /// No: what was kept is deleted, and nothing more is.
        case denied
    }

    /// What a call may say beside its event.
    public struct EventOptions: Sendable {
        /// What it is collected for.
        public var category: Category
        /// When it happened. Default: now.
        public var timestamp: Date?
        /// Members of its context that stand in place of the client's.
        public var context: [String: JSONValue]?

        public init(
            category: Category = .analytics, timestamp: Date? = nil, context: [String: JSONValue]? = nil
        ) {
            self.category = category
            self.timestamp = timestamp
            self.context = context
        }
    }

    /// An event that was taken.
    public struct Recorded: Sendable, Hashable {
        /// Its id: a UUID, version 7. Empty if the client was closed and nothing was recorded.
        public let messageId: String
        /// Whether it is committed. If not, the person said no to its category, or storage refused it and it is in memory alone.
        public let durable: Bool
    }

    /// Who the person is, as far as this device knows.
    public struct User: Sendable, Hashable {
        /// The device's id.
        public let anonymousId: String
        /// The person's id, once known.
        public let userId: String?
    }

    /// Something that the app, or a human, may want to know.
    public enum Report: Sendable, Hashable {
        /// An event was given up: `queue_full`, `too_old`, `too_large`, `refused`, `denied`, `storage_lost`. Its id, where that is known.
        case dropped(messageId: String?, reason: String)
        /// The collector does not know the write key (401, 403): nothing is sent until the next start or flush. Events are kept.
        case stopped(status: Int)
        /// Storage refuses: events are in memory alone until it takes them again. Told once.
        case notDurable(detail: String)
        /// A file could not be read, and was set aside.
        case stateLost(detail: String)
        /// Nothing goes out: the collector cannot be reached, or somebody else answers. Events are kept. Told once for each run of failures.
        case notSending(detail: String)
        /// The collector tells this device no messages. It is not asked again until the app comes to the front.
        case noMessages(detail: String)
        /// An event was recorded without its properties, traits or context: they have no JSON form.
        case fieldsLost(messageId: String, detail: String)
    }

    /// Why there is no client.
    public enum Failure: Swift.Error, Sendable, Hashable {
        /// An option makes no sense: which, and what to do.
        case invalidOptions(String)
    }
}

extension Headwater.Options {
    /// The same for the core.
    func forCore(writeKey: String, endpoint: String) throws -> HeadwaterCore.Options {
        let folder = try self.folder ?? DataFolder.standard(for: writeKey)
        guard folder.isFileURL else {
            throw Headwater.Failure.invalidOptions("folder is no file URL: name a folder in the app's private storage")
        }
        DataFolder.prepare(folder)
        return HeadwaterCore.Options(
            writeKey: writeKey,
            endpoint: endpoint,
            folder: folder.path,
            survives: survives == .power ? .power : .process,
            uploads: uploads.byHost ? .host : .builtIn,
            uploadTimeoutMs: uploads.timeoutMs,
            maxEvents: UInt64(clamping: maxEvents),
            maxBytes: UInt64(clamping: maxBytes),
            maxAgeMs: maxAge.map(Time.ms),
            gatherMs: Time.ms(gather),
            maxBatchEvents: UInt32(clamping: maxBatchEvents),
            consent: Dictionary(uniqueKeysWithValues: consent.map { ($0.key.forCore, $0.value.forCore) })
        )
    }
}

extension Headwater.Uploads {
    /// How long the core waits for an answer; the system tries for seven days in the background (`timeoutIntervalForResource`).
    var timeoutMs: UInt64? {
        if case .backgroundURLSession = self { return 7 * 24 * 3600 * 1000 }
        return nil
    }

    /// Whether the requests are made on this side of the boundary.
    var byHost: Bool {
        switch self {
        case .builtIn: return false
        case .urlSession, .backgroundURLSession: return true
        case .platform:
            #if canImport(Darwin) || HEADWATER_STAND_INS
            return true
            #else
            return false
            #endif
        }
    }
}

extension Headwater.Category {
    var forCore: HeadwaterCore.Category {
        switch self {
        case .analytics: .analytics
        case .marketing: .marketing
        case .functional: .functional
        case .necessary: .necessary
        }
    }
}

extension Headwater.Answer {
    var forCore: HeadwaterCore.Answer {
        switch self {
        case .pending: .pending
        case .granted: .granted
        case .denied: .denied
        }
    }

    init(_ answer: HeadwaterCore.Answer) {
        switch answer {
        case .pending: self = .pending
        case .granted: self = .granted
        case .denied: self = .denied
        }
    }
}

extension Headwater.EventOptions {
    /// The same for the core.
    var forCore: HeadwaterCore.EventOptions {
        HeadwaterCore.EventOptions(
            category: category.forCore, timestampMs: timestamp.map(Time.unixMs),
            context: context.map(Headwater.JSONValue.text))
    }
}

extension Headwater.Report {
    init(_ report: HeadwaterCore.Report) {
        switch report {
        case .dropped(let messageId, let reason): self = .dropped(messageId: messageId, reason: reason)
        case .stopped(let status): self = .stopped(status: Int(status))
        case .notDurable(let detail): self = .notDurable(detail: detail)
        case .stateLost(let detail): self = .stateLost(detail: detail)
        case .notSending(let detail): self = .notSending(detail: detail)
        case .noMessages(let detail): self = .noMessages(detail: detail)
        }
    }
}

extension Headwater.Report: CustomStringConvertible {
    /// A sentence, with what to do where something can be done.
    public var description: String {
        switch self {
        case .dropped(let messageId, let reason): "an event was dropped: \(reason)\(messageId.map { ", \($0)" } ?? "")"
        case .stopped(let status):
            "the collector refuses the write key (\(status)): compare writeKey with the write_key of the source in the configuration of the "
                + "collector at endpoint; what is stored is sent once they are the same"
        case .notDurable(let detail): "events are in memory alone: \(detail)"
        case .stateLost(let detail): detail
        case .notSending(let detail): detail
        case .noMessages(let detail): detail
        case .fieldsLost(let messageId, let detail): "\(messageId) was recorded without its fields: \(detail)"
        }
    }
}

extension Headwater.Failure: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .invalidOptions(let detail): detail
        }
    }
}
