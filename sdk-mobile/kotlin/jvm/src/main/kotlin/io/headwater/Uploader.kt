/*
 * Requests that are made on this side of the boundary: who makes one, and the threads that fetch and answer them. Promises that each
 * request that was fetched is answered, whatever its maker throws, that nobody else ever waits for the network, and that events do not wait for
 * messages.
 */
package io.headwater

import io.headwater.core.Core
import io.headwater.core.Upload
import java.util.concurrent.Semaphore
import java.util.concurrent.atomic.AtomicBoolean

/**
 * Makes one request, and waits for its answer. Called on a thread of the client's own, one request at a time; where somebody listens for messages,
 * one more beside it, on another thread.
 */
public fun interface Uploader {
    /** A POST. Throwing means that nobody answered. Follow no redirect. */
    public fun upload(request: UploadRequest): UploadAnswer

    /** The same for a request whose answer is held back until there is a message, for 20 seconds at most. Called on another thread than [upload]. */
    public fun listen(request: UploadRequest): UploadAnswer = upload(request)

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

/** Requests of one kind: how they are fetched, made, and answered. */
internal abstract class Requests(val thread: String) {
    abstract fun next(core: Core): Upload?

    abstract fun make(request: UploadRequest): UploadAnswer

    abstract fun complete(core: Core, id: ULong, answer: UploadAnswer)

    /** Those that send events. */
    class Events(private val uploader: Uploader) : Requests("headwater-upload") {
        override fun next(core: Core) = core.nextUpload()

        override fun make(request: UploadRequest) = uploader.upload(request)

        override fun complete(core: Core, id: ULong, answer: UploadAnswer) = core.completeUpload(id, answer.code, answer.retryAfter, answer.body)
    }

    /** Those that ask for messages. */
    class Listening(private val uploader: Uploader) : Requests("headwater-listen") {
        override fun next(core: Core) = core.nextListening()

        override fun make(request: UploadRequest) = uploader.listen(request)

        override fun complete(core: Core, id: ULong, answer: UploadAnswer) = core.completeListening(id, answer.code, answer.retryAfter, answer.body)
    }
}

private val UploadAnswer.code get() = status.toUShort()

/** The thread of a client whose requests are made here. */
internal class Uploads(private val requests: Requests) {
    private val ready = Semaphore(0)

    @Volatile private var ended = false

    private val started = AtomicBoolean()

    /** Of no effect once it has begun. */
    fun start(core: Core) {
        if (!started.compareAndSet(false, true)) return
        val thread = Thread({ run(core) }, requests.thread)
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
                    val upload = requests.next(core) ?: break
                    val answer = answer(UploadRequest(upload.url, upload.headers, upload.body, upload.timeoutMs.toLong()))
                    val status = answer.status.coerceIn(0, 999)
                    // Without a status the body is the cause, which is told.
                    val body = answer.body.ifEmpty { if (answer.status == 0) "the uploader had no answer" else "" }
                    requests.complete(core, upload.id, UploadAnswer(status, answer.retryAfter?.let(::wellFormed), wellFormed(body)))
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
        requests.make(request)
    } catch (failure: Throwable) {
        UploadAnswer(0, null, failure.toString())
    }
}
