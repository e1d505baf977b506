// Which network there is, and that it came back: a request that failed is made again at once. Promises to end with the client.

#if canImport(Network)

import Foundation
internal import Network

final class NetworkWatch: Sendable {
    private let monitor = Locked(NWPathMonitor())

    init(_ client: Headwater) {
        let there = Locked<Bool?>(nil)
        monitor.with { monitor in
            monitor.pathUpdateHandler = { [weak client] path in
                let (now, wifi, cellular) = (
                    path.status == .satisfied, path.usesInterfaceType(.wifi), path.usesInterfaceType(.cellular)
                )
                let before = there.with { there in
                    defer { there = now }
                    return there
                }
                client?.learn(["network": ["wifi": .bool(wifi), "cellular": .bool(cellular)]])
                if now, before == false { client?.online() }
            }
            monitor.start(queue: DispatchQueue(label: "io.headwater.network"))
        }
    }

    deinit { monitor.with { $0.cancel() } }
}

#endif
