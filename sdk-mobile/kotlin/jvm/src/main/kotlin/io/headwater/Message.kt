/*
 * What rules say to whoever uses the app: one message, and those who hear of them. Promises that listeners are called one after the other on
 * a thread of the SDK's own, that one that throws keeps nobody else from hearing, and that nothing is heard after `reset()` that was for the one
 * before. Draws nothing: the app does.
 */
package io.headwater

import io.headwater.core.Act
import io.headwater.core.Core
import java.lang.ref.WeakReference
import java.util.Date
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.logging.Level
import java.util.logging.Logger
import io.headwater.core.Message as CoreMessage

/**
 * What a rule says to the person in front of the app. Texts are plain. Draw it where it belongs, and say what became of it: what was never
 * shown is told again at the next visit.
 */
public class Message internal constructor(private val said: CoreMessage, private val act: (String, Act) -> Unit) {
    /** Its id, which `Message Shown` and the others name as `message_id`. */
    public val id: String get() = said.id

    /** The rule that says it. */
    public val rule: String get() = said.rule

    /** Where in the app it belongs. */
    public val placement: String get() = said.placement

    /** Its title. */
    public val title: String? get() = said.title

    /** Its text. */
    public val body: String? get() = said.body

    /** What is to be pressed. */
    public val button: String? get() = said.button

    /** Where that leads: a path, or an address with its scheme. */
    public val url: String? get() = said.url

    /** What the rule says beside, by name. */
    public val data: Map<String, String> get() = said.data

    /** When it is of no use any more. */
    public val expiresAt: Date get() = Date(said.expiresAtMs.toLong())

    /** The person has seen it: it is told to no device again. Sends `Message Shown`, once. */
    public fun shown(): Unit = act(id, Act.SHOWN)

    /** The person followed it. Sends `Message Clicked`, once; it is shown, too. */
    public fun clicked(): Unit = act(id, Act.CLICKED)

    /** The person closed it. Sends `Message Dismissed`, once; it is shown, too. */
    public fun dismissed(): Unit = act(id, Act.DISMISSED)

    override fun toString(): String = "Message(id=$id, rule=$rule, placement=$placement, title=$title)"
}

/** Those who hear messages. */
internal class Messages(private val reports: Reports) {
    private val listeners = CopyOnWriteArrayList<(Message) -> Unit>()

    /** Hears what became of a message. Not held: what the library tells keeps no client that is forgotten. */
    @Volatile private var core = WeakReference<Core>(null)

    /** Counts whom they were for: what was said before is for nobody any more. */
    @Volatile private var person = 0

    /** Ends when it is idle. It holds no more than the core tells of, which is bounded. */
    private val thread = ThreadPoolExecutor(1, 1, 5, TimeUnit.SECONDS, LinkedBlockingQueue()) { work ->
        Thread(work, "headwater-messages").apply { isDaemon = true }
    }.apply { allowCoreThreadTimeOut(true) }

    /** Whether somebody listens. */
    val heard: Boolean get() = listeners.isNotEmpty()

    fun of(core: Core) {
        this.core = WeakReference(core)
    }

    fun add(listener: (Message) -> Unit) {
        listeners.add(listener)
    }

    fun remove(listener: (Message) -> Unit) {
        listeners.remove(listener)
    }

    /** Somebody else from now on, or nobody. */
    fun forget() {
        person += 1
    }

    fun say(said: CoreMessage) {
        val whose = person
        val core = core.get() ?: return
        val message = Message(said) { id, act -> told(core, id, act) }
        thread.execute {
            for (listener in listeners) {
                if (whose != person) return@execute
                try {
                    listener(message)
                } catch (failure: Throwable) {
                    LOG.log(Level.WARNING, "a listener of messages failed", failure)
                }
            }
        }
    }

    /** Throws as little as a verb does. */
    private fun told(core: Core, id: String, act: Act) {
        try {
            core.act(id, act)
        } catch (_: io.headwater.core.Exception.Closed) {
            reports.say(Report.Dropped(null, "closed"))
        } catch (_: IllegalStateException) {
            reports.say(Report.Dropped(null, "closed")) // And gone.
        } catch (failure: Exception) {
            reports.say(Report.Dropped(null, "failed"))
        }
    }
}

private val LOG = Logger.getLogger("io.headwater")
