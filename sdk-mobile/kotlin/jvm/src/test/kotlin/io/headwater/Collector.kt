/*
 * The real collector for a test. Promises that its process ends with the test; needs the binary, named by the property `headwater.collector`.
 */
package io.headwater

import java.io.File
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.nio.file.Files
import java.nio.file.attribute.PosixFilePermissions
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** A running collector with one source, whose key is `wk_test`. */
public class Collector(folder: File, port: Int = 0, more: String = "") : AutoCloseable {
    public val endpoint: String
    private val token: String
    private val process: Process

    init {
        val binary = File(System.getProperty("headwater.collector"))
        check(binary.canExecute()) { "$binary is missing: cargo build -p headwater-collector, or -Dheadwater.collector=FILE" }
        val config = File(folder, "headwater.toml")
        config.writeText("listen = \"127.0.0.1:$port\"\ndata = \"$folder/collector\"\n$more[sources.app]\nwrite_key = \"wk_test\"\n")
        Files.setPosixFilePermissions(config.toPath(), PosixFilePermissions.fromString("rw-------"))
        process = ProcessBuilder(binary.path, "serve", "--config", config.path)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .apply { environment()["HEADWATER_LOG"] = "warn" }
            .start()
        val kept = File(folder, "token")
        var url: String? = null
        for (line in process.inputStream.bufferedReader().lineSequence()) {
            line.removePrefix("headwater listens on ").let { if (it != line) url = it }
            line.removePrefix("admin token: ").let { if (it != line) kept.writeText(it) }
            if (url != null && kept.exists()) break
        }
        endpoint = checkNotNull(url) { "it says where it listens" }
        token = kept.readText()
    }

    public val port: Int get() = URI(endpoint).port

    /** The whole log. */
    public fun log(): List<JsonObject> {
        val all = ArrayList<JsonObject>()
        while (true) {
            val after = all.lastOrNull()?.get("offset")?.jsonPrimitive?.content?.let { "&after=$it" } ?: ""
            val request = HttpRequest.newBuilder(URI("$endpoint/v1/events?limit=5000$after")).header("authorization", "Bearer $token").build()
            val answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString())
            check(answer.statusCode() == 200) { "${answer.statusCode()} ${answer.body()}" }
            val lines = answer.body().lines().filter { it.isNotEmpty() }.map { Json.parseToJsonElement(it).jsonObject }
            if (lines.isEmpty()) return all
            all += lines
        }
    }

    /** The events in the log, once there are so many. */
    public fun events(count: Int): List<JsonObject> = eventually("$count events") { log().takeIf { it.size >= count } }

    /** Ends as SIGKILL does. */
    override fun close() {
        process.destroyForcibly().waitFor()
    }
}

/** What a condition gives once it gives something: asked again and again, for a minute at most. */
public fun <T : Any> eventually(what: String, found: () -> T?): T {
    val end = System.nanoTime() + 60_000_000_000
    while (true) {
        found()?.let { return it }
        check(System.nanoTime() < end) { "waited in vain for $what" }
        Thread.sleep(10)
    }
}

/** A member of an event, by the path to it. */
public fun JsonObject.at(path: String): String? = path.split('.').fold(this as Any?) { from, name -> (from as? JsonObject)?.get(name) }
    ?.let { if (it is JsonPrimitive) it.content else it.toString() }

internal fun options(folder: File, endpoint: String, consent: Map<Category, Answer> = emptyMap(), uploader: Uploader? = null) =
    Options("wk_test", endpoint, File(folder, "app"), gatherMs = 5, consent = consent, uploader = uploader)

/** Nobody listens there. */
internal const val NOWHERE = "http://127.0.0.1:1"

private val HTTP = HttpClient.newHttpClient()
