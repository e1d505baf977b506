// Flushes that wait, reports, and the end of a client.

import Foundation
import Testing

@testable import Headwater

@Suite struct LifeTests {
    @Test func aFlushEndsWithTheAttemptTheTimeOrTheTask() async throws {
        let folder = try Folder()
        // A server that accepts and never answers.
        let silent = try Silent()
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(silent.port)", options: folder.options())
        client.track("E")
        #expect(await client.flush(timeout: 0.05) == 1)
        let waiting = Task { await client.flush(timeout: 3_600) }
        waiting.cancel()
        #expect(await waiting.value == 1)
        #expect(await Task { () -> UInt64 in
            withUnsafeCurrentTask { $0?.cancel() }
            return await client.flush(timeout: 3_600)
        }.value == 1)
        #expect(try await Folder().alone().flush(timeout: patience) == 0)
    }

    @Test func closeEndsWhatWaitsAndNothingIsRecordedAfter() async throws {
        let folder = try Folder()
        let silent = try Silent()
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(silent.port)", options: folder.options())
        client.track("E")
        client.identify("u-1")
        let user = client.user
        let reports = client.reports
        let listening = Task { () -> Int in
            var count = 0
            for await _ in reports { count += 1 }
            return count
        }
        let waiting = Task { await client.flush(timeout: 3_600) }
        while !client.listener.someoneWaits { await Task.yield() }
        client.close()
        #expect(await waiting.value == 2)
        #expect(await listening.value == 0)
        client.close()
        #expect(client.track("Late") == Headwater.Recorded(messageId: "", durable: false))
        #expect(client.identify("late", ["bad": .number(.nan)]).messageId == "")
        client.reset()
        client.setConsent(.granted)
        #expect(client.pending == 2 && client.user == user)
        #expect(await client.flush() == 2)
        #expect(await first(client.reports) { _ in true } == nil)
    }

    @Test func aClientThatNobodyHoldsIsGone() async throws {
        let folder = try Folder()
        weak var gone: Headwater?
        do {
            let client = try folder.alone()
            client.track("E")
            gone = client
        }
        #expect(gone == nil)
        // Its folder is free, and what it stored is there.
        #expect(try folder.alone().pending == 1)
    }

    @Test func reportsReachEveryReaderAndWaitForTheFirst() async throws {
        let folder = try Folder()
        let client = try folder.alone { $0.maxEvents = 10 }
        for n in 0..<13 { client.track("E", ["n": .init(n)]) }
        let dropped = { @Sendable (report: Headwater.Report) in
            if case .dropped(_, "queue_full") = report { true } else { false }
        }
        let (one, other) = (client.reports, client.reports)
        #expect(await first(one, where: dropped) != nil)
        client.track("One More")
        #expect(await first(other, where: dropped) != nil)
        #expect(client.pending == 10)
    }

    @Test func aReaderOfReportsMayCallTheClient() async throws {
        let folder = try Folder()
        let client = try folder.alone { $0.maxEvents = 5 }
        for n in 0..<6 { client.track("E", ["n": .init(n)]) }
        for await _ in client.reports {
            client.track("From Within")
            #expect(await client.flush(timeout: 0.01) > 0)
            break
        }
    }

    @Test func damageIsToldAndAFolderThatIsNoneIsNoFailure() async throws {
        let folder = try Folder()
        try folder.alone().close()
        let file = folder.url.appendingPathComponent("app/headwater.db")
        // Its log beside it would mend it.
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: file.path + suffix) }
        try Data(repeating: 7, count: 8_192).write(to: file)
        let client = try folder.alone()
        #expect(await first(client.reports) { if case .stateLost = $0 { true } else { false } } != nil)
        #expect(client.track("E").durable)

        let taken = folder.url.appendingPathComponent("taken")
        try Data().write(to: taken)
        let nowhere = try folder.alone { $0.folder = taken }
        #expect(!nowhere.track("E").durable)
        #expect(await first(nowhere.reports) { if case .notDurable = $0 { true } else { false } } != nil)
    }
}

/// Accepts connections, for the kernel does, and says nothing, or this to each of them.
final class Silent {
    let port: UInt16
    private let socket: Int32

    init(but answer: String? = nil) throws {
        #if canImport(Glibc)
        let stream = Int32(SOCK_STREAM.rawValue)
        #else
        let stream = SOCK_STREAM
        #endif
        let socket = Foundation.socket(AF_INET, stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> UInt16? in
                guard bind(socket, address, size) == 0, listen(socket, 8) == 0,
                    getsockname(socket, address, &size) == 0
                else { return nil }
                return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    UInt16(bigEndian: $0.pointee.sin_port)
                }
            }
        }
        (self.port, self.socket) = (try #require(port), socket)
        guard let answer else { return }
        Thread.detachNewThread {
            while case let peer = accept(socket, nil, nil), peer >= 0 {
                var room = [UInt8](repeating: 0, count: 65_536)
                _ = read(peer, &room, room.count)
                _ = answer.withCString { send(peer, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
                close(peer)
            }
        }
    }

    deinit {
        // Ends the thread, too.
        shutdown(socket, Int32(SHUT_RDWR))
        close(socket)
    }
}
