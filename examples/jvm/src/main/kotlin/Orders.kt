/*
 * Oxbow's order desk: reads one order a line (`order customer sku price`), fulfils it, and says so. What a service on the JVM does with Headwater:
 * one client, a serializable class for properties, one call for each thing that happened, and at the end what is left.
 */
import io.headwater.Headwater
import io.headwater.Options
import java.io.File
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable

@Serializable
data class Order(@SerialName("order_id") val id: String, @SerialName("user_id") val customer: String, val sku: String, val revenue: Double)

fun main() {
    val environment = System.getenv()
    val options = Options(
        writeKey = environment.getValue("HEADWATER_WRITE_KEY"),
        endpoint = environment.getValue("HEADWATER_ENDPOINT"),
        // What is not acknowledged waits here, for the next start if need be.
        folder = File(environment["HEADWATER_FOLDER"] ?: "data/headwater"),
        context = mapOf("app" to mapOf("name" to "oxbow-orders", "version" to "1.0")),
    )
    Headwater(options).use { headwater ->
        headwater.onReport { System.err.println("headwater: $it") }
        runBlocking {
            // Orders are fulfilled at the same time: any thread may call anything.
            for (line in generateSequence(::readlnOrNull)) launch(Dispatchers.Default) { fulfil(headwater, line) }
        }
        val left = runBlocking { headwater.flush(10.seconds) }
        println(if (left == 0L) "all sent" else "$left events wait for the next start")
    }
}

private fun fulfil(headwater: Headwater, line: String) {
    val words = line.trim().split(' ')
    val price = words.getOrNull(3)?.toDoubleOrNull()
    if (words.size != 4 || price == null) {
        headwater.track("Order Refused", mapOf("line_length" to line.length))
        return
    }
    val order = Order(words[0], words[1], words[2], price)
    // It returned: the event outlives this process, whatever happens to it.
    headwater.track("Order Completed", order)
}
