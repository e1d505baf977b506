/*
 * What a client says: of a call, of the person, and of what an app or a human may want to know. Types only.
 */
package io.headwater

/** An event that was taken. */
public data class Recorded(
    /** Its id: a UUID, version 7. Empty if there is no event: the client was closed. */
    public val messageId: String,
    /** Whether it is committed. If not, the person said no to its category, or storage refused it and it is in memory alone. */
    public val durable: Boolean,
)

/** Who uses the device, as far as this client knows. */
public data class User(
    /** The device's id, until `reset()`. */
    public val anonymousId: String,
    /** The person's id, once known. */
    public val userId: String?,
)

/** Something that the app, or a human, may want to know. More kinds may come: let a `when` have an `else`. */
public sealed class Report {
    /** An event was given up. */
    public data class Dropped(
        /** Which one, where it is known. */
        public val messageId: String?,
        /** `queue_full`, `too_old`, `too_large`, `refused`, `denied`, `storage_lost`; `closed`: called after `close()`; `failed`: a defect, please tell us. */
        public val reason: String,
    ) : Report()

    /** The collector does not know the write key (401, 403): nothing is sent until the next start or flush. Events are kept. */
    public data class Stopped(
        /** The status. */
        public val status: Int,
    ) : Report() {
        override fun toString(): String = "Stopped(status=$status): the collector refuses the write key. Compare `writeKey` with the `write_key` " +
            "of the source in the configuration of the collector at `endpoint`; what is stored is sent once they are the same"
    }

    /** Storage refuses: events are in memory alone until it takes them again. Told once. */
    public data class NotDurable(
        /** Why, and what to do. */
        public val detail: String,
    ) : Report()

    /** A file could not be read, and was set aside. */
    public data class StateLost(
        /** Which, and what was saved from it. */
        public val detail: String,
    ) : Report()

    /** Nothing goes out: the collector cannot be reached, or somebody else answers. Events are kept. Told once for each run of failures. */
    public data class NotSending(
        /** Which address, and why. */
        public val detail: String,
    ) : Report()

    /** The collector tells this device no messages. It is not asked again until the app comes to the front. */
    public data class NoMessages(
        /** Why. */
        public val detail: String,
    ) : Report()

    /** A value had no JSON form (it contains itself, could not be read, nests too deep, is of a class without a serializer): the event went without it. */
    public data class Altered(
        /** Of which event. */
        public val messageId: String,
        /** Which value, and what became of it. */
        public val detail: String,
    ) : Report()
}
