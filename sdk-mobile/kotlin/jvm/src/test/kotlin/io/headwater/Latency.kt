/*
 * How long track() takes from Kotlin, committed before it returns: 20,000 calls after as many to warm up. Prints microseconds.
 */
package io.headwater

import java.io.File
import java.nio.file.Files

/** The folder to work in, or none; run with the release build of the native library. */
public fun main(arguments: Array<String>) {
    val folder = arguments.firstOrNull()?.let(::File) ?: Files.createTempDirectory("headwater").toFile()
    val properties = mapOf("sku" to "kettle-01", "price" to 49.9, "quantity" to 2, "tags" to listOf("kitchen", "red"))
    val opening = System.nanoTime()
    Headwater(Options("wk_test", "http://127.0.0.1:1", File(folder, "latency"))).use { headwater ->
        headwater.track("First", properties)
        println("open and first call ${(System.nanoTime() - opening) / 1_000_000} ms")
        repeat(20_000) { headwater.track("Warm", properties) }
        val took = LongArray(20_000) {
            val start = System.nanoTime()
            headwater.track("Product Viewed", properties)
            System.nanoTime() - start
        }.apply { sort() }
        fun at(share: Double) = took[(took.size * share).toInt()] / 1000.0
        println("track() p50 ${at(0.5)} us, p90 ${at(0.9)} us, p99 ${at(0.99)} us, p99.9 ${at(0.999)} us, longest ${took.last() / 1000.0} us")
    }
    File(folder, "latency").deleteRecursively()
}
