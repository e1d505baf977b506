// What the SDK uses of Darwin, and of Foundation on Darwin alone, played on Linux, so that it is compiled. Not named Darwin: SwiftPM asks for that
// name to know where it is. A background session is one that runs while the app does.

import Foundation
import FoundationNetworking

public func sysctlbyname(
    _ name: String, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>, _ new: UnsafeMutableRawPointer?,
    _ newSize: Int
) -> Int32 {
    let model = Array("iPhone16,2\0".utf8)
    size.pointee = model.count
    value?.copyMemory(from: model, byteCount: model.count)
    return 0
}

extension URLSessionConfiguration {
    public static func background(withIdentifier identifier: String) -> URLSessionConfiguration { .ephemeral }

    public var sessionSendsLaunchEvents: Bool {
        get { false }
        set {}
    }
}
