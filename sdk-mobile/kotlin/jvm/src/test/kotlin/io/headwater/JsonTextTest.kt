/*
 * Which JSON each value becomes: the table that the README has, and the values that nobody should give.
 */
package io.headwater

import java.math.BigDecimal
import java.math.BigInteger
import java.net.URI
import java.time.Instant
import java.util.Date
import java.util.UUID
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

internal class JsonTextTest {
    @Serializable
    data class Money(val amount: Double, val currency: String = "EUR")

    class Plain {
        override fun toString() = "as it calls itself"
    }

    class Rude : Number() {
        override fun toString(): String = error("no")
        override fun toByte() = error("no")
        override fun toDouble() = error("no")
        override fun toFloat() = error("no")
        override fun toInt() = error("no")
        override fun toLong() = error("no")
        override fun toShort() = error("no")
    }

    @Test
    fun `values become what a reader expects`() {
        val table: List<Pair<Any?, String>> = listOf(
            null to "null", true to "true", 1 to "1", -1L to "-1", 1.toShort() to "1", 1.5 to "1.5", 2f to "2.0", 1e300 to "1.0E300",
            ULong.MAX_VALUE to "18446744073709551615", BigInteger.TEN.pow(20) to "100000000000000000000", BigDecimal("0.10") to "0.10",
            AtomicInteger(7) to "7", Double.NaN to "null", Float.NEGATIVE_INFINITY to "null", BigDecimal("1E+999") to "\"1E+999\"",
            "a\"b\\c\n\u0001é😀" to "\"a\\\"b\\\\c\\n\\u0001é😀\"", 'c' to "\"c\"", StringBuilder("sb") to "\"sb\"",
            "half \uD83D and \uDE00 pair" to "\"half \uFFFD and \uFFFD pair\"",
            TimeUnit.DAYS to "\"DAYS\"", Date(0) to "\"1970-01-01T00:00:00.000Z\"", Instant.EPOCH to "\"1970-01-01T00:00:00Z\"",
            UUID(0, 1) to "\"00000000-0000-0000-0000-000000000001\"", URI("a:b") to "\"a:b\"",
            listOf(1, null, "x") to "[1,null,\"x\"]", setOf(1) to "[1]", arrayOf("a") to "[\"a\"]", intArrayOf(1, 2) to "[1,2]",
            sequenceOf(1, 2) to "[1,2]", mapOf(1 to mapOf(null to emptyList<Int>())) to "{\"1\":{\"null\":[]}}",
            JsonPrimitive("s") to "\"s\"", JsonPrimitive(1) to "1", JsonPrimitive(false) to "false", JsonPrimitive(Double.NaN) to "null",
            Money(9.5) to "{\"amount\":9.5,\"currency\":\"EUR\"}", Money(Double.NaN) to "{\"amount\":null,\"currency\":\"EUR\"}",
            Plain() to "\"as it calls itself\"",
        )
        for ((value, expected) in table) {
            val made = JsonText.of(mapOf("v" to value))
            assertEquals("{\"v\":$expected}", made.text)
            assertNull(made.altered, made.altered)
        }
    }

    @Test
    fun `what has no JSON form is left out and told`() {
        val cycle = HashMap<String, Any?>(mapOf("before" to 1)).also { it["self"] = it }
        altered("{\"self\":null,\"before\":1}", "self: it contains itself", cycle)
        val list = ArrayList<Any?>().also { it.add(it) }
        altered("{\"v\":[null]}", "v[0]: it contains itself", mapOf("v" to list))
        altered("{\"b\":2}", "a member: java.lang.IllegalStateException: no", mapOf("a" to Rude(), "b" to 2))
        val failing = sequence { yield(1); error("broke") }
        altered("{\"v\":[1],\"after\":true}", "v: it could not be read to its end, java.lang.IllegalStateException: broke", mapOf("v" to failing, "after" to true))
        var deep: Any = 0
        repeat(100) { deep = listOf(deep) }
        val text = JsonText.of(mapOf("v" to deep))
        assertEquals("{\"v\":" + "[".repeat(59) + "null" + "]".repeat(59) + "}", text.text)
        assertTrue(text.altered!!.endsWith("it nests deeper than 60"), text.altered)
    }

    @Test
    fun `a list without an end fills no memory`() {
        val made = JsonText.of(mapOf("v" to generateSequence(1) { it + 1 }))
        assertTrue(made.text.length < 300_000)
        Json.parseToJsonElement(made.text)
        // Twice itself, sixty levels deep.
        var wide: Any = emptyList<Any>()
        repeat(59) { wide = listOf(wide, ArrayList(listOf(wide))) }
        Json.parseToJsonElement(JsonText.of(mapOf("v" to wide)).text)
    }

    @Test
    fun `a map that another thread writes to is still an object`() {
        val shared = HashMap<String, Int>()
        val writer = Thread { while (!Thread.interrupted()) repeat(1000) { shared["k${it % 97}"] = it; shared.remove("k${(it + 1) % 97}") } }
        writer.start()
        try {
            repeat(2000) { Json.parseToJsonElement(JsonText.of(shared).text).jsonObject }
        } finally {
            writer.interrupt()
            writer.join()
        }
    }

    @Test
    fun `properties that are no object are in one`() {
        assertEquals("{\"value\":[1,2]}", JsonText.of(kotlin.reflect.typeOf<List<Int>>(), listOf(1, 2)).text)
        assertEquals("{\"amount\":1.0,\"currency\":\"EUR\"}", JsonText.of(kotlin.reflect.typeOf<Any>(), Money(1.0) as Any).text.let(::unwrapped))
    }

    /** As a class is whose module has not the serialization plugin. */
    private data class Traits(val plan: String, val seats: Int)

    @Test
    fun `a class that nobody can serialize is told, and not sent as a line of text`() {
        val name = Traits::class.java.name
        val says = "$name has no serializer: mark it @Serializable and apply Kotlin's serialization plugin, or give a map"
        val alone = JsonText.of(kotlin.reflect.typeOf<Traits>(), Traits("pro", 5))
        assertEquals(listOf("{}", "all of it: $says"), listOf(alone.text, alone.altered))
        altered("{\"n\":1,\"of\":{\"traits\":null}}", "of.traits: $says", mapOf("n" to 1, "of" to mapOf("traits" to Traits("pro", 5))))
        // Within a map it is a word that it says of itself; alone it was meant to be members.
        assertEquals("{}", JsonText.of(kotlin.reflect.typeOf<Plain>(), Plain()).text)
        assertEquals("{\"value\":\"DAYS\"}", JsonText.of(kotlin.reflect.typeOf<Comparable<*>>(), TimeUnit.DAYS as Any).text)
    }

    private fun unwrapped(text: String) = Json.parseToJsonElement(text).jsonObject.let { (it["value"] ?: it) as JsonElement }.toString()

    private fun altered(text: String, why: String, members: Map<*, *>) {
        val made = JsonText.of(members)
        assertEquals(Json.parseToJsonElement(text), Json.parseToJsonElement(made.text))
        assertNotNull(made.altered)
        assertEquals(why, made.altered)
    }
}
