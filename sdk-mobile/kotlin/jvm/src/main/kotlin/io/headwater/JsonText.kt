/*
 * Values of Kotlin and Java become the text of a JSON object. Promises that it never throws, whatever it is given, that the text is always
 * JSON, nested no deeper than the wire allows, and that a value which could not be kept as it was is told. Knows nothing of events.
 */
package io.headwater

import java.text.SimpleDateFormat
import java.util.Calendar
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import kotlin.reflect.KType
import kotlinx.serialization.InternalSerializationApi
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.serializerOrNull

/** A JSON object as text, and what could not be kept of the values that it was made from. */
internal class JsonText private constructor(val text: String, val altered: String?) {
    companion object {
        /** The members of a map; of a `JsonObject`, too, which is one. */
        fun of(members: Map<*, *>): JsonText = Writer().run {
            map(members, "")
            JsonText(out.toString(), altered)
        }

        /** What a serializer makes of a value: an object, or one with the single member `value`. */
        fun <T> of(serializer: SerializationStrategy<T>, value: T): JsonText = try {
            any(SERIALIZABLE.encodeToJsonElement(serializer, value))
        } catch (failure: Exception) {
            JsonText("{}", "all of it: it cannot be serialized, $failure")
        } catch (_: StackOverflowError) {
            JsonText("{}", "all of it: it contains itself")
        }

        /** The same of what nobody may have written a serializer for. */
        fun <T : Any> of(type: KType, value: T): JsonText {
            @Suppress("UNCHECKED_CAST")
            val serializer = try {
                serializerOrNull(type) as SerializationStrategy<T>?
            } catch (_: IllegalArgumentException) {
                null // `List<*>`: its values say what they are.
            }
            return if (serializer == null) any(value) else of(serializer, value)
        }

        private fun any(value: Any): JsonText = if (value is Map<*, *>) of(value) else Writer(value).run {
            map(mapOf("value" to value), "")
            if (unsaid) JsonText("{}", "all of it: ${notSerializable(value)}") else JsonText(out.toString(), altered)
        }
    }
}

/** Text that UTF-8 can hold: half a surrogate pair becomes U+FFFD. */
internal fun wellFormed(text: String): String {
    if (text.none { it.isSurrogate() }) return text
    return buildString(text.length) { sound(text) { append(it) } }
}

/** `whole`: the value that stands for all properties, if it is one alone. */
private class Writer(private val whole: Any? = null) {
    val out = StringBuilder(256)

    /** Whether nothing could be said of `whole`. */
    var unsaid = false

    /** The first value that could not be kept, and why. */
    var altered: String? = null

    /** The containers that are being written, outermost first: few, so a list is looked through. */
    private val within = ArrayList<Any>()

    fun map(map: Map<*, *>, path: String) = container(map, path, '{', '}') {
        for ((key, value) in map) {
            member(path) {
                val name = key.toString()
                string(name)
                out.append(':')
                value(value, if (path.isEmpty()) name else "$path.$name")
            }
        }
    }

    private fun list(owner: Any, path: String, items: () -> Iterator<*>) = container(owner, path, '[', ']') {
        var at = 0
        for (item in items()) {
            if (full()) break
            member(path) { value(item, "$path[$at]") }
            at += 1
        }
    }

    private fun value(value: Any?, path: String) {
        when (value) {
            null, JsonNull -> out.append("null")
            is String -> string(value)
            is Boolean -> out.append(value)
            is Int, is Long, is Short, is Byte, is UInt, is ULong, is UShort, is UByte -> out.append(value.toString())
            is JsonPrimitive -> if (value.isString) string(value.content) else bare(value.content)
            is Number -> bare(value.toString())
            is CharSequence, is Char -> string(value.toString())
            is Enum<*> -> string(value.name)
            is Date -> string(iso(value))
            is Calendar -> string(iso(value.time))
            is Map<*, *> -> map(value, path)
            is Iterable<*> -> list(value, path) { value.iterator() }
            is Sequence<*> -> list(value, path) { value.iterator() }
            is Array<*> -> list(value, path) { value.iterator() }
            is IntArray -> list(value, path) { value.iterator() }
            is LongArray -> list(value, path) { value.iterator() }
            is DoubleArray -> list(value, path) { value.iterator() }
            is FloatArray -> list(value, path) { value.iterator() }
            is BooleanArray -> list(value, path) { value.iterator() }
            is ShortArray -> list(value, path) { value.iterator() }
            is ByteArray -> list(value, path) { value.iterator() }
            is CharArray -> string(String(value))
            else -> other(value, path)
        }
    }

