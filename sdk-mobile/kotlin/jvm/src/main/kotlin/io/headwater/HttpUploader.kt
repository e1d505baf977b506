/*
 * Requests by HttpURLConnection: what every Android has, with its trust, its proxies and its network security configuration. Promises that a
 * request ends within its time whatever the server drips or leaves unread, that no redirect is followed, and that a large answer costs no more
 * than its bound.
 */
package io.headwater

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit

/** The uploader of Android; on the JVM for those who want the JVM's proxies and trust rather than the native library's. */
public class HttpUploader : Uploader {
    override fun upload(request: UploadRequest): UploadAnswer {
        val deadline = System.nanoTime() + request.timeoutMs * 1_000_000
        val connection = URL(request.url).openConnection() as HttpURLConnection
        // The time-outs below are of one read each, and there is none for writing. Again and again: what is not connected yet cannot be cut.
        val cutting = CUTTER.scheduleWithFixedDelay(connection::disconnect, request.timeoutMs.coerceAtLeast(1), CUT_AGAIN_MS, TimeUnit.MILLISECONDS)
        try {
            return ask(connection, request, deadline)
        } catch (failure: IOException) {
            throw if (System.nanoTime() < deadline) failure else IOException("no answer in time", failure)
        } finally {
            cutting.cancel(false)
            connection.disconnect()
        }
    }

    private fun ask(connection: HttpURLConnection, request: UploadRequest, deadline: Long): UploadAnswer {
        connection.requestMethod = "POST"
        connection.doOutput = true
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.connectTimeout = request.timeoutMs.coerceIn(1, Int.MAX_VALUE.toLong()).toInt()
        connection.readTimeout = connection.connectTimeout
        connection.setRequestProperty("user-agent", "headwater-kotlin/$VERSION")
        request.headers.forEach(connection::setRequestProperty)
        // Without it the platform may send a body twice by itself.
        connection.setFixedLengthStreamingMode(request.body.size)
        connection.outputStream.use { it.write(request.body) }
        val status = connection.responseCode
        // An error without a body has no stream; one that asks for a password has none that can be had.
        val stream = if (status < 400) connection.inputStream else connection.errorStream
        val body = stream?.use { read(it, deadline) } ?: ""
        return UploadAnswer(status, connection.getHeaderField("Retry-After"), body)
    }

    private fun read(stream: InputStream, deadline: Long): String {
        val kept = java.io.ByteArrayOutputStream()
        val room = ByteArray(8192)
        while (kept.size() < MAX_ANSWER_BYTES) {
            if (System.nanoTime() > deadline) throw IOException("the answer did not end in time")
            val count = stream.read(room)
            if (count < 0) break
            kept.write(room, 0, count)
        }
        return kept.toString("UTF-8")
    }
}

/** A receipt of 800 events that were all refused, each with a page of reasons, is smaller. */
private const val MAX_ANSWER_BYTES = 1 shl 20

/** Ends what takes too long. One for the process, and gone while nothing is on its way. */
private val CUTTER = ScheduledThreadPoolExecutor(1) { work ->
    Thread(work, "headwater-deadline").apply { isDaemon = true }
}.apply {
    removeOnCancelPolicy = true
    setKeepAliveTime(5, TimeUnit.SECONDS)
    allowCoreThreadTimeOut(true)
}

/** A connection that came about after its time is cut no later than this. */
private const val CUT_AGAIN_MS = 500L
