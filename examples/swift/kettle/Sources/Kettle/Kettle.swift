// A kettle that says what happens to it. Shows each verb once, properties in their three forms, consent and the end of a program.
//
//   Kettle WRITE_KEY ENDPOINT [FOLDER]

import Foundation
import Headwater

/// Properties as a type, such as one generated from a plan.
struct Boiled: Encodable {
    let litres: Double
    let degrees: Int
}

@main
struct Kettle {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count > 2 else {
            print("Kettle WRITE_KEY ENDPOINT [FOLDER]")
            exit(64)
        }
        var options = Headwater.Options()
        if arguments.count > 3 { options.folder = URL(fileURLWithPath: arguments[3], isDirectory: true) }
        options.context = ["app": ["name": "Kettle", "version": "1.0"]]
        options.consent = [.marketing: .pending]
        let headwater = try Headwater(writeKey: arguments[1], endpoint: arguments[2], options: options)

        // What is given up, and why. Nothing, as a rule.
        let reports = headwater.reports
        let listening = Task { for await report in reports { print("report: \(report)") } }

        headwater.identify("owner-1", ["plan": "home"])
        headwater.screen("Kitchen")
        let (water, cups) = (1.2, 5)
        headwater.track("Kettle Filled", ["litres": water, "cups": cups])
        let recorded = headwater.track("Kettle Boiled", Boiled(litres: water, degrees: 100))
        headwater.track("Advice Seen", ["topic": "descaling", "steps": [1, 2]], options: .init(category: .marketing))
        print("recorded \(recorded.messageId), durable: \(recorded.durable)")

        // The person says yes: what waited for it goes, too.
        headwater.setConsent([.marketing: .granted])
        let left = await headwater.flush(timeout: 20)
        print("left: \(left)")
        headwater.close()
        await listening.value
        // Nothing is lost if some are left: the next start sends them.
        exit(left == 0 ? 0 : 75)
    }
}
