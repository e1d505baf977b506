// The requests by URLSession: the default on Apple's platforms. Promises that each request is answered to the core exactly once, that no redirect
// is followed (an answer counts from the collector alone), no cookie sent or kept, that a large answer costs no more than its bound, and that
// nothing of what was withdrawn stays with the system. Knows no event. On Linux it is compiled for our tests only, so that nobody else links libcurl.

#if canImport(Darwin) || HEADWATER_TESTING

import Foundation
#if HEADWATER_STAND_INS
import DarwinPlayed
#endif
internal import HeadwaterCore
#if canImport(FoundationNetworking)
internal import FoundationNetworking
#endif

final class URLSessionUploads: NSObject, URLSessionDataDelegate {
    private let core: Core
    private let kind: Requests
    let session: Locked<URLSession?> = Locked(nil)
    private let bodies: Locked<[Int: Data]> = Locked([:])
    /// Where the bodies lie that a background session sends.
    private let files: URL?
    /// Ids of requests begin anew in each process, and a background session tells of those of earlier ones.
    private let process = UUID().uuidString
    private let wakening = Locked(Wakening())
    private let course = Locked(Course())

    /// What the system has woken the app for.
    private struct Wakening {
        /// UIKit's handler, which comes from the main thread and is called there.
        var handler: (() -> Void)?
        /// All was told before the handler came.
        var isOver = false
    }

    /// How it goes.
    private struct Course {
        /// Requests that nobody has answered yet.
        var away = 0
        /// Whether the last one to come back was not answered, or was told to come again.
        var failed = false
        /// Whether the last answer refused the key.
        var stopped = false
        /// How often what was away was withdrawn.
        var withdrawals = 0
    }

    /// `kind`: those for messages go beside those that send events, and never in the background.
    init(core: Core, options: Headwater.Options, folder: URL, of kind: Requests = .events) throws {
        self.core = core
        self.kind = kind
        let configuration: URLSessionConfiguration
        if kind == .events, case .backgroundURLSession(let identifier) = options.uploads {
            #if canImport(Darwin) || HEADWATER_STAND_INS
            configuration = .background(withIdentifier: identifier)
            configuration.sessionSendsLaunchEvents = true
            configuration.isDiscretionary = false
            files = folder.appendingPathComponent("uploads", isDirectory: true)
            #else
            throw Headwater.Failure.invalidOptions("no background session \(identifier) on this platform: use urlSession")
            #endif
        } else {
            configuration = .ephemeral
            files = nil
        }
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        configuration.urlCache = nil
        super.init()
        let session = URLSession(configuration: configuration, delegate: self, delegateQueue: nil)
        self.session.with { $0 = session }
        clearFiles(of: session)
    }

    /// Makes every request that is to be made now.
    func fetch() {
        while true {
            let before = course.with { $0.withdrawals }
            guard let upload = try? (kind == .events ? core.nextUpload() : core.nextListening()) else { return }
            course.with { $0.away += 1 }
            send(upload, before)
        }
    }

    /// For tests.
    var away: Int { course.with { $0.away } }

    /// Whether the collector refuses the key, as far as is known.
    var isStopped: Bool { course.with { $0.stopped } }

    /// Whether another attempt could do what these did not: nothing that only waits for the person, or for another write key.
    var isWorthAnother: Bool { course.with { !$0.stopped && ($0.away > 0 || $0.failed) } }

    /// Whether the system goes on with requests while the app does not run.
    var outlivesTheApp: Bool { files != nil }

    /// What is on its way was made before the person's answer, or by somebody else: it is given up, here and in the system, and its files go.
    /// What may still be sent is sent anew. `ofEarlierProcesses`: of those alone.
    func withdraw(ofEarlierProcesses: Bool = false) {
        if !ofEarlierProcesses { course.with { $0.withdrawals += 1 } }
        guard let session = session.with({ $0 }) else { return }
        let (files, process) = (files, process)
        session.getAllTasks { tasks in
            for task in tasks where !ofEarlierProcesses || task.taskDescription?.hasPrefix(process) != true {
                task.cancel()
                // The system may end the app before it tells of the cancelled task.
                if let files, let name = task.taskDescription {
                    try? FileManager.default.removeItem(at: files.appendingPathComponent(name))
                }
            }
        }
    }

    /// Lets what is on its way end; nobody waits for it, and nobody will tell the system later.
    func close() {
        session.with { session in
            session?.finishTasksAndInvalidate()
            session = nil
        }
        eventsEnded()
    }

    /// The system has woken the app for a background session; called when all of it was told.
    @MainActor
    func whenEventsHandled(_ completion: @escaping () -> Void) {
        let isOver = wakening.with { wakening in
            if !wakening.isOver { wakening.handler = completion }
            defer { wakening.isOver = false }
            return wakening.isOver
        }
        if isOver { completion() }
    }

    private func eventsEnded() {
        DispatchQueue.main.async { [wakening] in
            let handler = wakening.with { wakening in
                defer { wakening.handler = nil }
                return wakening.handler
            }
            handler?()
        }
    }

