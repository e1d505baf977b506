// How long `track()` takes in Swift: percentiles of 20,000 calls after 2,000 to warm up, while nobody answers, for each form of properties.
// A measurement, not a test: build it with `-c release` against a release build of the library.

import Foundation
import Headwater

private struct Product: Encodable {
    let sku: String
    let price: Double
    let quantity: Int
}

@main
struct Speed {
    static func main() throws {
        for survives in [Headwater.Survives.process, .power] {
            let calls = survives == .process ? 20_000 : 1_000
            try measure("literals", survives, calls) { client, n in
                client.track("Product Viewed", ["sku": "kettle-01", "price": 49.5, "quantity": .init(n)])
            }
            guard survives == .process else { continue }
            try measure("variables", survives, calls) { client, n in
                let (sku, price) = ("kettle-01", 49.5)
                client.track("Product Viewed", ["sku": sku, "price": price, "quantity": n])
            }
            try measure("a type", survives, calls) { client, n in
                client.track("Product Viewed", Product(sku: "kettle-01", price: 49.5, quantity: n))
            }
        }
    }

    private static func measure(
        _ name: String, _ survives: Headwater.Survives, _ calls: Int, _ call: (Headwater, Int) -> Void
    ) throws {
        var options = Headwater.Options()
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        (options.folder, options.survives) = (folder, survives)
        let client = try Headwater(writeKey: "wk_speed", endpoint: "http://127.0.0.1:1", options: options)
        for n in 0..<calls / 10 { call(client, n) }
        var took: [UInt64] = []
        took.reserveCapacity(calls)
        for n in 0..<calls {
            let start = DispatchTime.now().uptimeNanoseconds
            call(client, n)
            took.append(DispatchTime.now().uptimeNanoseconds - start)
        }
        client.close()
        took.sort()
        func us(_ share: Double) -> String {
            String(format: "%.1f", Double(took[min(took.count - 1, Int(share * Double(took.count)))]) / 1000)
        }
        print(
            "track() with \(name), survives \(survives), \(calls) calls: p50 \(us(0.5)) us, p99 \(us(0.99)) us, p99.9 \(us(0.999)) us, max \(us(1)) us")
    }
}
