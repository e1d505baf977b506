/*
 * What the library says, told to those who listen. Promises that listeners are called one after the other on a thread of the SDK's own, never
 * under a lock, that one that throws keeps nobody else from hearing, that what is said before anybody listens is kept, up to a bound, and
 * that a listener which does not come back costs no more than a bound either.
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

    /** What the thread has not come to yet, oldest first. Its own lock. */
    private val waiting = ArrayDeque<Report>()
    private var hearing = false
    private var missed = 0L

    fun listen(listener: (Report) -> Unit): AutoCloseable {
        thread.execute {
            listeners.add(listener)
            while (true) tell(unheard.pollFirst() ?: break)
        }
        return AutoCloseable { listeners.remove(listener) }
    }

    fun say(report: Report) {
        val asleep = synchronized(waiting) {
            if (waiting.size == MAX_WAITING) {
                waiting.removeFirst()
                missed += 1
            }
            waiting.addLast(report)
            !hearing.also { hearing = true }
        }
        if (asleep) thread.execute(::hear)
    }

    private fun hear() {
        while (true) {
            val (report, tooMany) = synchronized(waiting) {
                val next = waiting.pollFirst()
                if (next == null) hearing = false
                next to missed.also { missed = 0 }
            }
            if (tooMany > 0) LOG.log(Level.WARNING, "a listener is too slow: {0} reports went unheard", tooMany)
            one(report ?: return)
        }
    }

    private fun one(report: Report) {
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

/** Reports that wait for a slow listener: as many as the Swift side keeps. */
private const val MAX_WAITING = 1_000