    private func send(_ upload: Upload, _ withdrawals: Int) {
        guard let url = URL(string: upload.url), let session = session.with({ $0 }) else {
            return complete(upload.id, status: 0, body: "\(upload.url) is no address")
        }
        var request = URLRequest(url: url, timeoutInterval: Double(upload.timeoutMs) / 1000)
        request.httpMethod = "POST"
        for (name, value) in upload.headers { request.setValue(value, forHTTPHeaderField: name) }
        let task: URLSessionUploadTask
        if let files {
            let file = files.appendingPathComponent("\(process).\(upload.id)")
            do {
                try FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
                try upload.body.write(to: file)
            } catch {
                // No room: as if there were no network.
                return complete(upload.id, status: 0, body: "\(file.path) cannot be written, \(error.localizedDescription)")
            }
            task = session.uploadTask(with: request, fromFile: file)
        } else {
            task = session.uploadTask(with: request, from: upload.body)
        }
        task.taskDescription = "\(process).\(upload.id)"
        task.resume()
        // Withdrawn between the core's word and this one: whoever looked then did not see it.
        if course.with({ $0.withdrawals }) != withdrawals { task.cancel() }
    }

    private func complete(_ id: UInt64, status: Int, retryAfter: String? = nil, body: String) {
        course.with { course in
            course.away -= 1
            course.failed = status == 0 || status == 408 || status >= 429
            if status != 0 { course.stopped = status == 401 || status == 403 }
        }
        // Closed meanwhile: nobody waits for it.
        let status = UInt16(clamping: status)
        switch kind {
        case .events: try? core.completeUpload(id: id, status: status, retryAfter: retryAfter, body: body)
        case .messages: try? core.completeListening(id: id, status: status, retryAfter: retryAfter, body: body)
        }
    }

    // Called by the session, on a queue of its own, one after the other.

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let size = bodies.with { bodies in
            bodies[dataTask.taskIdentifier, default: Data()].append(data)
            return bodies[dataTask.taskIdentifier]?.count ?? 0
        }
        if size > Self.maxAnswerBytes { dataTask.cancel() }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Swift.Error)?) {
        let body = bodies.with { $0.removeValue(forKey: task.taskIdentifier) } ?? Data()
        guard let name = task.taskDescription else { return }
        if let files { try? FileManager.default.removeItem(at: files.appendingPathComponent(name)) }
        // One of an earlier process is sent again by this one, and recognised by the collector.
        guard name.hasPrefix(process), let id = UInt64(name.dropFirst(process.count + 1)) else { return }
        let response = task.response as? HTTPURLResponse
        var status = response?.statusCode ?? 0
        var text = String(decoding: body, as: UTF8.self)
        // What breaks off is no receipt; a refusal is one without its words, too. The core takes the cause where it has no answer.
        if let error, status < 400 {
            status = 0
            text = (error as? URLError)?.code == .cancelled && body.count <= Self.maxAnswerBytes ? "" : error.localizedDescription
        }
        complete(id, status: status, retryAfter: response?.value(forHTTPHeaderField: "Retry-After"), body: text)
    }

    // By its selector: SDKs differ in whether the handler is Sendable, and a method that only nearly fits would not be called.
    #if canImport(ObjectiveC)
    @objc(URLSession:task:willPerformHTTPRedirection:newRequest:completionHandler:)
    #endif
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    #if canImport(Darwin) || HEADWATER_STAND_INS
    func urlSessionDidFinishEvents(forBackgroundURLSession session: URLSession) {
        let isAwaited = wakening.with { wakening in
            wakening.isOver = wakening.handler == nil
            return !wakening.isOver
        }
        if isAwaited { eventsEnded() }
    }
    #endif

    /// Bodies whose request is over, though nobody was there to hear of it.
    private func clearFiles(of session: URLSession) {
        guard let files else { return }
        let process = process
        session.getAllTasks { tasks in
            let awaited = Set(tasks.compactMap(\.taskDescription))
            let names = (try? FileManager.default.contentsOfDirectory(atPath: files.path)) ?? []
            for name in names where !awaited.contains(name) && !name.hasPrefix(process) {
                try? FileManager.default.removeItem(at: files.appendingPathComponent(name))
            }
        }
    }

    /// As in the library's own HTTP: a receipt of 800 events that were all refused is smaller.
    private static let maxAnswerBytes = 1 << 20
}

#else

internal import HeadwaterCore
import Foundation

final class URLSessionUploads: Sendable {
    init(core: Core, options: Headwater.Options, folder: URL, of kind: Requests = .events) throws {
        throw Headwater.Failure.invalidOptions("there is no URLSession in this build: use uploads = .builtIn")
    }

    var isStopped: Bool { false }
    var isWorthAnother: Bool { false }
    var outlivesTheApp: Bool { false }
    func fetch() {}
    func withdraw(ofEarlierProcesses: Bool = false) {}
    func close() {}
    func whenEventsHandled(_ completion: @escaping () -> Void) {}
}

#endif

/// What is asked for.
enum Requests: Sendable {
    case events
    case messages
}

extension Headwater {
    /// For `application(_:handleEventsForBackgroundURLSession:completionHandler:)`: says whether the session is this client's. If so, the handler
    /// is called when all that the system has to tell was told.
    @MainActor @discardableResult
    public func handleEvents(forBackgroundSession identifier: String, completion: @escaping () -> Void) -> Bool {
        guard case .backgroundURLSession(identifier) = options.uploads, let urlSessionUploads else { return false }
        urlSessionUploads.whenEventsHandled(completion)
        return true
    }
}
