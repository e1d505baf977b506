// What a call says of its event (properties, traits), as the text of one JSON object. Promises to never fail: what has no JSON form is told
// beside the text. Knows nothing of events.

import Foundation

/// Properties or traits, in one of the forms that a verb takes.
enum Fields {
    case none
    case values([String: Headwater.JSONValue])
    case mixed([String: any Encodable])
    case encodable(any Encodable)

    /// The object's text, none where there is none, and why it is none where there should be one.
    var text: (String?, lost: String?) {
        switch self {
        case .none: (nil, nil)
        case .values(let values): (Headwater.JSONValue.text(values), nil)
        case .mixed(let values): Self.text(Mixed(values: values))
        case .encodable(let value): Self.text(value)
        }
    }

    private static func text(_ value: any Encodable) -> (String?, lost: String?) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var value = encoder.singleValueContainer()
            try value.encode(Time.text(date))
        }
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: noNumber, negativeInfinity: noNumber, nan: noNumber)
        let text: String
        do {
            text = String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch {
            return (nil, "\(error)")
        }
        // An optional that is nil.
        if text == "null" { return (nil, nil) }
        guard text.hasPrefix("{") else { return (nil, "\(type(of: value)) is encoded as no object") }
        return (text.contains(noNumber) ? text.replacingOccurrences(of: "\"\(noNumber)\"", with: "null") : text, nil)
    }

    /// Stands in for NaN and infinities until the text is made: `JSONEncoder` writes no null for them. New in each process, so that no
    /// string of an event can be taken for it.
    private static let noNumber = "no number \(UUID().uuidString)"
}

/// A dictionary whose values are of several types.
private struct Mixed: Encodable {
    let values: [String: any Encodable]

    func encode(to encoder: any Encoder) throws {
        var object = encoder.container(keyedBy: Key.self)
        for (name, value) in values {
            try object.encode(value, forKey: Key(stringValue: name))
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { return nil }
    }
}
