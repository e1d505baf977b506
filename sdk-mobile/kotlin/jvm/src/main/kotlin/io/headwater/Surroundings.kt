/*
 * What every event says of where it happened, in Segment's members: what was found out, and in front of it what the app said. Promises that
 * what the app said stands, whatever is found out later. Knows nothing of Android: its module says more.
 */
package io.headwater

import java.util.Locale
import java.util.TimeZone

/** This library's version, as `context.library` has it. */
internal const val VERSION: String = "0.1.0"

internal class Surroundings(private var given: Map<String, Any?>) {
    private var found: Map<String, Any?> = emptyMap()

    /** Whether `device.id` is the anonymous id. */
    var namesDevice = false

    /** It, unless it is about to change. */
    var deviceId: String? = null

    /** The app says so. */
    fun given(members: Map<String, Any?>) {
        given = given + members
    }

    /** This was found out. */
    fun found(members: Map<String, Any?>) {
        found = found + members
    }

    /** Members by name; those that both have are put together by theirs. */
    fun all(): Map<String, Any?> {
        val all = LinkedHashMap(ofThisMachine() + found)
        if (namesDevice && deviceId != null) all["device"] = (all["device"] as? Map<*, *>).orEmpty() + ("id" to deviceId)
        for ((name, member) in given) {
            val before = all[name]
            all[name] = if (before is Map<*, *> && member is Map<*, *>) before + member else member
        }
        return all
    }

    private fun ofThisMachine(): Map<String, Any?> = mapOf(
        "library" to mapOf("name" to "headwater-kotlin", "version" to VERSION),
        "os" to mapOf("name" to System.getProperty("os.name"), "version" to System.getProperty("os.version")),
        "device" to mapOf("type" to "jvm"),
        "locale" to Locale.getDefault().toLanguageTag(),
        "timezone" to TimeZone.getDefault().id,
    )
}
