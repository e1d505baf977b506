/*
 * Messages, on the real collector with a rule: an event sets one off, the callback hears it, what is said of it ends it.
 */
package io.headwater

import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.logging.Level
import java.util.logging.Logger
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

@Timeout(120)
internal class MessageTest {
    @TempDir
    lateinit var folder: File

    /** What these tests bring about on purpose need not stand in their output. */
    private val quiet = Logger.getLogger("io.headwater").apply { level = Level.OFF }

    private fun collector(): Collector {
        val rules = File(folder, "rules").apply { mkdirs() }
        File(rules, "rules.toml").writeText("[rules.cart]\non = \"Cart Left\"\nthen = [{ in_app = \"card\", template = \"cart.txt\", expires = \"1h\" }]\n")
        File(rules, "cart.txt").writeText(
            "+++\ntitle = \"Your {{ event.properties.sku }} waits\"\nbutton = \"Look\"\nurl = \"/cart\"\n[data]\nsku = \"{{ event.properties.sku }}\"\n+++\nWe kept it.\n",
        )
        return Collector(folder, more = "rules = \"$rules\"\n")
    }

    /** Says that it begins and ends as the SDK's own; counts what runs at once. */
    private class Counting : Uploader {
        val listens = CopyOnWriteArrayList<String>()
        private val http = HttpUploader()

        override fun upload(request: UploadRequest): UploadAnswer = http.upload(request)

        override fun listen(request: UploadRequest): UploadAnswer {
            listens += Thread.currentThread().name
            return http.upload(request)
        }
    }

    @Test
    fun `an event sets off a message, which is heard, shown and over`() {
        for ((name, uploader) in listOf("native" to null, "here" to Counting())) {
            val own = File(folder, name).apply { mkdirs() }
            val collector = MessageTest().also { it.folder = own }.collector()
            collector.use {
                Headwater(options(own, collector.endpoint, uploader = uploader)).use { headwater ->
                    val heard = CopyOnWriteArrayList<Pair<Message, String>>()
                    headwater.onMessage { error("a listener's own mistake") }
                    headwater.onMessage { heard += it to Thread.currentThread().name }
                    headwater.foreground()
                    headwater.track("Cart Left", mapOf("sku" to "kettle"))
                    val (message, thread) = eventually("the message") { heard.firstOrNull() }
                    assertEquals("headwater-messages", thread)
                    assertEquals(listOf("cart", "card"), listOf(message.rule, message.placement))
                    assertEquals(listOf("Your kettle waits", "We kept it.", "Look", "/cart"), listOf(message.title, message.body, message.button, message.url))
                    assertEquals(mapOf("sku" to "kettle"), message.data)
                    assertTrue(message.expiresAt.time > System.currentTimeMillis())
                    repeat(2) { message.clicked() }
                    message.shown()
                    assertEquals(0, runBlocking { headwater.flush() })
                    val said = eventually("both words") {
                        collector.log().filter { it.at("properties.message_id") == message.id && it.at("event")?.startsWith("Message ") == true }.takeIf { it.size >= 2 }
                    }
                    assertEquals(listOf("Message Shown", "Message Clicked"), said.map { it.at("event") })
                    assertEquals("cart card", said[0].at("properties.rule") + " " + said[0].at("properties.placement"))
                    // A second one comes, and the first no more.
                    headwater.track("Cart Left", mapOf("sku" to "pot"))
                    eventually("the second message") { heard.getOrNull(1) }
                    assertEquals(listOf("Your kettle waits", "Your pot waits"), heard.map { it.first.title })
                }
            }
            if (uploader is Counting) assertEquals(setOf("headwater-listen"), uploader.listens.toSet())
        }
    }

    @Test
    fun `events go while an answer is held back, and nobody is asked who does not listen, or in the background`() {
        val held = CountDownLatch(1)
        val asked = CopyOnWriteArrayList<String>()
        val uploader = object : Uploader {
            override fun upload(request: UploadRequest) = UploadAnswer(200, null, """{"success":true}""").also { asked += request.url.substringAfter("/v1/") }

            override fun listen(request: UploadRequest): UploadAnswer {
                asked += "messages"
                held.await()
                return UploadAnswer(200, null, """{"messages":[]}""")
            }
        }
        Headwater(options(folder, NOWHERE, uploader = uploader)).use { headwater ->
            fun send() {
                headwater.track("E")
                assertEquals(0, runBlocking { headwater.flush() })
            }
            headwater.foreground()
            send()
            assertEquals(setOf("batch?receipt=1"), asked.toSet())
            val listening = headwater.onMessage { }
            eventually("the question") { true.takeIf { "messages" in asked } }
            repeat(3) { send() }
            assertEquals(1, asked.count { it == "messages" })
            headwater.background()
            held.countDown()
            listening.close()
            listening.close()
            headwater.foreground()
            send()
            assertEquals(1, asked.count { it == "messages" })
        }
    }

    @Test
    fun `what was for the one before is heard by nobody after a reset`() {
        val message = """{"id":"ID","rule":"r","placement":"card","title":null,"body":"Hello","button":null,"url":null,"data":{},"expiresAt":"2100-01-01T00:00:00.000Z"}"""
        val bodies = CopyOnWriteArrayList<String>()
        val uploader = object : Uploader {
            override fun upload(request: UploadRequest) = UploadAnswer(200, null, """{"success":true}""")

            override fun listen(request: UploadRequest): UploadAnswer {
                bodies += String(request.body)
                return UploadAnswer(200, null, """{"messages":[${message.replace("ID", "m-${bodies.size}")}]}""")
            }
        }
        Headwater(options(folder, NOWHERE, uploader = uploader)).use { headwater ->
            val heard = CopyOnWriteArrayList<Message>()
            val slow = CountDownLatch(1)
            headwater.onMessage {
                heard += it
                slow.await()
            }
            val after = CopyOnWriteArrayList<Message>()
            headwater.onMessage(after::add)
            headwater.foreground()
            val first = eventually("the first message") { heard.firstOrNull() }
            headwater.reset()
            slow.countDown()
            first.shown()
            val second = eventually("that of the new one") { after.firstOrNull() }
            assertEquals("m-2", second.id)
            val devices = bodies.take(2).map { it.substringAfter("\"token\":\"").substringBefore('"') }
            assertEquals(2, devices.toSet().size)
            // Nothing was said of it in the new one's name.
            assertEquals(0, runBlocking { headwater.flush() })
            headwater.close()
            second.shown()
            second.dismissed()
        }
    }
}
