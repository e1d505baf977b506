// The public surface as it was agreed on (`api.txt`) and as it is (symbol graphs that `test` extracts, with Apple's part by the stand-ins).
// Promises that a change of it is seen in the diff of a change.

#if HEADWATER_STAND_INS

import Foundation
import Testing

@Suite struct ApiTests {
    private struct Graph: Decodable {
        struct Symbol: Decodable {
            struct Fragment: Decodable { let spelling: String }
            let pathComponents: [String]
            let declarationFragments: [Fragment]
        }
        let symbols: [Symbol]
    }

    @Test func thePublicSurfaceIsTheOneAgreedOn() throws {
        let folder = URL(
            fileURLWithPath: try #require(
                ProcessInfo.processInfo.environment["HEADWATER_SYMBOLS"], "run sdk-mobile/swift/test"))
        var found: Set<String> = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where name.hasSuffix(".json") {
            let graph = try JSONDecoder().decode(
                Graph.self, from: Data(contentsOf: folder.appendingPathComponent(name)))
            for symbol in graph.symbols {
                let declaration = symbol.declarationFragments.map(\.spelling).joined()
                    .replacingOccurrences(of: "\n", with: " ")
                found.insert("\(symbol.pathComponents.joined(separator: ".")): \(declaration)")
            }
        }
        let now = found.sorted()
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("api.txt")
        let agreed = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
        let changes = now.difference(from: agreed).map { change in
            switch change {
            case .insert(_, let line, _): "+ \(line)"
            case .remove(_, let line, _): "- \(line)"
            }
        }
        guard !changes.isEmpty else { return }
        try (now.joined(separator: "\n") + "\n").write(
            to: folder.appendingPathComponent("api.txt"), atomically: true, encoding: .utf8)
        Issue.record(
            "the public surface has changed; if it is meant: cp \(folder.path)/api.txt \(file.path)\n\(changes.joined(separator: "\n"))")
    }
}

#endif
