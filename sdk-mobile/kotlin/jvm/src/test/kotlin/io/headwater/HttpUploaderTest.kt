/*
 * Requests by HttpURLConnection, against the real collector and against servers that are none.
 */
package io.headwater

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.File
import java.io.IOException
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

@Timeout(120)
internal class HttpUploaderTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `a backlog goes through it to the collector`() {
        Collector(folder).use { collector ->
            Headwater(options(folder, NOWHERE)).use { headwater -> repeat(1500) { headwater.track("Kept", mapOf("n" to it)) } }
            Headwater(options(folder, collector.endpoint, uploader = HttpUploader())).use { headwater ->
                assertEquals(0, runBlocking { headwater.flush(60.seconds) })
                assertEquals((0 until 1500).map { "$it" }, collector.log().map { it.at("properties.n") })
            }
        }
    }

    @Test
    fun `each status comes back as it is, and no redirect is followed`() {
        var followed = false
        val server = serve { exchange ->
            val status = exchange.requestURI.path.drop(1).toIntOrNull() ?: 200.also { followed = true }
            exchange.responseHeaders["Retry-After"] = "7"
            if (status == 302) exchange.responseHeaders["Location"] = "/elsewhere"
            val body = "said $status".toByteArray()
            exchange.sendResponseHeaders(status, if (status == 204) -1 else body.size.toLong())
            if (status != 204) exchange.responseBody.write(body)
            exchange.close()
        }
        try {
            for (status in listOf(200, 204, 302, 400, 401, 413, 429, 503)) {
                val answer = HttpUploader().upload(request("http://127.0.0.1:${server.address.port}/$status"))
                assertEquals(status, answer.status)
                assertEquals("7", answer.retryAfter)
                if (status !in listOf(204, 401)) assertEquals("said $status", answer.body)
            }
            assertTrue(!followed)
        } finally {
            server.stop(0)
        }
    }

    @Test
    fun `who never answers, or never ends, is given up in time`() {
        ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { silent ->
            val url = "http://127.0.0.1:${silent.localPort}/"
            assertThrows(IOException::class.java) { HttpUploader().upload(request(url, timeoutMs = 200)) }
        }
        val ended = CompletableFuture<Unit>()
        // It ends after all, after ten seconds: who waits for it fails, rather than for ever.
        val trickling = serve { exchange ->
            val end = System.nanoTime() + 10_000_000_000
            exchange.sendResponseHeaders(200, 0)
            runCatching {
                while (!ended.isDone && System.nanoTime() < end) {
                    exchange.responseBody.write('x'.code)
                    exchange.responseBody.flush()
                    runCatching { ended.get(20, TimeUnit.MILLISECONDS) }
                }
            }
            exchange.close()
        }
        try {
            assertThrows(IOException::class.java) { HttpUploader().upload(request("http://127.0.0.1:${trickling.address.port}/", timeoutMs = 500)) }
        } finally {
            ended.complete(Unit)
            trickling.stop(0)
        }
    }

    @Test
    fun `a server that drips its head, or reads nothing, is given up in time`() {
        for (drips in listOf(true, false)) {
            ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { server ->
                val ended = CompletableFuture<Unit>()
                val dripping = thread {
                    runCatching {
                        server.accept().use { peer ->
                            val end = System.nanoTime() + 10_000_000_000
                            // A read that has a byte is over: only all of them together take too long.
                            while (!ended.isDone && System.nanoTime() < end) {
                                if (drips) peer.getOutputStream().write('x'.code)
                                runCatching { ended.get(20, TimeUnit.MILLISECONDS) }
                            }
                        }
                    }
                }
                // More than the sockets between the two hold.
                val request = UploadRequest("http://127.0.0.1:${server.localPort}/", emptyMap(), ByteArray(if (drips) 10 else 64 shl 20), 500)
                val begun = System.nanoTime()
                assertThrows(IOException::class.java) { HttpUploader().upload(request) }
                val took = (System.nanoTime() - begun) / 1_000_000
                ended.complete(Unit)
                dripping.join()
                assertTrue(took < 8_000, "$took ms; drips: $drips")
            }
        }
    }

    @Test
    fun `an uploader that throws is nobody that answers`() {
        Headwater(options(folder, NOWHERE, uploader = { throw StackOverflowError("an uploader's own mistake") })).use { headwater ->
            headwater.track("Waits")
            assertEquals(1, runBlocking { headwater.flush() })
            assertEquals(1, runBlocking { headwater.flush() })
        }
    }

    private fun request(url: String, timeoutMs: Long = 20_000) = UploadRequest(url, mapOf("content-type" to "application/json"), ByteArray(10), timeoutMs)

    private fun serve(answer: (HttpExchange) -> Unit): HttpServer = HttpServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0).apply {
        createContext("/", answer)
        start()
    }
}
