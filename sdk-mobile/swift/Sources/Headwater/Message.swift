// What rules say to whoever uses the app: one message, the sequence that an app reads, and who hands them over. Promises that nothing is read
// after `reset()` that was for the one before, and that a reader that is gone is asked for no more. Draws nothing: the app does.

import Foundation
internal import HeadwaterCore

extension Headwater {
    /// What a rule says to the person in front of the app. Texts are plain. Draw it where it belongs, and say what became of it: what was never
    /// shown is told again at the next visit.
    public struct Message: Sendable, Identifiable {
        /// Its id, which `Message Shown` and the others name as `message_id`.
        public let id: String
        /// The rule that says it.
        public let rule: String
        /// Where in the app it belongs.
        public let placement: String
        /// Its title.
        public let title: String?
        /// Its text.
        public let body: String?
        /// What is to be pressed.
        public let button: String?
        /// Where that leads: a path, or an address with its scheme.
        public let url: String?
        /// What the rule says beside, by name.
        public let data: [String: String]
        /// When it is of no use any more.
        public let expiresAt: Date
        let act: @Sendable (MessageAct) -> Void

        /// The person has seen it: it is told to no device again. Sends `Message Shown`, once.
        public func shown() { act(.shown) }
        /// The person followed it. Sends `Message Clicked`, once; it is shown, too.
        public func clicked() { act(.clicked) }
        /// The person closed it. Sends `Message Dismissed`, once; it is shown, too.
        public func dismissed() { act(.dismissed) }
    }

    /// Messages as they come, for one reader. Ends when the client is closed.
    public struct Messages: AsyncSequence, Sendable {
        public typealias Element = Message
        let stream: AsyncStream<Told>

        public func makeAsyncIterator() -> Iterator { Iterator(told: stream.makeAsyncIterator()) }

        public struct Iterator: AsyncIteratorProtocol {
            var told: AsyncStream<Told>.Iterator

            /// The next message, for whoever uses the app now.
            public mutating func next() async -> Message? {
                while let next = await told.next() {
                    if next.isCurrent() { return next.message }
                }
                return nil
            }
        }
    }

    /// A message, and whether it is still for whoever uses the app.
    struct Told: Sendable {
        let message: Message
        let isCurrent: @Sendable () -> Bool
    }
}

/// What became of a message.
enum MessageAct: Sendable {
    case shown
    case clicked
    case dismissed

    var forCore: HeadwaterCore.Act {
        switch self {
        case .shown: .shown
        case .clicked: .clicked
        case .dismissed: .dismissed
        }
    }
}

/// Hands messages to those who read them. Holds neither the client nor the core.
final class MessageDesk: Sendable {
    private struct State {
        var lastToken: UInt64 = 0
        var readers: [UInt64: AsyncStream<Headwater.Told>.Continuation] = [:]
        /// Counts whom they were for.
        var person: UInt64 = 0
        /// Says to the core what became of a message.
        var act: (@Sendable (String, MessageAct) -> Void)?
        /// Called as the first reader comes, and as the last one goes.
        var listen: (@Sendable (Bool) -> Void)?
        var closed = false
    }

    private let state = Locked(State())

    func begin(
        act: @escaping @Sendable (String, MessageAct) -> Void, listen: @escaping @Sendable (Bool) -> Void
    ) {
        state.with { ($0.act, $0.listen) = (act, listen) }
    }

    /// Called by the core, on a thread of its own.
    func tell(_ said: HeadwaterCore.Message) {
        state.with { state in
            let (person, act, id) = (state.person, state.act, said.id)
            let message = Headwater.Message(
                id: id, rule: said.rule, placement: said.placement, title: said.title, body: said.body,
                button: said.button, url: said.url, data: said.data,
                expiresAt: Date(timeIntervalSince1970: Double(said.expiresAtMs) / 1000), act: { act?(id, $0) })
            let told = Headwater.Told(message: message) { [weak self] in self?.isFor(person) == true }
            for reader in state.readers.values { reader.yield(told) }
        }
    }

    private func isFor(_ person: UInt64) -> Bool { state.with { $0.person == person } }

    /// Somebody else from now on.
    func forget() { state.with { $0.person += 1 } }

    func messages() -> Headwater.Messages {
        // The core keeps no more of them than this.
        Headwater.Messages(
            stream: AsyncStream(bufferingPolicy: .bufferingNewest(1_000)) { reader in
                let (token, listen, closed) = state.with { state in
                    state.lastToken += 1
                    if !state.closed { state.readers[state.lastToken] = reader }
                    return (state.lastToken, state.readers.count == 1 ? state.listen : nil, state.closed)
                }
                if closed { return reader.finish() }
                reader.onTermination = { [weak self] _ in self?.end(token) }
                listen?(true)
            })
    }

    private func end(_ token: UInt64) {
        let listen = state.with { state in
            let last = state.readers.removeValue(forKey: token) != nil && state.readers.isEmpty
            return last && !state.closed ? state.listen : nil
        }
        listen?(false)
    }

    /// Nothing more comes.
    func close() {
        let readers = state.with { state in
            state.closed = true
            state.person += 1
            (state.act, state.listen) = (nil, nil)
            defer { state.readers = [:] }
            return Array(state.readers.values)
        }
        for reader in readers { reader.finish() }
    }
}

extension Headwater {
    /// What rules say to the person in front of the app, for one reader; each call gives another sequence. While somebody reads, the collector is
    /// asked as long as the app is in front and consent for `functional` is granted. Each message is told once in a process, to all who read
    /// then: read once, for the life of the app. The app draws the message, and says what became of it.
    ///
    /// ```swift
    /// for await message in headwater.messages where message.placement == "card" { … message.shown() }
    /// ```
    public var messages: Messages { listener.desk.messages() }
}
