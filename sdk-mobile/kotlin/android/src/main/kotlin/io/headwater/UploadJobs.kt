/*
 * What is left when the app goes is sent by a job of the system's, once there is a network, in this process or a later one. Promises one job at
 * a time, that consent holds there as in the app, and that the system hears the truth about whether to try again: not for what only waits for
 * the person's answer, or for a key that the collector takes.
 */
package io.headwater

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import android.os.PersistableBundle
import android.os.SystemClock
import java.io.File
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException

/** Asks for the job. */
internal class UploadJobs(private val context: Context, private val options: Options, private val android: AndroidOptions) {
    fun schedule() {
        if (!android.deferredUpload) return
        try {
            val scheduler = context.getSystemService(Context.JOB_SCHEDULER_SERVICE) as JobScheduler? ?: return
            // Asking again would forget how long it has waited.
            if (scheduler.getPendingJob(android.jobId) != null) return
            scheduler.schedule(job())
        } catch (_: RuntimeException) {
            // A hundred jobs wait already, or the app's manifest has not the service: the next start sends.
        }
    }

    private fun job(): JobInfo = JobInfo.Builder(android.jobId, ComponentName(context, HeadwaterUploadJob::class.java))
        .setRequiredNetworkType(JobInfo.NETWORK_TYPE_ANY)
        .setBackoffCriteria(FIRST_PAUSE_MS, JobInfo.BACKOFF_POLICY_EXPONENTIAL)
        .setExtras(
            PersistableBundle().apply {
                putString(KEY, options.writeKey)
                putString(ENDPOINT, options.endpoint)
                putString(FOLDER, options.folder.absolutePath)
                putString(SURVIVES, options.survives.name)
                for ((category, answer) in options.consent) putString(CONSENT + category.name, answer.name)
            },
        )
        .build()
}

/** The job. Started by the system. */
public class HeadwaterUploadJob : JobService() {
    private val running = ConcurrentHashMap<Int, Thread>()

    override fun onStartJob(job: JobParameters): Boolean {
        val thread = Thread({ run(job) }, "headwater-job")
        running[job.jobId] = thread
        thread.start()
        return true
    }

    /** The network went, or the time is over: later, please. */
    override fun onStopJob(job: JobParameters): Boolean {
        running.remove(job.jobId)?.interrupt()
        return true
    }

    private fun run(job: JobParameters) {
        val again = try {
            send(job.extras)
        } catch (_: InterruptedException) {
            return // Stopped: the system knows.
        } catch (_: ExecutionException) {
            true // Closed as it was at it.
        } catch (_: TimeoutException) {
            true
        } catch (_: RuntimeException) {
            false // Of another version of the app, or the app closed its client: there is nothing that another try could do.
        }
        if (running.remove(job.jobId) != null) jobFinished(job, again)
    }

    /** Sends what there is; says whether another time could do more. */
    private fun send(about: PersistableBundle): Boolean {
        val folder = requireNotNull(about.getString(FOLDER))
        OPEN[folder]?.let { return it.uploader != null && flush(it.headwater, it.uploader) }
        val uploader = SystemUploader(null)
        val options = Options(
            writeKey = requireNotNull(about.getString(KEY)),
            endpoint = requireNotNull(about.getString(ENDPOINT)),
            folder = File(folder),
            survives = Survives.valueOf(requireNotNull(about.getString(SURVIVES))),
            consent = Category.entries.mapNotNull { category ->
                about.getString(CONSENT + category.name)?.let { category to Answer.valueOf(it) }
            }.toMap(),
            uploader = uploader,
        )
        return Headwater(options).use { flush(it, uploader) }
    }

    private fun flush(headwater: Headwater, uploader: SystemUploader): Boolean {
        if (headwater.pending == 0L) return false
        val begun = SystemClock.elapsedRealtime()
        val left = headwater.flushAsync(PATIENCE_MS).get(PATIENCE_MS + SLACK_MS, TimeUnit.MILLISECONDS)
        val over = SystemClock.elapsedRealtime() - begun >= PATIENCE_MS
        // What a process was sending as it was ended is held back until nobody can be sending it any more.
        val heldBack = !uploader.refused && Category.entries.none { headwater.consent(it) == Answer.PENDING }
        return left > 0 && (uploader.failed || over || heldBack)
    }
}

private const val KEY = "writeKey"
private const val ENDPOINT = "endpoint"
private const val FOLDER = "folder"
private const val SURVIVES = "survives"
private const val CONSENT = "consent."

/** The system's own default; it doubles, up to five hours. */
private const val FIRST_PAUSE_MS = 30_000L

/** The system ends a job after ten minutes. */
private const val PATIENCE_MS = 540_000L
private const val SLACK_MS = 10_000L
