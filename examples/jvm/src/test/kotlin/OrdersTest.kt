/*
 * The order desk as a process of its own, with a collector that is not there at first: every order is in the log, once.
 */
import io.headwater.Collector
import io.headwater.at
import java.io.File
import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class OrdersTest {
    @TempDir
    lateinit var folder: File

    @Test
    fun `every order is in the log once, also those of a day without a collector`() {
        val first = desk("http://127.0.0.1:1", listOf("o-1 u-1 kettle-01 49", "nonsense"))
        assertEquals("2 events wait for the next start", first)
        Collector(folder).use { collector ->
            assertEquals("all sent", desk(collector.endpoint, (2..50).map { "o-$it u-$it mug-02 12.5" }))
            val events = collector.events(51)
            assertEquals(51, events.size)
            val orders = events.filter { it.at("event") == "Order Completed" }
            assertEquals((1..50).map { "o-$it" }.toSet(), orders.map { it.at("properties.order_id") }.toSet())
            assertEquals("49.0", orders.first { it.at("properties.order_id") == "o-1" }.at("properties.revenue"))
            assertEquals("8", events.single { it.at("event") == "Order Refused" }.at("properties.line_length"))
            assertTrue(events.all { it.at("context.app.name") == "oxbow-orders" })
        }
    }

    /** Runs the program with these orders; gives back its last line. */
    private fun desk(endpoint: String, orders: List<String>): String {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val start = ProcessBuilder(java, "-Djna.library.path=" + System.getProperty("jna.library.path"), "-cp", System.getProperty("java.class.path"), "OrdersKt")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
        start.environment() += mapOf(
            "HEADWATER_WRITE_KEY" to "wk_test", "HEADWATER_ENDPOINT" to endpoint, "HEADWATER_FOLDER" to File(folder, "desk").path,
        )
        val process = start.start()
        process.outputStream.bufferedWriter().use { out -> orders.forEach { out.write("$it\n") } }
        val said = process.inputStream.bufferedReader().readLines()
        assertTrue(process.waitFor(60, TimeUnit.SECONDS))
        assertEquals(0, process.exitValue())
        return said.last()
    }
}
