/*
 * A collector's stand-in on loopback: takes batches, says what was in them, and stores an event once, as a collector does: one whose answer
 * was lost, as a client ended, comes again. Ends with the test.
 */
package io.headwater

import com.sun.net.httpserver.HttpServer
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.util.concurrent.CopyOnWriteArrayList
import java.util.zip.GZIPInputStream
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject

internal class Server(port: Int = 0, private val status: Int = 200) : AutoCloseable {
    /** The events of every batch, in order, each once. */
    val events = CopyOnWriteArrayList<JsonObject>()

    @Volatile var requests = 0

    /** Who made each request, by its own word. */
    val agents = CopyOnWriteArrayList<String>()

    /** What is answered to who asks for messages, and how often somebody did. */
    @Volatile var messages = """{"messages":[]}"""

    @Volatile var asked = 0

    private val server = HttpServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0)

    init {
        server.createContext("/v1/batch") { exchange ->
            val body = GZIPInputStream(exchange.requestBody).readBytes().decodeToString()
            requests += 1
            agents += exchange.requestHeaders.getFirst("user-agent").orEmpty()
            if (status == 200) {
                val batch = Json.parseToJsonElement(body).jsonObject.getValue("batch").jsonArray.map { it.jsonObject }
                events += batch.filter { event -> events.none { it["messageId"] == event["messageId"] } }
            }
            val answer = """{"success":true}""".toByteArray()
            exchange.sendResponseHeaders(status, answer.size.toLong())
            exchange.responseBody.use { it.write(answer) }
        }
        server.createContext("/v1/messages") { exchange ->
            asked += 1
            val answer = messages.toByteArray()
            exchange.sendResponseHeaders(200, answer.size.toLong())
            exchange.responseBody.use { it.write(answer) }
        }
        server.start()
    }

    val endpoint: String get() = "http://127.0.0.1:${server.address.port}"

    /** The events, once there are so many. */
    fun events(count: Int): List<JsonObject> = eventually("$count events; there are ${events.size}") { events.toList().takeIf { it.size >= count } }

    override fun close() = server.stop(0)
}

/** A port at which nobody listens until the test does. */
internal fun freePort(): Int = ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { it.localPort }
