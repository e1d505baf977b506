/*
 * Requests that are made on this side of the boundary: who makes one, and the thread that fetches and answers them. Promises that each
 * request that was fetched is answered, whatever its maker throws, and that nobody else ever waits for the network.
 */
package io.headwater

import io.headwater.core.Core
import java.util.concurrent.Semaphore

/** Makes one request, and waits for its answer. Called on a thread of the client's own, one request at a time. */
public fun interface Uploader {
    /** A POST. Throwing means that nobody answered. Follow no redirect. */
    public fun upload(request: UploadRequest): UploadAnswer

    /** Those that are there already. */
    public companion object {
        /** The native library's own HTTP, on a thread of its own: the default on the JVM. On Android it wants more of the app, as the README says. */
        @JvmField
        public val BUILT_IN: Uploader = Uploader { UploadAnswer(0, null, "the native library makes these requests itself, and no other thread") }
    }
}

/** A POST. */
public class UploadRequest(
    /** Where to. */
    public val url: String,
    /** Headers to set. */
    public val headers: Map<String, String>,
    /** The body, compressed as the headers say. */
    public val body: ByteArray,
    /** When to give it up, milliseconds. */
    public val timeoutMs: Long,
)

/** What a server said. */
public class UploadAnswer(
    /** The status; 0 if nobody answered. */
    public val status: Int,
    /** The header `Retry-After`, if there was one. */
    public val retryAfter: String?,
    /** The body; if nobody answered, why. */
    public val body: String,
)

/** The thread of a client whose requests are made here. */
internal class Uploads(private val uploader: Uploader) {
    private val ready = Semaphore(0)

    @Volatile private var ended = false

    fun start(core: Core) {
        val thread = Thread({ run(core) }, "headwater-upload")
        thread.isDaemon = true
        thread.start()
    }

    /** There is something to fetch. */
    fun wake() = ready.release()

    fun end() {
        ended = true
        ready.release()
    }

    private fun run(core: Core) {
        while (true) {
            ready.acquire()
            ready.drainPermits()
            if (ended) return
            try {
                while (true) {
                    val upload = core.nextUpload() ?: break
                    val answer = answer(UploadRequest(upload.url, upload.headers, upload.body, upload.timeoutMs.toLong()))
                    val status = answer.status.coerceIn(0, 999).toUShort()
                    // Without a status the body is the cause, which is told.
                    val body = answer.body.ifEmpty { if (answer.status == 0) "the uploader had no answer" else "" }
                    core.completeUpload(upload.id, status, answer.retryAfter?.let(::wellFormed), wellFormed(body))
                }
            } catch (_: io.headwater.core.Exception.Closed) {
                return
            } catch (_: IllegalStateException) {
                return // Closed, and gone.
            } catch (_: Exception) {
                // A defect on the other side: it may be well again when it calls next.
            }
        }
    }

    private fun answer(request: UploadRequest): UploadAnswer = try {
        uploader.upload(request)
    } catch (failure: Throwable) {
        UploadAnswer(0, null, failure.toString())
    }
}
