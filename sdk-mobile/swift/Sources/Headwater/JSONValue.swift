// A value of JSON, written as a literal: `["price": 49, "tags": ["new", nil]]`. Promises a text that is always JSON: what JSON cannot say
// (NaN, infinities, nesting beyond 60 levels) is null, as in a browser. Knows nothing of events.

import Foundation

extension Headwater {
    /// A value of JSON. Literals are values: `["sku": "kettle", "price": 49, "tags": ["new"], "coupon": nil]`; what stands in variables is one
    /// with `.init(price)`.
    public enum JSONValue: Sendable, Hashable {
        case null
        case bool(Bool)
        case integer(Int64)
        /// NaN and infinities are written as null.
        case number(Double)
        case string(String)
        case array([JSONValue])
        case object([String: JSONValue])

        public init(_ value: Bool) { self = .bool(value) }
        public init(_ value: String) { self = .string(value) }
        public init(_ value: Double) { self = .number(value) }
        /// As it is written in ISO 8601, in UTC, with milliseconds.
        public init(_ value: Date) { self = .string(Time.text(value)) }

        /// Beyond 64 bits: the nearest number.
        public init(_ value: some BinaryInteger) {
            self = Int64(exactly: value).map(JSONValue.integer) ?? .number(Double(value))
        }

        /// No value is null.
        public init<Wrapped>(_ value: Wrapped?, _ some: (Wrapped) -> JSONValue) {
            self = value.map(some) ?? .null
        }
    }
}

extension Headwater.JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: Headwater.JSONValue...) { self = .array(elements) }
    /// Of a key that stands there twice, the last one counts.
    public init(dictionaryLiteral elements: (String, Headwater.JSONValue)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
}

extension Headwater.JSONValue: Codable {
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let integer = try? value.decode(Int64.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let array = try? value.decode([Headwater.JSONValue].self) {
            self = .array(array)
        } else {
            self = .object(try value.decode([String: Headwater.JSONValue].self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .null: try value.encodeNil()
        case .bool(let bool): try value.encode(bool)
        case .integer(let integer): try value.encode(integer)
        case .number(let number): try number.isFinite ? value.encode(number) : value.encodeNil()
        case .string(let string): try value.encode(string)
        case .array(let array): try value.encode(array)
        case .object(let object): try value.encode(object)
        }
    }
}

extension Headwater.JSONValue {
    /// Its text. Written here and not by `JSONEncoder`, which takes longer than the commit does.
    package var text: String {
        var text = ""
        write(to: &text, depth: 0)
        return text
    }

    /// The text of an object.
    static func text(_ object: [String: Headwater.JSONValue]) -> String {
        Headwater.JSONValue.object(object).text
    }

    private func write(to text: inout String, depth: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let bool): text += bool ? "true" : "false"
        case .integer(let integer): text += String(integer)
        // The shortest that reads back as the same: 49.0, 1e+300.
        case .number(let number): text += number.isFinite ? String(describing: number) : "null"
        case .string(let string): Self.write(string, to: &text)
        case .array, .object:
            if depth == Self.maxDepth { text += "null" } else { writeNested(to: &text, depth: depth + 1) }
        }
    }

    private func writeNested(to text: inout String, depth: Int) {
        var first = true
        func comma() {
            if !first { text += "," }
            first = false
        }
        if case .array(let array) = self {
            text += "["
            for value in array {
                comma()
                value.write(to: &text, depth: depth)
            }
            text += "]"
        } else if case .object(let object) = self {
            text += "{"
            for (key, value) in object {
                comma()
                Self.write(key, to: &text)
                text += ":"
                value.write(to: &text, depth: depth)
            }
            text += "}"
        }
    }

    private static func write(_ string: String, to text: inout String) {
        text += "\""
        if string.utf8.contains(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5c }) {
            for scalar in string.unicodeScalars {
                switch scalar {
                case "\"": text += "\\\""
                case "\\": text += "\\\\"
                case "\n": text += "\\n"
                case _ where scalar.value < 0x20:
                    let digits = String(scalar.value, radix: 16)
                    text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                default: text.unicodeScalars.append(scalar)
                }
            }
        } else {
            text += string
        }
        text += "\""
    }

    /// Less than the core takes (64), so that what is too deep costs itself and not the whole object.
    private static let maxDepth = 60
}

/// Times, as the wire has them.
enum Time {
    /// `2026-11-22T09:30:00.125Z`.
    static func text(_ date: Date) -> String {
        let format = ISO8601DateFormatter()
        format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        return format.string(from: date)
    }

    /// Unix milliseconds; what is before 1970, or no time at all, is 0.
    static func unixMs(_ date: Date) -> UInt64 { ms(date.timeIntervalSince1970) }

    /// Milliseconds of seconds, whatever they are.
    static func ms(_ seconds: TimeInterval) -> UInt64 {
        if seconds.isNaN || seconds <= 0 { return 0 }
        return UInt64(min(seconds * 1000, 9e15))
    }
}
