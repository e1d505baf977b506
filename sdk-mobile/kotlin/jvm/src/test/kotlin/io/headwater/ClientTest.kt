/*
 * A client under use and abuse, on the real collector: threads, consent, flushes, callbacks, the end.
 */
package io.headwater

import java.io.File
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeUnit
import java.util.logging.Level
import java.util.logging.Logger
import kotlin.concurrent.thread
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir

@Timeout(120)
internal class ClientTest {
    @TempDir
    lateinit var folder: File

    /** What these tests bring about on purpose need not stand in their output. */
    private val quiet = Logger.getLogger("io.headwater").apply { level = Level.OFF }

    @Test
    fun `eight threads say five hundred events each and none is missing or there twice`() {
        Collector(folder).use { collector ->
            Headwater(options(folder, collector.endpoint)).use { headwater ->
                val ids = CopyOnWriteArrayList<String>()
                val threads = (0 until 8).map { of ->
                    thread {
                        ids += (0 until 500).map { headwater.track("Said", mapOf("thread" to of, "n" to it)).messageId }
                    }
                }
                threads.forEach { it.join() }
                assertEquals(0, runBlocking { headwater.flush(60.seconds) })
                val events = collector.log()
                assertEquals(ids.toSet(), events.map { it.at("messageId") }.toSet())
                assertEquals(4000, events.size)
                val said = events.map { it.at("properties.thread") to it.at("properties.n") }
                assertEquals(4000, said.toSet().size)
                // Of each thread in the order in which it said them.
                for (of in 0 until 8) assertEquals((0 until 500).map { "$it" }, said.filter { it.first == "$of" }.map { it.second })
            }
        }
    }

    @Test
    fun `what waits for an answer is sent after a yes and deleted by a no`() {
        Collector(folder).use { collector ->
            val asked = mapOf(Category.ANALYTICS to Answer.PENDING, Category.MARKETING to Answer.PENDING)
            Headwater(options(folder, collector.endpoint, asked)).use { headwater ->
                assertTrue(headwater.track("Kept").durable)
                assertTrue(headwater.track("Advertised", options = EventOptions(Category.MARKETING)).durable)
                headwater.track("Needed", options = EventOptions(Category.NECESSARY))
                runBlocking { headwater.flush() }
                assertEquals(listOf("Needed"), collector.events(1).map { it.at("event") })
                assertEquals(Answer.PENDING, headwater.consent(Category.ANALYTICS))
                headwater.setConsent(mapOf(Category.ANALYTICS to Answer.GRANTED, Category.MARKETING to Answer.DENIED))
                assertFalse(headwater.track("Not Taken", options = EventOptions(Category.MARKETING)).durable)
                assertEquals(0, runBlocking { headwater.flush() })
                assertEquals(listOf("Needed", "Kept"), collector.events(2).map { it.at("event") })
                assertEquals(Answer.DENIED, headwater.consent(Category.MARKETING))
            }
        }
    }

    @Test
    fun `a flush says what is left`() {
        Headwater(options(folder, NOWHERE)).use { headwater ->
            headwater.track("One")
            headwater.track("Two")
            assertEquals(2, runBlocking { headwater.flush() })
            val all = runBlocking { (1..20).map { async(Dispatchers.Default) { headwater.flush() } }.awaitAll() }
            assertEquals(List(20) { 2L }, all)
            // Who stops waiting, stops.
            val slow = Uploader { Thread.sleep(60_000).let { UploadAnswer(0, null, "") } }
            Headwater(Options("wk_test", NOWHERE, File(folder, "slow"), uploader = slow)).use {
                it.track("Waits")
                assertNull(runBlocking { withTimeoutOrNull(50.milliseconds) { it.flush(5.minutes) } })
                assertEquals(1, runBlocking { it.flush(50.milliseconds) })
            }
        }
    }

