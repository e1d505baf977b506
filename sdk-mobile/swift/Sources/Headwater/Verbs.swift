// Segment's verbs. Each takes properties as literals, as a dictionary of what can be encoded, or as one value that can. Promises never to
// throw: fields without a JSON form are left out and reported, and after `close` nothing is recorded.

import Foundation
internal import HeadwaterCore

extension Headwater {
    /// Somebody did something. With `revenue` among its properties it is dropped last when the queue is full.
    @discardableResult
    public func track(
        _ event: String, _ properties: [String: JSONValue]? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        track(event, Fields(properties), options)
    }

    /// The same with values that stand in variables: `["sku": product.sku, "price": product.price]`.
    @_disfavoredOverload @discardableResult
    public func track(
        _ event: String, _ properties: [String: any Encodable], options: EventOptions = EventOptions()
    ) -> Recorded {
        track(event, .mixed(properties), options)
    }

    /// The same with a value that is encoded as an object, such as a type generated from a plan.
    @_disfavoredOverload @discardableResult
    public func track<Properties: Encodable>(
        _ event: String, _ properties: Properties, options: EventOptions = EventOptions()
    ) -> Recorded {
        track(event, .encodable(properties), options)
    }

    /// Somebody is known by this user id from now on (`nil`: by what is known already), and by these traits.
    @discardableResult
    public func identify(
        _ userId: String?, _ traits: [String: JSONValue]? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        identify(userId, Fields(traits), options)
    }

    /// The same with values that stand in variables.
    @_disfavoredOverload @discardableResult
    public func identify(
        _ userId: String?, _ traits: [String: any Encodable], options: EventOptions = EventOptions()
    ) -> Recorded {
        identify(userId, .mixed(traits), options)
    }

    /// The same with a value that is encoded as an object.
    @_disfavoredOverload @discardableResult
    public func identify<Traits: Encodable>(
        _ userId: String?, _ traits: Traits, options: EventOptions = EventOptions()
    ) -> Recorded {
        identify(userId, .encodable(traits), options)
    }

    /// Somebody saw a screen of the app.
    @discardableResult
    public func screen(
        _ name: String, _ properties: [String: JSONValue]? = nil, category: String? = nil,
        options: EventOptions = EventOptions()
    ) -> Recorded {
        screen(name, Fields(properties), category, options)
    }

    /// The same with values that stand in variables.
    @_disfavoredOverload @discardableResult
    public func screen(
        _ name: String, _ properties: [String: any Encodable], category: String? = nil,
        options: EventOptions = EventOptions()
    ) -> Recorded {
        screen(name, .mixed(properties), category, options)
    }

    /// The same with a value that is encoded as an object.
    @_disfavoredOverload @discardableResult
    public func screen<Properties: Encodable>(
        _ name: String, _ properties: Properties, category: String? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        screen(name, .encodable(properties), category, options)
    }

    /// Somebody saw a page.
    @discardableResult
    public func page(
        _ name: String, _ properties: [String: JSONValue]? = nil, category: String? = nil,
        options: EventOptions = EventOptions()
    ) -> Recorded {
        page(name, Fields(properties), category, options)
    }

    /// The same with values that stand in variables.
    @_disfavoredOverload @discardableResult
    public func page(
        _ name: String, _ properties: [String: any Encodable], category: String? = nil,
        options: EventOptions = EventOptions()
    ) -> Recorded {
        page(name, .mixed(properties), category, options)
    }

    /// The same with a value that is encoded as an object.
    @_disfavoredOverload @discardableResult
    public func page<Properties: Encodable>(
        _ name: String, _ properties: Properties, category: String? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        page(name, .encodable(properties), category, options)
    }

    /// Somebody belongs to this account.
    @discardableResult
    public func group(
        _ groupId: String, _ traits: [String: JSONValue]? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        group(groupId, Fields(traits), options)
    }

    /// The same with values that stand in variables.
    @_disfavoredOverload @discardableResult
    public func group(
        _ groupId: String, _ traits: [String: any Encodable], options: EventOptions = EventOptions()
    ) -> Recorded {
        group(groupId, .mixed(traits), options)
    }

    /// The same with a value that is encoded as an object.
    @_disfavoredOverload @discardableResult
    public func group<Traits: Encodable>(
        _ groupId: String, _ traits: Traits, options: EventOptions = EventOptions()
    ) -> Recorded {
        group(groupId, .encodable(traits), options)
    }

    /// The person known until now (or by `previousId`) is the one with this user id.
    @discardableResult
    public func alias(
        _ userId: String, previousId: String? = nil, options: EventOptions = EventOptions()
    ) -> Recorded {
        record(.none, options) { [core] _, options in
            try core.alias(userId: userId, previousId: previousId, options: options)
        }
    }
}

extension Headwater {
    private func track(_ event: String, _ fields: Fields, _ options: EventOptions) -> Recorded {
        record(fields, options) { [core] fields, options in
            try core.track(event: event, properties: fields, options: options)
        }
    }

    private func identify(_ userId: String?, _ fields: Fields, _ options: EventOptions) -> Recorded {
        record(fields, options) { [core] fields, options in
            try core.identify(userId: userId, traits: fields, options: options)
        }
    }

    private func screen(_ name: String, _ fields: Fields, _ category: String?, _ options: EventOptions) -> Recorded {
        record(fields, options) { [core] fields, options in
            try core.screen(name: name, category: category, properties: fields, options: options)
        }
    }

    private func page(_ name: String, _ fields: Fields, _ category: String?, _ options: EventOptions) -> Recorded {
        record(fields, options) { [core] fields, options in
            try core.page(name: name, category: category, properties: fields, options: options)
        }
    }

    private func group(_ groupId: String, _ fields: Fields, _ options: EventOptions) -> Recorded {
        record(fields, options) { [core] fields, options in
            try core.group(groupId: groupId, traits: fields, options: options)
        }
    }

    /// Records an event with its fields, or without them if they are none.
    private func record(
        _ fields: Fields, _ options: EventOptions,
        _ call: (String?, HeadwaterCore.EventOptions) throws -> HeadwaterCore.Recorded
    ) -> Recorded {
        var (text, lost) = fields.text
        var options = options.forCore
        do {
            let taken: HeadwaterCore.Recorded
            do {
                taken = try call(text, options)
            } catch HeadwaterCore.Error.InvalidJson(let detail) {
                // What an encoder wrote by itself, nested beyond what the core takes.
                (text, options.context, lost) = (nil, nil, detail)
                taken = try call(nil, options)
            }
            if let lost { listener.hear(.fieldsLost(messageId: taken.messageId, detail: lost)) }
            return Recorded(messageId: taken.messageId, durable: taken.durable)
        } catch {
            // Closed.
            return Recorded(messageId: "", durable: false)
        }
    }
}

extension Fields {
    init(_ values: [String: Headwater.JSONValue]?) {
        self = values.map(Fields.values) ?? .none
    }
}
