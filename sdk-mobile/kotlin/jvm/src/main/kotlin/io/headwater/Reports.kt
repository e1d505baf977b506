/*
 * What the library says, told to those who listen. Promises that listeners are called one after the other on a thread of the SDK's own, never
 * under a lock, that one that throws keeps nobody else from hearing, and that what is said before anybody listens is kept, up to a bound.
 */
package io.headwater

import java.util.ArrayDeque
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.logging.Level
import java.util.logging.Logger

internal class Reports {
    private val listeners = CopyOnWriteArrayList<(Report) -> Unit>()
    private val unheard = ArrayDeque<Report>()

    /** Ends when it is idle: a client that has nothing to say has no thread for it. */
    private val thread = ThreadPoolExecutor(1, 1, 5, TimeUnit.SECONDS, LinkedBlockingQueue()) { work ->
        Thread(work, "headwater-reports").apply { isDaemon = true }
    }.apply { allowCoreThreadTimeOut(true) }

    fun listen(listener: (Report) -> Unit): AutoCloseable {
        onThread {
            listeners.add(listener)
            while (true) tell(unheard.pollFirst() ?: break)
        }
        return AutoCloseable { listeners.remove(listener) }
    }

    fun say(report: Report) = onThread {
        if (listeners.isEmpty()) {
            LOG.log(Level.WARNING, "{0}", report)
            if (unheard.size == MAX_UNHEARD) unheard.removeFirst()
            unheard.addLast(report)
        } else {
            tell(report)
        }
    }

    /** What was said until now is still told. */
    fun end() = thread.shutdown()

    private fun tell(report: Report) {
        for (listener in listeners) {
            try {
                listener(report)
            } catch (failure: Throwable) {
                LOG.log(Level.WARNING, "a listener failed", failure)
            }
        }
    }

    private fun onThread(work: () -> Unit) {
        try {
            thread.execute(work)
        } catch (_: RejectedExecutionException) {
            // Closed: nobody listens any more.
        }
    }
}

private val LOG = Logger.getLogger("io.headwater")

/** More than a listener that comes late could make anything of. */
private const val MAX_UNHEARD = 100