    @Test
    fun `a listener that throws keeps nobody from hearing, and one that calls anything waits for nobody`() {
        Headwater(Options("wk_test", NOWHERE, File(folder, "app"), maxEvents = 1)).use { headwater ->
            val heard = CompletableFuture<List<String>>()
            headwater.onReport { error("a listener's own mistake") }
            val calling = headwater.onReport { report ->
                if (heard.isDone || report !is Report.Dropped) return@onReport
                val all = listOf(
                    headwater.track("From Within").messageId,
                    headwater.user.anonymousId,
                    "${headwater.pending}",
                    "${runBlocking { headwater.flush(1.seconds) }}",
                    Thread.currentThread().name,
                    report.reason,
                )
                headwater.reset()
                headwater.setConsent(Answer.GRANTED)
                headwater.onReport { }
                heard.complete(all)
            }
            repeat(5) { headwater.track("One Too Many") }
            val (id, user, pending, flushed) = heard.get(60, TimeUnit.SECONDS)
            assertTrue(id.isNotEmpty() && user.isNotEmpty() && pending.toLong() >= 1 && flushed.toLong() >= 1)
            assertEquals(listOf("headwater-reports", "queue_full"), heard.get().takeLast(2))
            calling.close()
        }
    }

    @Test
    fun `who listens late hears what was said before`() {
        Collector(folder).use { collector ->
            Headwater(Options("wk_unknown", collector.endpoint, File(folder, "app"), gatherMs = 5)).use { headwater ->
                headwater.track("For Nobody")
                runBlocking { headwater.flush() }
                val heard = CompletableFuture<Report>()
                headwater.onReport(heard::complete)
                assertEquals(Report.Stopped(401), heard.get(60, TimeUnit.SECONDS))
                assertEquals(1, headwater.pending)
            }
        }
    }

    @Test
    fun `why nothing goes out is told, by whichever way it should have gone`() {
        for ((name, uploader) in mapOf("native" to null, "chosen" to Uploader.BUILT_IN, "host" to HttpUploader())) {
            Headwater(Options("wk_test", NOWHERE, File(folder, name), uploader = uploader)).use { headwater ->
                val heard = CompletableFuture<Report>()
                headwater.onReport(heard::complete)
                headwater.track("E")
                val told = heard.get(60, TimeUnit.SECONDS) as Report.NotSending
                assertTrue(told.detail.startsWith("$NOWHERE cannot be reached: ") && "refused" in told.detail.lowercase(), told.detail)
            }
        }
    }

    @Test
    fun `a listener that does not come back costs no more than its bound`() {
        val reports = Reports()
        val (begun, go) = CountDownLatch(1) to CountDownLatch(1)
        val heard = CopyOnWriteArrayList<Report>()
        reports.listen {
            heard += it
            begun.countDown()
            go.await()
        }
        reports.say(Report.Stopped(0))
        begun.await()
        for (n in 1..5000) reports.say(Report.Stopped(n))
        go.countDown()
        eventually("the last report") { heard.lastOrNull().takeIf { it == Report.Stopped(5000) } }
        assertEquals(listOf(0) + (4001..5000), heard.map { (it as Report.Stopped).status })
    }

    @Test
    fun `a callback may close the client`() {
        val headwater = Headwater(Options("wk_test", NOWHERE, File(folder, "app"), maxEvents = 1))
        val done = CountDownLatch(1)
        headwater.onReport {
            headwater.close()
            done.countDown()
        }
        repeat(3) { headwater.track("E") }
        assertTrue(done.await(60, TimeUnit.SECONDS))
    }

    @Test
    fun `after the end verbs are told as dropped and questions fail`() {
        val headwater = Headwater(options(folder, NOWHERE))
        val heard = CopyOnWriteArrayList<Report>()
        headwater.onReport { if (it !is Report.NotSending) heard += it }
        headwater.track("Before")
        headwater.close()
        headwater.close()
        assertEquals(Recorded("", false), headwater.track("After"))
        assertEquals(Recorded("", false), headwater.identify("u"))
        headwater.opened("1", "1")
        eventually("three reports") { heard.takeIf { it.size == 3 } }
        assertEquals(setOf(Report.Dropped(null, "closed")), heard.toSet())
        for (question in listOf<() -> Unit>({ headwater.pending }, { headwater.user }, { headwater.reset() }, { headwater.setConsent(Answer.DENIED) })) {
            assertThrows(IllegalStateException::class.java) { question() }
        }
        assertThrows(IllegalStateException::class.java) { runBlocking { headwater.flush() } }
        Headwater(options(folder, NOWHERE)).use { assertEquals(1, it.pending) }
    }

