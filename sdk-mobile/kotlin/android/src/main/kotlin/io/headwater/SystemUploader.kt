/*
 * Requests by the system's own HTTP, and the knowledge whether a job could do what they did not. Promises that a job is asked for while the app
 * is away and something is on its way, or after a failure that time may mend; never for what only waits for the person or for another key.
 */
package io.headwater

import android.net.TrafficStats

/** HttpURLConnection, with a mark by which traffic is told apart; what fails, or is on its way as the app goes, is left to a job, too. */
internal class SystemUploader(private val job: UploadJobs?) : Uploader {
    private val http = HttpUploader()
    private val lock = Any()
    private var busy = false

    /** Whether the last request failed in a way that time may mend. */
    @Volatile var failed = false
        private set

    /** Whether the last answer refused the key. Other refusals are of one request: that nobody knows `/v1/seen`, or that a batch holds a bad event. */
    @Volatile var refused = false
        private set

    /** Whether the app has gone. */
    @Volatile var isAway = false
        private set

    /** The app goes, or comes back. Away, its process may be ended with what is on its way. */
    fun away(now: Boolean) {
        val onItsWay = synchronized(lock) {
            isAway = now
            now && busy
        }
        if (onItsWay) job?.schedule()
    }

    /** What it says of the network is another matter than events: no job is asked for. */
    override fun listen(request: UploadRequest): UploadAnswer = marked { http.upload(request) }

    override fun upload(request: UploadRequest): UploadAnswer {
        val leaving = synchronized(lock) {
            busy = true
            isAway
        }
        if (leaving) job?.schedule()
        var status = 0
        try {
            return marked { http.upload(request) }.also { status = it.status }
        } finally {
            failed = status == 0 || status == 408 || status >= 429
            if (status != 0) refused = status == 401 || status == 403
            synchronized(lock) { busy = false }
            if (failed) job?.schedule()
        }
    }

    private inline fun <T> marked(request: () -> T): T {
        TrafficStats.setThreadStatsTag(TRAFFIC)
        try {
            return request()
        } finally {
            TrafficStats.clearThreadStatsTag()
        }
    }
}

private const val TRAFFIC = 0x4857
