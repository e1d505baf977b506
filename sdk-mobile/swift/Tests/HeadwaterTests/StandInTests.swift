// An app's life on Apple's platforms, with UIKit, BackgroundTasks and Network played by stand-ins: what is said, sent and given back when.
// Promises nothing about a device. Compiled with HEADWATER_STAND_INS=1.

#if HEADWATER_STAND_INS

import BackgroundTasks
import Foundation
import FoundationNetworking
import Network
import SwiftUI
import Testing
import UIKit

@testable import Headwater

/// One after the other: there is one application.
@MainActor @Suite(.serialized) struct StandInTests {
    private func post(_ name: Notification.Name) { NotificationCenter.default.post(name: name, object: nil) }

    /// What was put off to the main queue is done: on Linux its thread is not the one that Foundation calls main.
    private func settled() async {
        await withCheckedContinuation { waiting in DispatchQueue.main.async { waiting.resume() } }
    }

    /// Waits until it is so.
    private func until(_ what: Comment, _ isSo: () -> Bool) async throws {
        let start = Date()
        while !isSo() {
            try #require(-start.timeIntervalSinceNow < patience, what)
            try await Task.sleep(nanoseconds: 1_000_000)
        }
    }

    @Test func anAppThatIsOpenedLeftAndOpenedAgainSaysSo() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector)
        await settled()
        // Scenes enter the foreground at launch: nothing is said twice.
        post(UIApplication.willEnterForegroundNotification)
        post(UIApplication.didBecomeActiveNotification)
        let begun = UIApplication.shared.begun
        post(UIApplication.didEnterBackgroundNotification)
        #expect(UIApplication.shared.begun == begun + 1)
        try await until("the background task ends by itself") { UIApplication.shared.tasks.isEmpty }
        #expect(client.pending == 0)
        post(UIApplication.willEnterForegroundNotification)
        post(UIApplication.didBecomeActiveNotification)
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(4)
        #expect(events.map { $0["event"] } == [
            "Application Installed", "Application Opened", "Application Backgrounded", "Application Opened",
        ])
        #expect(events[1]["properties"]["from_background"] == false)
        #expect(events[3]["properties"]["from_background"] == true)
        #expect(events[0]["context"]["screen"] == ["width": 393, "height": 852, "density": 3])
        #expect(events[0]["context"]["device"] == [
            "id": "11111111-2222-4333-8444-555555555555", "name": "iPhone", "manufacturer": "Apple",
            "model": "iPhone16,2", "type": "linux",
        ])
    }

    @Test func theSystemGetsItsTimeBackAndIsAskedForAnother() async throws {
        let folder = try Folder()
        let silent = try Silent()
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(silent.port)", options: folder.options())
        let task = "io.headwater.test.\(UUID().uuidString)"
        #expect(client.registerRefresh(identifier: task))
        client.track("Waits")
        await settled()
        post(UIApplication.didEnterBackgroundNotification)
        try await until("there is a task") { !UIApplication.shared.tasks.isEmpty }
        for expired in UIApplication.shared.tasks.values { expired?() }
        #expect(UIApplication.shared.tasks.isEmpty)
        try await until("the flush waits") { client.listener.someoneWaits }
        client.close()
        try await until("a refresh is asked for") { BGTaskScheduler.shared.submitted.contains(task) }
        // No client, no work: over at once.
        #expect(await BGTaskScheduler.shared.run(task) == false)
    }

    @Test func theSystemGetsItsTimeBackFromAClientThatIsGone() async throws {
        let silent = try Silent()
        var client: Headwater? = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(silent.port)", options: Folder().options())
        client?.track("Waits")
        await settled()
        post(UIApplication.didEnterBackgroundNotification)
        try await until("there is a task") { !UIApplication.shared.tasks.isEmpty }
        client?.close()
        client = nil
        try await until("the background task ends") { UIApplication.shared.tasks.isEmpty }
    }

    @Test func aRefreshIsAskedForWhatWasOnItsWayAsTheProcessEnded() async throws {
        let folder = try Folder()
        let silent = try Silent()
        let endpoint = "http://127.0.0.1:\(silent.port)"
        let earlier = try Headwater(writeKey: "wk_test", endpoint: endpoint, options: folder.options())
        earlier.track("On Its Way")
        try await until("a request is made") { (earlier.urlSessionUploads?.away ?? 0) > 0 }
        earlier.close()
        // It may still arrive: nothing is sent again yet, and the system is asked for another time.
        let client = try Headwater(writeKey: "wk_test", endpoint: endpoint, options: folder.options())
        defer { client.close() }
        let task = "io.headwater.test.\(UUID().uuidString)"
        client.registerRefresh(identifier: task)
        #expect(await BGTaskScheduler.shared.run(task) == false)
        #expect(client.urlSessionUploads?.away == 0)
        #expect(BGTaskScheduler.shared.submitted.contains(task))
    }

    @Test func noRefreshIsAskedForWhatWaitsForThePersonOrForAKey() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        for (key, consent) in [("wk_unknown", [:]), ("wk_test", [.analytics: .pending])] as [(String, [Headwater.Category: Headwater.Answer])] {
            let client = try Headwater(
                writeKey: key, endpoint: collector.endpoint,
                options: folder.options {
                    $0.folder = folder.url.appendingPathComponent(key)
                    $0.consent = consent
                })
            let task = "io.headwater.test.\(UUID().uuidString)"
            client.registerRefresh(identifier: task)
            client.track("Waits")
            await settled()
            post(UIApplication.didEnterBackgroundNotification)
            try await until("the background task ends") { UIApplication.shared.tasks.isEmpty }
            #expect(await BGTaskScheduler.shared.run(task) == false)
            #expect(client.pending > 0)
            #expect(!BGTaskScheduler.shared.submitted.contains(task), "\(key)")
            client.close()
        }
    }

    @Test func aNoTakesBackWhatIsWithTheSystem() async throws {
        let folder = try Folder()
        let silent = try Silent()
        let files = folder.url.appendingPathComponent("app/uploads")
        func left() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: files.path)) ?? [] }
        let client = try Headwater(
            writeKey: "wk_test", endpoint: "http://127.0.0.1:\(silent.port)",
            options: folder.options { ($0.uploads, $0.lifecycle) = (.backgroundURLSession("shop.events"), false) })
        for take in 0..<2 {
            client.track("Waits")
            if take == 1 { client.online() }
            try await until("a body is with the system") { !left().isEmpty }
            // Foundation on Linux falls over a task that is cancelled while libcurl waits for its body.
            let start = Date()
            while await !isSent(client) {
                try #require(-start.timeIntervalSinceNow < patience, "the body goes out")
                try await Task.sleep(nanoseconds: 1_000_000)
            }
            if take == 0 { client.reset() } else { client.setConsent(.denied) }
            try await until("it is gone") { left().isEmpty && client.urlSessionUploads?.away == 0 }
        }
        #expect(client.pending == 0)
        // Nobody is told of what was given up on purpose.
        #expect(client.listener.unheard.isEmpty)
    }

    private func isSent(_ client: Headwater) async -> Bool {
        guard let session = client.urlSessionUploads?.session.with({ $0 }) else { return false }
        let sent: [Int64] = await withCheckedContinuation { waiting in
            session.getAllTasks { waiting.resume(returning: $0.map(\.countOfBytesSent)) }
        }
        return !sent.isEmpty && sent.allSatisfy { $0 > 0 }
    }

    @Test func theSystemsHandlerIsCalledWhicheverComesFirst() async throws {
        let client = try Folder().alone { ($0.uploads, $0.lifecycle) = (.backgroundURLSession("shop.events"), false) }
        var handled = 0
        client.urlSessionUploads?.urlSessionDidFinishEvents(forBackgroundURLSession: .shared)
        await settled()
        client.handleEvents(forBackgroundSession: "shop.events") { handled += 1 }
        await settled()
        #expect(handled == 1)
        client.handleEvents(forBackgroundSession: "shop.events") { handled += 1 }
        await settled()
        #expect(handled == 1)
        client.close()
        await settled()
        #expect(handled == 2)
    }

    @Test func aRefreshSendsWhatWaits() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector) { ($0.gather, $0.lifecycle) = (3_600, false) }
        let task = "io.headwater.test.\(UUID().uuidString)"
        client.registerRefresh(identifier: task)
        client.track("Waits")
        #expect(await BGTaskScheduler.shared.run(task))
        #expect(client.pending == 0)
        #expect(!BGTaskScheduler.shared.submitted.contains(task))
    }

    @Test func theNetworkIsKnownAndItsReturnIsHeard() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let before = NWPathMonitor.count
        let client = try folder.client(of: collector) { $0.lifecycle = false }
        #expect(NWPathMonitor.count == before + 1)
        NWPathMonitor.change(to: NWPath(.unsatisfied, .wifi))
        client.track("Away")
        NWPathMonitor.change(to: NWPath(.satisfied, .cellular))
        client.track("Back")
        #expect(await client.flush(timeout: patience) == 0)
        let events = try await collector.events(2)
        #expect(events.map { $0["context"]["network"] } == [
            ["wifi": false, "cellular": false], ["wifi": false, "cellular": true],
        ])
        client.close()
        #expect(NWPathMonitor.count == before)
    }

    @Test func aBackgroundSessionSendsFromFilesAndForgetsThem() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let files = folder.url.appendingPathComponent("app/uploads")
        try FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
        try Data([1]).write(to: files.appendingPathComponent("an-earlier-process.1"))
        let client = try folder.client(of: collector) { options in
            (options.uploads, options.lifecycle) = (.backgroundURLSession("shop.events"), false)
        }
        for n in 0..<150 { client.track("Hit", ["n": .init(n)]) }
        #expect(await client.flush(timeout: patience) == 0)
        #expect(try await collector.events(150).count == 150)
        try await until("no file is left") {
            (try? FileManager.default.contentsOfDirectory(atPath: files.path))?.isEmpty == true
        }
        var handled = 0
        #expect(client.handleEvents(forBackgroundSession: "shop.events") { handled += 1 })
        #expect(!client.handleEvents(forBackgroundSession: "another") { handled += 10 })
        // As the system says it, from the session's own queue, and again.
        await Task.detached { client.urlSessionUploads?.urlSessionDidFinishEvents(forBackgroundURLSession: .shared) }.value
        client.urlSessionUploads?.urlSessionDidFinishEvents(forBackgroundURLSession: .shared)
        await settled()
        #expect(handled == 1)
    }

    @Test func linksOfAScene() async throws {
        let folder = try Folder()
        let collector = try Collector(in: folder)
        let client = try folder.client(of: collector) { $0.lifecycle = false }
        client.opened([UIOpenURLContext(url: URL(string: "shop://kettle")!, from: "com.example.mail")])
        client.opened(NSUserActivity(URL(string: "https://shop.example/kettle")))
        client.opened(NSUserActivity(nil))
        #expect(await client.flush(timeout: patience) == 0)
        #expect(try await collector.events(2).map { $0["properties"]["url"] } == [
            "shop://kettle", "https://shop.example/kettle",
        ])
    }

    @Test func aViewIsAScreen() throws {
        let client = try Folder().alone { $0.lifecycle = false }
        // As an app writes it.
        _ = EmptyView().headwaterScreen("Home", ["tab": 1]).headwaterLinks().environment(\.headwater, client)
        var values = EnvironmentValues()
        values.headwater = client
        #expect(values.headwater === client)
    }
}

#endif
