/*
 * What the library says, told to those who listen. Promises that listeners are called one after the other on a thread of the SDK's own, never
 * under a lock, that one that throws keeps nobody else from hearing, and that what is said before anybody listens is kept, up to a bound.
 */
package io.headwater

import java.util.ArrayDeque
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.LinkedBlockingQueue
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
        thread.execute {
            listeners.add(listener)
            while (true) tell(unheard.pollFirst() ?: break)
        }
        return AutoCloseable { listeners.remove(listener) }
    }

    fun say(report: Report) = thread.execute {
        if (listeners.isEmpty()) {
            // The same again and again is one line.
            if (report != unheard.peekLast()) LOG.log(Level.WARNING, "{0}", report)
            if (unheard.size == MAX_UNHEARD) unheard.removeFirst()
            unheard.addLast(report)
        } else {
            tell(report)
        }
    }

    private fun tell(report: Report) {
        for (listener in listeners) {
            try {
                listener(report)
            } catch (failure: Throwable) {
                LOG.log(Level.WARNING, "a listener failed", failure)
            }
        }
    }
}

private val LOG = Logger.getLogger("io.headwater")

/** More than a listener that comes late could make anything of. */
private const val MAX_UNHEARD = 100
