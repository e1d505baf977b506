// The client that an app has. Promises that an event is committed when its verb returns, that no verb throws, blocks on the network or calls
// back, and that any thread and task may call anything. Knows no rule about events: the core behind `HeadwaterCore` has those.
//
//   verbs (Verbs.swift) ─▶ Headwater ─▶ HeadwaterCore ─▶ Rust
//   Listener ◀─ reports, flushes, uploads ─┘   Context, DataFolder, Lifecycle: what the platform knows

import Foundation
internal import HeadwaterCore

/// One client: one write key, one folder. Keep one for the life of the app.
///
/// ```swift
/// let headwater = try Headwater(writeKey: "wk_…", endpoint: "https://events.example.com")
/// headwater.track("Product Viewed", ["sku": "kettle-01", "price": 49])
/// ```
public final class Headwater: Sendable {
    let core: Core
    let listener = Listener()
    let options: Options
    /// The folder that is used.
    public let folder: URL
    private let around: Locked<[String: JSONValue]>
    private let uploads = Locked<URLSessionUploads?>(nil)
    private let listening = Locked<URLSessionUploads?>(nil)
    private let lifecycle = Locked<Lifecycle?>(nil)
    #if canImport(BackgroundTasks) && canImport(UIKit) && !os(watchOS)
    /// The refresh that iOS may wake the app for, once registered.
    let refresh = Locked<String?>(nil)
    #endif
    /// What was known when the client was closed.
    private let last = Locked<(pending: UInt64, user: User)?>(nil)

    /// Opens the folder and begins to send what lies there. `endpoint`: the collector's address, without `/v1`.
    ///
    /// Throws `Failure.invalidOptions` only. A folder that cannot be used is no failure: events are then kept in memory, and
    /// `Report.notDurable` says why.
    public init(writeKey: String, endpoint: String, options: Options = Options()) throws {
        let forCore = try options.forCore(writeKey: writeKey, endpoint: endpoint)
        do {
            core = try Core(options: forCore, host: listener)
        } catch HeadwaterCore.Error.InvalidOptions(let detail) {
            throw Failure.invalidOptions(detail)
        } catch {
            throw Failure.invalidOptions("\(error)")
        }
        self.options = options
        folder = URL(fileURLWithPath: forCore.folder, isDirectory: true)
        around = Locked(Context.known())
        learn([:])
        if options.uploads.byHost {
            let uploads = try URLSessionUploads(core: core, options: options, folder: folder)
            self.uploads.with { $0 = uploads }
            // A no that was said as an earlier process ended: what it left with the system must not go.
            if Category.allCases.contains(where: { consent($0) != .granted }) { uploads.withdraw(ofEarlierProcesses: true) }
            listener.whenReady { [weak uploads] in uploads?.fetch() }
        }
        listener.desk.begin(
            act: { [weak core] id, act in try? core?.act(messageId: id, act: act.forCore) },
            listen: { [weak self] wanted in self?.listen(wanted) })
        let lifecycle = Lifecycle(self)
        self.lifecycle.with { $0 = lifecycle }
    }

    deinit { close() }

