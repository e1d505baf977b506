// What the core tells a client, handed on to whoever waits for it: flushes, reports, uploads. Promises that every `flush` that waits is
// resumed exactly once, also when the client is closed, and that a report nobody listens for yet is kept (the last 100) and logged. Holds
// neither the client nor the core: they hold it.

import Foundation
internal import HeadwaterCore

final class Listener: HeadwaterCore.Host {
    typealias Waiting = CheckedContinuation<UInt64, Never>

    private struct State {
        var lastToken: UInt64 = 0
        var waiting: [UInt64: Waiting] = [:]
        var streams: [UInt64: AsyncStream<Headwater.Report>.Continuation] = [:]
        var unheard: [Headwater.Report] = []
        var fetch: (@Sendable () -> Void)?
        var listen: (@Sendable () -> Void)?
        var closed = false
    }

    private let state = Locked(State())
    /// Where messages go.
    let desk = MessageDesk()

    // Called by the core, on a thread of its own.

    func uploadReady() {
        state.with { $0.fetch }?()
    }

    func report(report: HeadwaterCore.Report) {
        hear(Headwater.Report(report))
    }

    func message(message: HeadwaterCore.Message) {
        desk.tell(message)
    }

    func listenReady() {
        state.with { $0.listen }?()
    }

    func flushed(token: UInt64, pending: UInt64) {
        end(token, pending)
    }

    // Called by the client.

    /// Calls this whenever there is something to upload, and once now: it may have been ready before.
    func whenReady(_ fetch: @escaping @Sendable () -> Void) {
        state.with { $0.fetch = fetch }
        fetch()
    }

    /// Calls this whenever there is a request for messages to make, and once now.
    func whenListening(_ listen: @escaping @Sendable () -> Void) {
        state.with { $0.listen = listen }
        listen()
    }

    func newToken() -> UInt64 {
        state.with { state in
            state.lastToken += 1
            return state.lastToken
        }
    }

    /// Whoever waits for this flush; refused once the client is closed.
    func wait(for token: UInt64, _ waiting: Waiting) -> Bool {
        state.with { state in
            if !state.closed { state.waiting[token] = waiting }
            return !state.closed
        }
    }

    /// For tests.
    var unheard: [Headwater.Report] { state.with { $0.unheard } }
    /// For tests.
    var someoneWaits: Bool { state.with { !$0.waiting.isEmpty } }

    func end(_ token: UInt64, _ pending: UInt64) {
        state.with { $0.waiting.removeValue(forKey: token) }?.resume(returning: pending)
    }

    func hear(_ report: Headwater.Report) {
        let heard = state.with { state in
            // In here, so that every stream has them in order.
            for stream in state.streams.values { stream.yield(report) }
            if state.streams.isEmpty {
                if state.unheard.count == Self.maxUnheard { state.unheard.removeFirst() }
                state.unheard.append(report)
            }
            return !state.streams.isEmpty
        }
        if !heard { Log.write("\(report)") }
    }

    func reports() -> AsyncStream<Headwater.Report> {
        AsyncStream(bufferingPolicy: .bufferingNewest(Self.maxBuffered)) { stream in
            let (token, closed) = state.with { state in
                state.lastToken += 1
                for report in state.unheard { stream.yield(report) }
                state.unheard = []
                if !state.closed { state.streams[state.lastToken] = stream }
                return (state.lastToken, state.closed)
            }
            if closed { return stream.finish() }
            stream.onTermination = { [state] _ in _ = state.with { $0.streams.removeValue(forKey: token) } }
        }
    }

    /// Nothing more comes: who waits for a flush learns what was left, who listens that it is over.
    func close(pending: UInt64) {
        let (waiting, streams) = state.with { state in
            state.closed = true
            (state.fetch, state.listen) = (nil, nil)
            defer { (state.waiting, state.streams) = ([:], [:]) }
            return (Array(state.waiting.values), Array(state.streams.values))
        }
        for flush in waiting { flush.resume(returning: pending) }
        for stream in streams { stream.finish() }
        desk.close()
    }

    private static let maxUnheard = 100
    /// Per stream that is read too slowly: the newest.
    private static let maxBuffered = 1_000
}
