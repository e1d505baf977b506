/*
 * The caller of the fault suite: one JSON command a line on stdin, each answered with one JSON line on stdout, until stdin ends. Promises to
 * use the public library alone (and the clocks of a testing build), and that every line is written before the next is read.
 */
package io.headwater

import java.io.File
import java.util.concurrent.ConcurrentLinkedQueue
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long

/** The main class is `io.headwater.CallerKt`; `sdk-mobile/kotlin/caller` starts it. */
public fun main() {
    val caller = Caller { line ->
        println(line)
        System.out.flush()
    }
    while (true) caller.obey(readlnOrNull() ?: break)
    // Whoever holds the other end of stdin may have died: end without a word, as a process does.
    Runtime.getRuntime().halt(0)
}

internal class Caller(private val answer: (String) -> Unit) {
    private var client: Headwater? = null
    private val heard = ConcurrentLinkedQueue<JsonObject>()

    fun obey(line: String) {
        try {
            val command = Json.parseToJsonElement(line).jsonObject
            act(command["do"]?.jsonPrimitive?.content, command)
        } catch (failure: Throwable) {
            val cause = generateSequence(failure) { it.cause }.last()
            say("error" to JsonPrimitive("${cause.javaClass.simpleName}: ${cause.message}"))
        }
    }

    private fun act(verb: String?, command: JsonObject) {
        when (verb) {
            "open" -> open(command).also { ok() }
            "track" -> track(command)
            "identify" -> recorded(client().identify(command.text("userId"), command.fields("traits"), command.options()))
            "screen" -> recorded(client().screen(command.text("name") ?: "", null, command.fields("properties"), command.options()))
            "group" -> recorded(client().group(command.text("groupId") ?: "", command.fields("traits"), command.options()))
            "alias" -> recorded(client().alias(command.text("userId") ?: "", command.text("previousId"), command.options()))
            "consent" -> client().setConsent(command.answers("answers")).also { ok() }
            "reset" -> client().reset().also { ok() }
            "background" -> client().background().also { ok() }
            "foreground" -> client().foreground().also { ok() }
            "online" -> client().online().also { ok() }
            "flush" -> {
                val timeout = (command["timeoutMs"]?.jsonPrimitive?.long ?: 20_000).milliseconds
                say("flushed" to JsonPrimitive(runBlocking { client().flush(timeout) }))
            }
            "pending" -> say("pending" to JsonPrimitive(client().pending))
            "user" -> client().user.let { say("anonymousId" to JsonPrimitive(it.anonymousId), "userId" to JsonPrimitive(it.userId)) }
            "pass" -> Clocks.pass(client(), command.getValue("ms").jsonPrimitive.int).also { ok() }
            "setClockBy" -> Clocks.setBy(client(), command.getValue("byMs").jsonPrimitive.long).also { ok() }
            "reports" -> {
                val all = generateSequence { heard.poll() }.toList()
                say("reports" to kotlinx.serialization.json.JsonArray(all))
            }
            "memory" -> say("residentBytes" to JsonPrimitive(residentBytes()))
            "close" -> client().close().also { ok() }
            else -> say("error" to JsonPrimitive("unknown command"))
        }
    }

    private fun open(command: JsonObject) {
        val from = Options("", "", File(""))
        client = Headwater(
            Options(
                writeKey = command.text("writeKey") ?: "wk_test",
                endpoint = command.text("endpoint") ?: "http://127.0.0.1:1",
                folder = File(command.text("folder") ?: error("folder is missing")),
                survives = if (command.text("survives") == "power") Survives.POWER else Survives.PROCESS,
                maxEvents = command["maxEvents"]?.jsonPrimitive?.long ?: from.maxEvents,
                maxBytes = command["maxBytes"]?.jsonPrimitive?.long ?: from.maxBytes,
                maxAgeMs = command["maxAgeMs"]?.jsonPrimitive?.long,
                gatherMs = command["gatherMs"]?.jsonPrimitive?.long ?: from.gatherMs,
                maxBatchEvents = command["maxBatchEvents"]?.jsonPrimitive?.int ?: from.maxBatchEvents,
                consent = command.answers("consent"),
                uploader = if (command.text("uploads") == "host") HttpUploader() else null,
            ),
        ).also { it.onReport { report -> heard.add(report.toJson()) } }
    }

    private fun track(command: JsonObject) {
        val count = command["count"]?.jsonPrimitive?.int ?: 1
        val properties = command.fields("properties") ?: emptyMap()
        val first = (properties["n"] as? JsonPrimitive)?.long ?: 0
        for (n in first until first + count) {
            val counted = if (count > 1) properties + ("n" to JsonPrimitive(n)) else properties
            recorded(client().track(command.text("event") ?: "", counted, command.options()))
        }
    }

    private fun client() = client ?: error("not open")

    private fun ok() = say("ok" to JsonPrimitive(true))

    private fun recorded(it: Recorded) = say("messageId" to JsonPrimitive(it.messageId), "durable" to JsonPrimitive(it.durable))

    private fun say(vararg members: Pair<String, JsonElement>) = answer(JsonObject(mapOf(*members)).toString())
}

private fun JsonObject.text(name: String) = this[name]?.takeUnless { it is JsonNull }?.jsonPrimitive?.content

private fun JsonObject.fields(name: String) = this[name]?.takeUnless { it is JsonNull }?.jsonObject as Map<String, JsonElement>?

private fun JsonObject.options() = text("category")?.let { EventOptions(category = Category.valueOf(it.uppercase())) }

private fun JsonObject.answers(name: String): Map<Category, Answer> = fields(name).orEmpty().entries.associate { (category, answer) ->
    Category.valueOf(category.uppercase()) to Answer.valueOf(answer.jsonPrimitive.content.uppercase())
}

private fun Report.toJson() = buildJsonObject {
    fun put(name: String, value: String?) = put(name, JsonPrimitive(value))
    when (val it = this@toJson) {
        is Report.Dropped -> {
            put("kind", "dropped")
            put("messageId", it.messageId)
            put("reason", it.reason)
        }
        is Report.Stopped -> {
            put("kind", "stopped")
            put("status", JsonPrimitive(it.status))
        }
        is Report.NotDurable -> {
            put("kind", "notDurable")
            put("detail", it.detail)
        }
        is Report.StateLost -> {
            put("kind", "stateLost")
            put("detail", it.detail)
        }
        is Report.NotSending -> {
            put("kind", "notSending")
            put("detail", it.detail)
        }
        is Report.NoMessages -> {
            put("kind", "noMessages")
            put("detail", it.detail)
        }
        is Report.Altered -> {
            put("kind", "altered")
            put("messageId", it.messageId)
            put("detail", it.detail)
        }
    }
}

private fun residentBytes(): Long {
    val line = File("/proc/self/status").readLines().first { it.startsWith("VmRSS:") }
    return line.filter { it.isDigit() }.toLong() * 1024
}