    /**
     * A serializable class as its serializer says; anything else as it calls itself. Times of java.time and kotlin.time do so by ISO 8601. What
     * was meant to be an object would become its members in a line of text, which no reader can use: that is nothing, and told.
     */
    @OptIn(InternalSerializationApi::class)
    private fun other(value: Any, path: String) {
        @Suppress("UNCHECKED_CAST")
        val serializer = value::class.serializerOrNull() as SerializationStrategy<Any>?
        if (serializer == null) {
            unsaid = value === whole
            return if (unsaid || isOfMembers(value)) nothing(path, notSerializable(value)) else string(value.toString())
        }
        try {
            value(SERIALIZABLE.encodeToJsonElement(serializer, value), path)
        } catch (_: StackOverflowError) {
            nothing(path, "it contains itself")
        }
    }

    /** Numbers that every reader takes. One beyond a double's range becomes a string, which says what it was; NaN and infinity nothing. */
    private fun bare(text: String) {
        when {
            text == "true" || text == "false" -> out.append(text)
            text in NOT_NUMBERS -> out.append("null")
            NUMBER.matches(text) && text.toDouble().isFinite() -> out.append(text)
            else -> string(text)
        }
    }

    /** A container, unless it is within itself or too deep. One that fails as it is read has what was read until then. */
    private inline fun container(owner: Any, path: String, open: Char, close: Char, members: () -> Unit) {
        if (within.any { it === owner }) return nothing(path, "it contains itself")
        if (within.size >= MAX_DEPTH) return nothing(path, "it nests deeper than $MAX_DEPTH")
        within.add(owner)
        out.append(open)
        try {
            members()
        } catch (failure: Exception) {
            alter(path, "it could not be read to its end, $failure")
        }
        within.removeAt(within.size - 1)
        out.append(close)
    }

    /** One member, or nothing of it. */
    private inline fun member(path: String, write: () -> Unit) {
        if (full()) return
        val before = out.length
        val depth = within.size
        try {
            if (out[before - 1] != '{' && out[before - 1] != '[') out.append(',')
            write()
        } catch (failure: Exception) {
            out.setLength(before)
            while (within.size > depth) within.removeAt(within.size - 1)
            alter(path, failure.toString())
        }
    }

    private fun nothing(path: String, why: String) {
        alter(path, why)
        out.append("null")
    }

    private fun alter(path: String, why: String) {
        if (altered == null) altered = "${path.ifEmpty { "a member" }}: $why"
    }

    /** Beyond this the event is too large by far, and is dropped as such: a list without an end must not fill the memory first. */
    private fun full() = out.length > MAX_CHARS

    private fun string(text: String) {
        out.append('"')
        sound(text) { char ->
            when {
                char == '"' -> out.append("\\\"")
                char == '\\' -> out.append("\\\\")
                char == '\n' -> out.append("\\n")
                char == '\r' -> out.append("\\r")
                char == '\t' -> out.append("\\t")
                char < ' ' -> out.append("\\u00").append(HEX[char.code shr 4]).append(HEX[char.code and 15])
                else -> out.append(char)
            }
        }
        out.append('"')
    }
}

/** A data class, or a record of Java's. */
private fun isOfMembers(value: Any): Boolean {
    val type = value.javaClass
    // A data class has no mark of its own in its bytes; what it always has is a component for each member, and a copy of itself.
    return type.superclass?.name == "java.lang.Record" ||
        type.isAnnotationPresent(Metadata::class.java) && type.methods.any { it.name == "component1" } && type.methods.any { it.name == "copy" }
}

private fun notSerializable(value: Any) =
    "${value.javaClass.name} has no serializer: mark it @Serializable and apply Kotlin's serialization plugin, or give a map"

/** Each character of a text, with U+FFFD in place of half a surrogate pair. */
private inline fun sound(text: String, each: (Char) -> Unit) {
    for (at in text.indices) {
        val char = text[at]
        val paired = when {
            char.isHighSurrogate() -> at + 1 < text.length && text[at + 1].isLowSurrogate()
            char.isLowSurrogate() -> at > 0 && text[at - 1].isHighSurrogate()
            else -> true
        }
        each(if (paired) char else '\uFFFD')
    }
}

private fun iso(date: Date): String = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", Locale.ROOT).run {
    timeZone = TimeZone.getTimeZone("UTC")
    format(date)
}

private val SERIALIZABLE = Json {
    allowSpecialFloatingPointValues = true
    encodeDefaults = true
}
private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
private val NOT_NUMBERS = setOf("NaN", "Infinity", "-Infinity")
private const val HEX = "0123456789abcdef"

/** The collector takes 64 levels of an event, of which the event and its properties are two. */
private const val MAX_DEPTH = 60

/** Eight times the largest event. */
private const val MAX_CHARS = 256 * 1024
