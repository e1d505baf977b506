/*
 * What the collector's log has of each verb: names, identity, context, numbers.
 */
package io.headwater

import java.io.File
import java.util.Locale
import java.util.TimeZone
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

internal class VerbsTest {
    @TempDir
    lateinit var folder: File

    @Serializable
    data class Order(@SerialName("order_id") val id: String, val revenue: Double, val lines: List<Line> = listOf(Line("kettle-01"))) {
        @Serializable
        data class Line(val sku: String)
    }

    @Test
    fun `each verb reaches the log in Segment's words`() {
        Collector(folder).use { collector ->
            Headwater(options(folder, collector.endpoint)).use { headwater ->
                val first = headwater.track("Cart Viewed", mapOf("items" to 2, "tags" to listOf("a", "b")))
                assertTrue(first.durable)
                headwater.track("Order Completed", Order("o-1", 49.9))
                headwater.track("Json", buildJsonObject { put("n", JsonPrimitive(1)) })
                headwater.track("Bare")
                headwater.identify("u-1", mapOf("plan" to "pro"))
                headwater.screen("Checkout", "Shop", mapOf("step" to 1))
                headwater.page("Start")
                headwater.group("g-1", mapOf("seats" to 5))
                headwater.screen("Kettle", "Shop", Order.Line("kettle-01"))
                headwater.page(null, null, Order.Line("mug-02"), Order.Line.serializer())
                headwater.group("g-2", Order.Line("lid-03"))
                headwater.alias("u-2")
                val before = headwater.user
                assertEquals("u-2", before.userId)
                headwater.reset()
                headwater.track("After", options = EventOptions(Category.FUNCTIONAL, 1_700_000_000_000, mapOf("app" to mapOf("name" to "Other"))))
                assertEquals(0, runBlocking { headwater.flush() })
                assertEquals(0, headwater.pending)

                val events = collector.events(13)
                assertEquals(
                    listOf("track", "track", "track", "track", "identify", "screen", "page", "group", "screen", "page", "group", "alias", "track"),
                    events.map { it.at("type") },
                )
                assertEquals((1..13).map { "$it" }, events.map { it.at("context.headwater.seq") })
                assertEquals(first.messageId, events[0].at("messageId"))
                assertEquals("""{"items":2,"tags":["a","b"]}""", events[0].at("properties"))
                assertEquals("""{"order_id":"o-1","revenue":49.9,"lines":[{"sku":"kettle-01"}]}""", events[1].at("properties"))
                assertEquals("""{"n":1}""", events[2].at("properties"))
                assertNull(events[3].at("userId"))
                assertEquals("pro", events[4].at("traits.plan"))
                assertEquals(listOf("Checkout", "1"), listOf(events[5].at("name"), events[5].at("properties.step")))
                assertEquals("Start", events[6].at("name"))
                assertEquals(listOf("g-1", "5", "u-1"), listOf(events[7].at("groupId"), events[7].at("traits.seats"), events[7].at("userId")))
                assertEquals(listOf("kettle-01", "mug-02", "lid-03"), listOf(events[8].at("properties.sku"), events[9].at("properties.sku"), events[10].at("traits.sku")))
                assertEquals(listOf("u-1", "u-2"), listOf(events[11].at("previousId"), events[11].at("userId")))
                assertEquals(before.anonymousId, events[11].at("anonymousId"))
                assertNotEquals(before.anonymousId, events[12].at("anonymousId"))
                assertNull(events[12].at("userId"))
                assertEquals("Other", events[12].at("context.app.name"))
                assertTrue(events[12].at("timestamp")!!.startsWith("2023-11-14T22:13:20"), events[12].at("timestamp"))
            }
        }
    }

    @Test
    fun `every event says where it happened and what the app says stands in front`() {
        Collector(folder).use { collector ->
            val given = mapOf("app" to mapOf("name" to "Shop"), "device" to mapOf("advertisingId" to "given"))
            val options = Options("wk_test", collector.endpoint, File(folder, "app"), gatherMs = 5, context = given)
            Headwater(options).use { headwater ->
                headwater.track("One")
                headwater.setContext(mapOf("locale" to "tlh", "campaign" to mapOf("name" to "spring")))
                headwater.track("Two")
                val (one, two) = collector.events(2)
                assertEquals("headwater-kotlin", one.at("context.library.name"))
                assertEquals(VERSION, one.at("context.library.version"))
                assertEquals(System.getProperty("os.name"), one.at("context.os.name"))
                assertEquals(Locale.getDefault().toLanguageTag(), one.at("context.locale"))
                assertEquals(TimeZone.getDefault().id, one.at("context.timezone"))
                assertEquals("Shop", one.at("context.app.name"))
                assertEquals(listOf("jvm", "given"), listOf("type", "advertisingId").map { one.at("context.device.$it") })
                assertEquals(listOf("tlh", "spring", "Shop"), listOf("locale", "campaign.name", "app.name").map { two.at("context.$it") })
            }
        }
    }

    @OptIn(HeadwaterPlatform::class)
    @Test
    fun `a device's id is the anonymous id and never an old one beside a new one`() {
        Collector(folder).use { collector ->
            Headwater(options(folder, collector.endpoint)).use { headwater ->
                headwater.describe(mapOf("device" to mapOf("model" to "M")), deviceId = true)
                val saying = Thread { repeat(200) { headwater.track("Said", mapOf("n" to it)) } }.apply { start() }
                repeat(20) { headwater.reset() }
                saying.join()
                headwater.setAnonymousId("from-the-web")
                headwater.track("Last")
                val events = collector.events(201)
                for (event in events) {
                    assertEquals("M", event.at("context.device.model"))
                    event.at("context.device.id")?.let { assertEquals(event.at("anonymousId"), it) }
                }
                val last = events.first { it.at("event") == "Last" }
                assertEquals(listOf("from-the-web", "from-the-web"), listOf(last.at("anonymousId"), last.at("context.device.id")))
            }
        }
    }

    @Test
    fun `who the person is outlives the client`() {
        val before = Headwater(options(folder, NOWHERE)).use {
            it.identify("u-1")
            it.user
        }
        Headwater(options(folder, NOWHERE)).use {
            assertEquals(before, it.user)
            assertEquals("u-1", it.user.userId)
            assertEquals(1, it.pending)
        }
    }
}