    /// Sends what there is without waiting for more, and returns when all of it is answered for, an attempt has failed, the time (seconds) is
    /// over or the task is cancelled: how many events are still here.
    @discardableResult
    public func flush(timeout: TimeInterval = 20) async -> UInt64 {
        let token = listener.newToken()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { waiting in
                guard listener.wait(for: token, waiting) else { return waiting.resume(returning: pending) }
                do {
                    try core.flush(token: token, timeoutMs: Time.ms(timeout))
                } catch {
                    listener.end(token, pending)
                }
                if Task.isCancelled { listener.end(token, pending) }
            }
        } onCancel: {
            listener.end(token, pending)
        }
    }

    /// Events that are not answered for yet, by this process's knowledge; once closed, those of then.
    public var pending: UInt64 {
        (try? core.pending()) ?? last.with { $0?.pending } ?? 0
    }

    /// Who the person is, as far as this device knows; once closed, who it was then.
    public var user: User {
        do {
            return User(anonymousId: try core.anonymousId(), userId: try core.userId())
        } catch {
            return last.with { $0?.user } ?? User(anonymousId: "", userId: nil)
        }
    }

    /// Another id for the device, such as one that a web page gave it.
    public func setAnonymousId(_ anonymousId: String) {
        try? core.setAnonymousId(anonymousId: anonymousId)
        messagesAreForAnother()
    }

    /// Somebody else uses the device from now on: a new anonymous id, no user id, a new session.
    public func reset() {
        try? core.reset()
        messagesAreForAnother()
        // The system would go on with them for hours, in the name of who was here before. Sent anew by this process, they are soon gone.
        if let uploads = urlSessionUploads, uploads.outlivesTheApp { uploads.withdraw() }
    }

    /// The person's answers; categories that are not named keep theirs. A no deletes what was kept of the category.
    public func setConsent(_ answers: [Category: Answer]) {
        try? core.setConsent(
            answers: Dictionary(uniqueKeysWithValues: answers.map { ($0.key.forCore, $0.value.forCore) }))
        if answers.values.contains(where: { $0 != .granted }) { urlSessionUploads?.withdraw() }
    }

    /// One answer for all categories.
    public func setConsent(_ answer: Answer) {
        setConsent(Dictionary(uniqueKeysWithValues: Category.allCases.map { ($0, answer) }))
    }

    /// What holds for a category now; once closed, nothing is granted.
    public func consent(_ category: Category) -> Answer {
        (try? core.consent(category: category.forCore)).map(Answer.init) ?? .denied
    }

    /// What happens to events from now on, for one reader; each call gives another stream. The first one also has what nobody has heard yet
    /// (the last 100). A reader that is slow misses the oldest beyond 1,000. Ends when the client is closed.
    public var reports: AsyncStream<Report> { listener.reports() }

    /// The app is in front: failed requests and events of other processes are looked after at once. Called by itself with `lifecycle`.
    public func foreground() {
        learn(Context.known())
        try? core.foreground()
    }

    /// The app is about to be suspended: what was not sent yet is sent now. Called by itself with `lifecycle`.
    public func background() {
        try? core.background()
        // Whoever comes back asks anew.
        listening.with { $0 }?.withdraw()
    }

    /// The network came back. Called by itself on Apple's platforms.
    public func online() {
        try? core.online()
    }

    /// Ends the client's threads; what is stored stays, for the next start. Verbs called later record nothing. Also done by `deinit`.
    public func close() {
        let now = (pending, user)
        let first = last.with { last in
            defer { last = last ?? now }
            return last == nil
        }
        guard first else { return }
        core.close()
        lifecycle.with { $0 = nil }
        uploads.with { uploads in
            uploads?.close()
            uploads = nil
        }
        listening.with { listening in
            listening?.withdraw()
            listening?.close()
            listening = nil
        }
        listener.close(pending: last.with { $0?.pending } ?? 0)
    }

    /// Somebody reads messages, or nobody does any more.
    private func listen(_ wanted: Bool) {
        if wanted, options.uploads.byHost, listening.with({ $0 == nil }), last.with({ $0 == nil }) {
            let requests = try? URLSessionUploads(core: core, options: options, folder: folder, of: .messages)
            listening.with { $0 = requests }
            listener.whenListening { [weak requests] in requests?.fetch() }
        }
        try? core.listen(wanted: wanted)
    }

    private func messagesAreForAnother() {
        listener.desk.forget()
        listening.with { $0 }?.withdraw()
    }

    /// More is known of where events happen: it stands in every event from now on.
    func learn(_ more: [String: JSONValue]) {
        around.with { around in
            around.merge(more) { _, new in new }
            let context = around.merging(options.context) { _, own in own }
            try? core.setContext(context: JSONValue.text(context))
        }
    }

    /// Whether another attempt at what is left could do something. Of a client that was closed in the middle nobody knows.
    var isWorthAnother: Bool {
        guard let uploads = urlSessionUploads, !uploads.isWorthAnother else { return true }
        // What an earlier process was sending as it ended is held back until nobody can be sending it any more.
        return !uploads.isStopped && Category.allCases.allSatisfy { consent($0) != .pending }
    }

    /// The uploads of this side of the boundary, if they are made here.
    var urlSessionUploads: URLSessionUploads? { uploads.with { $0 } }
}

#if HEADWATER_TESTING
extension Headwater {
    /// Moves both clocks of the core on.
    package func pass(ms: UInt32) { core.pass(ms: ms) }
    /// Sets the device's clock forward, or back.
    package func setClockBy(ms: Int64) { core.setClockBy(ms: ms) }
}
#endif