    @Test
    fun `a flush that is under way fails as the client is closed`() {
        val begun = CountDownLatch(1)
        val stuck = Uploader { begun.countDown(); Thread.sleep(60_000).let { UploadAnswer(0, null, "") } }
        val headwater = Headwater(options(folder, NOWHERE, uploader = stuck))
        headwater.track("Waits")
        val flush = headwater.flushAsync(60_000)
        begun.await()
        headwater.close()
        assertTrue(assertThrows(ExecutionException::class.java) { flush.get(10, TimeUnit.SECONDS) }.cause is IllegalStateException)
    }

    @Test
    fun `closing while everybody talks breaks nothing`() {
        repeat(20) { round ->
            val headwater = Headwater(Options("wk_test", NOWHERE, File(folder, "app$round")))
            val recorded = CopyOnWriteArrayList<Recorded>()
            val talking = CountDownLatch(4)
            val threads = (0 until 4).map {
                thread {
                    talking.countDown()
                    do { recorded += headwater.track("E") } while (recorded.last().durable)
                }
            }
            talking.await()
            headwater.close()
            threads.forEach { it.join() }
            Headwater(Options("wk_test", NOWHERE, File(folder, "app$round"))).use {
                assertEquals(recorded.count { one -> one.durable }.toLong(), it.pending)
            }
        }
    }

    @Test
    fun `values that nobody should give become events all the same`() {
        Collector(folder).use { collector ->
            Headwater(options(folder, collector.endpoint)).use { headwater ->
                val heard = CopyOnWriteArrayList<Report>()
                headwater.onReport(heard::add)
                val cycle = HashMap<String, Any?>().also { it["self"] = it }
                val ids = listOf(
                    headwater.track("NaN", mapOf("n" to Double.NaN)),
                    headwater.track("Cycle", cycle),
                    headwater.track("No serializer", Thread.currentThread()),
                    headwater.track("Half a pair \uD83D", mapOf("\uDE00" to "\uD83D")),
                    headwater.track("Context", options = EventOptions(context = mapOf("self" to cycle))),
                    headwater.identify("u \uD83D", mapOf("deep" to generateSequence<Any>(0) { listOf(it) }.elementAt(200))),
                )
                val large = headwater.track("Large", mapOf("v" to generateSequence(1) { it + 1 }))
                assertEquals(0, runBlocking { headwater.flush() })
                val events = collector.events(ids.size)
                assertEquals(ids.map { it.messageId }, events.map { it.at("messageId") })
                assertEquals("""{"n":null}""", events[0].at("properties"))
                assertEquals("""{"self":null}""", events[1].at("properties"))
                assertEquals("{}", events[2].at("properties"))
                assertEquals("Half a pair \uFFFD", events[3].at("event"))
                assertEquals("""{"${'\uFFFD'}":"${'\uFFFD'}"}""", events[3].at("properties"))
                assertEquals("u \uFFFD", events[5].at("userId"))
                val altered = eventually("reports") { heard.filterIsInstance<Report.Altered>().takeIf { it.size == 4 } }
                assertEquals(listOf(1, 2, 4, 5).map { ids[it].messageId }, altered.map { it.messageId })
                assertEquals("context.self.self: it contains itself", altered[2].detail)
                val dropped = eventually("a drop") { heard.filterIsInstance<Report.Dropped>().firstOrNull() }
                assertEquals(Report.Dropped(large.messageId, "too_large"), dropped)
            }
        }
    }

    @Test
    fun `options that make no sense are refused as the client opens`() {
        for (wrong in listOf(Options("", NOWHERE, folder), Options("wk", "events.example.com", folder), Options("wk", "$NOWHERE/v1", folder))) {
            val said = assertThrows(IllegalArgumentException::class.java) { Headwater(wrong) }
            assertTrue(said.message!!.isNotEmpty())
        }
    }
}
