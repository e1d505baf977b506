/*
 * What a client, and a single call, can be told. Promises that everything but the write key, the endpoint and the folder has a default,
 * and that the words are those of the other platforms. Checks nothing: the core does, once, as the client opens.
 */
package io.headwater

import java.io.File

/** What a client needs to know at its start. */
public class Options @JvmOverloads constructor(
    /** The source's public key. */
    public val writeKey: String,
    /** The collector: `https://…`, without `/v1`. */
    public val endpoint: String,
    /** A folder of this client's own, in private storage; made if it is not there. Two processes may share it, two clients of one process should not. */
    public val folder: File,
    /** What a commit survives. */
    public val survives: Survives = Survives.PROCESS,
    /** Events kept while they cannot be sent; beyond it the oldest of the least important are dropped. */
    public val maxEvents: Long = 100_000,
    /** Bytes of the file they are kept in. */
    public val maxBytes: Long = 50L * 1024 * 1024,
    /** Age at which an event is given up, milliseconds, judged when a request fails. `null`: never. */
    public val maxAgeMs: Long? = null,
    /** How long the first event of a batch waits for others, milliseconds. Longer saves a phone's radio. */
    public val gatherMs: Long = 100,
    /** Events in a batch; a backlog goes in batches of up to eight times as many. */
    public val maxBatchEvents: Int = 100,
    /** What holds for a category until the person was asked. Categories that are not named: granted. */
    public val consent: Map<Category, Answer> = emptyMap(),
    /** Members of every event's context, beside (and in place of) those that are found out: `app`, `device`, … */
    public val context: Map<String, Any?> = emptyMap(),
    /** Who makes the requests. `null`: on the JVM the native library ([Uploader.BUILT_IN]), on Android the system. */
    public val uploader: Uploader? = null,
) {
    /** Who makes the requests on this side; `null`: the native library. */
    internal val uploaderHere: Uploader? get() = uploader.takeIf { it !== Uploader.BUILT_IN }

    /** The same, with another uploader. */
    @HeadwaterPlatform
    public fun with(uploader: Uploader): Options = Options(
        writeKey, endpoint, folder, survives, maxEvents, maxBytes, maxAgeMs, gatherMs, maxBatchEvents, consent, context, uploader,
    )
}

/** What a commit survives. */
public enum class Survives {
    /** The death of the process, however it dies. */
    PROCESS,

    /** The loss of power as well: each call waits for the disk. */
    POWER,
}

/** What an event is collected for: each has its own answer about consent. */
public enum class Category {
    /** To know how the product is used. Events that name none are of this one. */
    ANALYTICS,

    /** To advertise. */
    MARKETING,

    /** To make the product work better for this person. */
    FUNCTIONAL,

    /** To make it work at all. */
    NECESSARY,
}

/** The person's answer about a category. */
public enum class Answer {
    /** Not given yet: events are kept, and not sent. */
    PENDING,

    /** Yes. */
    GRANTED,

    /** No: what was kept is deleted, and nothing more is. */
    DENIED,
}

/** What a call may say beside its event. */
public class EventOptions @JvmOverloads constructor(
    /** What it is collected for. `null`: analytics. */
    public val category: Category? = null,
    /** When it happened, unix milliseconds. `null`: now. */
    public val timestampMs: Long? = null,
    /** Members of its context that stand in place of the client's. */
    public val context: Map<String, Any?>? = null,
) {
    internal companion object {
        val NONE = EventOptions()
    }
}
