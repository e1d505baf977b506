/*
 * One client: what an app calls. Promises that no verb throws whatever it is given and whenever it is called, that what a verb returned for is
 * committed (or says that it is not), that no call waits for the network, and that any thread may call anything, also from within a callback.
 * Knows no rule about events: the native library has them.
 */
package io.headwater

import com.sun.jna.Platform
import io.headwater.core.Core
import io.headwater.core.Host
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import kotlin.reflect.KType
import kotlin.reflect.typeOf
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asExecutor
import kotlinx.coroutines.future.await
import kotlinx.serialization.SerializationStrategy

/**
 * A client: one write key, one folder. Keep one for the life of the app.
 *
 * ```
 * val headwater = Headwater(Options("KEY", "https://events.example.com", File(dataFolder, "headwater")))
 * headwater.track("Order Completed", mapOf("revenue" to 49.9))
 * ```
 *
 * @throws IllegalArgumentException if an option makes no sense. A folder that cannot be used is none: see [Report.NotDurable].
 * @throws UnsatisfiedLinkError if the native library is missing, or is not of this release.
 */
public class Headwater(options: Options) : AutoCloseable {
    private val reports = Reports()
    private val surroundings = Surroundings(options.context)
    private val flushes = ConcurrentHashMap<Long, CompletableFuture<Long>>()
    private val tokens = AtomicLong()
    private val uploads = options.uploaderHere?.let { Uploads(Requests.Events(it)) }
    private val listening = options.uploaderHere?.let { Uploads(Requests.Listening(it)) }
    private val messages = Messages(reports)
    private val closed = AtomicBoolean()
    private val atEnd = CopyOnWriteArrayList<() -> Unit>()
    internal val core: Core = try {
        Core(options.toCore(), Ear(reports, flushes, uploads, listening, messages))
    } catch (wrong: io.headwater.core.Exception.InvalidOptions) {
        throw IllegalArgumentException(wrong.detail, wrong)
    } catch (failure: LinkageError) {
        throw withoutLibrary(failure)
    }

    init {
        synchronized(surroundings) { sayWhere() }
        uploads?.start(core)
        messages.of(core)
    }

    /** Somebody did something. The properties: a map with values of any kind, or a `JsonObject`. */
    @JvmOverloads
    public fun track(event: String, properties: Map<String, *>? = null, options: EventOptions? = null): Recorded =
        track(event, properties?.let(JsonText::of), options)

    /** Somebody did something. The properties: a serializable class. */
    public fun <T> track(event: String, properties: T, serializer: SerializationStrategy<T>, options: EventOptions? = null): Recorded =
        track(event, JsonText.of(serializer, properties), options)

    /** Somebody did something. The properties: a `@Serializable` class. */
    public inline fun <reified T : Any> track(event: String, properties: T, options: EventOptions? = null): Recorded =
        track(event, properties, typeOf<T>(), options)

    @PublishedApi
    internal fun track(event: String, properties: Any, type: KType, options: EventOptions?): Recorded =
        track(event, JsonText.of(type, properties), options)

    private fun track(event: String, fields: JsonText?, options: EventOptions?): Recorded =
        say(fields, options) { text, said -> core.track(wellFormed(event), text, said) }

    /** Somebody saw a screen of an app. */
    @JvmOverloads
    public fun screen(name: String, category: String? = null, properties: Map<String, *>? = null, options: EventOptions? = null): Recorded =
        screen(name, category, properties?.let(JsonText::of), options)

    /** The same; the properties: a serializable class. */
    public fun <T> screen(name: String, category: String?, properties: T, serializer: SerializationStrategy<T>, options: EventOptions? = null): Recorded =
        screen(name, category, JsonText.of(serializer, properties), options)

    /** The same; the properties: a `@Serializable` class. */
    public inline fun <reified T : Any> screen(name: String, category: String?, properties: T, options: EventOptions? = null): Recorded =
        screen(name, category, properties, typeOf<T>(), options)

    @PublishedApi
    internal fun screen(name: String, category: String?, properties: Any, type: KType, options: EventOptions?): Recorded =
        screen(name, category, JsonText.of(type, properties), options)

    private fun screen(name: String, category: String?, fields: JsonText?, options: EventOptions?): Recorded =
        say(fields, options) { text, said -> core.screen(wellFormed(name), category?.let(::wellFormed), text, said) }

    /** Somebody saw a page. */
    @JvmOverloads
    public fun page(name: String?, category: String? = null, properties: Map<String, *>? = null, options: EventOptions? = null): Recorded =
        page(name, category, properties?.let(JsonText::of), options)

    /** The same; the properties: a serializable class. */
    public fun <T> page(name: String?, category: String?, properties: T, serializer: SerializationStrategy<T>, options: EventOptions? = null): Recorded =
        page(name, category, JsonText.of(serializer, properties), options)

    /** The same; the properties: a `@Serializable` class. */
    public inline fun <reified T : Any> page(name: String?, category: String?, properties: T, options: EventOptions? = null): Recorded =
        page(name, category, properties, typeOf<T>(), options)

    @PublishedApi
    internal fun page(name: String?, category: String?, properties: Any, type: KType, options: EventOptions?): Recorded =
        page(name, category, JsonText.of(type, properties), options)

    private fun page(name: String?, category: String?, fields: JsonText?, options: EventOptions?): Recorded =
        say(fields, options) { text, said -> core.page(name?.let(::wellFormed), category?.let(::wellFormed), text, said) }

    /** Somebody is known by this user id from now on (without one: by what is known already), and by these traits. */
    @JvmOverloads
    public fun identify(userId: String? = null, traits: Map<String, *>? = null, options: EventOptions? = null): Recorded =
        identify(userId, traits?.let(JsonText::of), options)

    /** The same; the traits: a serializable class. */
    public fun <T> identify(userId: String?, traits: T, serializer: SerializationStrategy<T>, options: EventOptions? = null): Recorded =
        identify(userId, JsonText.of(serializer, traits), options)

    /** The same; the traits: a `@Serializable` class. */
    public inline fun <reified T : Any> identify(userId: String?, traits: T, options: EventOptions? = null): Recorded =
        identify(userId, traits, typeOf<T>(), options)

    @PublishedApi
    internal fun identify(userId: String?, traits: Any, type: KType, options: EventOptions?): Recorded =
        identify(userId, JsonText.of(type, traits), options)

    private fun identify(userId: String?, fields: JsonText?, options: EventOptions?): Recorded =
        say(fields, options) { text, said -> core.identify(userId?.let(::wellFormed), text, said) }

    /** Somebody belongs to this account. */
    @JvmOverloads
    public fun group(groupId: String, traits: Map<String, *>? = null, options: EventOptions? = null): Recorded =
        group(groupId, traits?.let(JsonText::of), options)

    /** The same; the traits: a serializable class. */
    public fun <T> group(groupId: String, traits: T, serializer: SerializationStrategy<T>, options: EventOptions? = null): Recorded =
        group(groupId, JsonText.of(serializer, traits), options)

    /** The same; the traits: a `@Serializable` class. */
    public inline fun <reified T : Any> group(groupId: String, traits: T, options: EventOptions? = null): Recorded =
        group(groupId, traits, typeOf<T>(), options)

    @PublishedApi
    internal fun group(groupId: String, traits: Any, type: KType, options: EventOptions?): Recorded =
        group(groupId, JsonText.of(type, traits), options)

    private fun group(groupId: String, fields: JsonText?, options: EventOptions?): Recorded =
        say(fields, options) { text, said -> core.group(wellFormed(groupId), text, said) }

    /** The person known until now (or by `previousId`) is the one with this user id. */
    @JvmOverloads
    public fun alias(userId: String, previousId: String? = null, options: EventOptions? = null): Recorded =
        say(null, options) { _, said -> core.alias(wellFormed(userId), previousId?.let(::wellFormed), said) }

    /**
     * The app was opened, in this version. Says so by `Application Installed` (the first time), `Application Updated` (in another version than
     * before), and `Application Opened`, with these properties. Android's module calls it by itself.
     */
    @JvmOverloads
    public fun opened(version: String, build: String, properties: Map<String, *>? = null) {
        attempt { core.opened(wellFormed(version), wellFormed(build), properties?.let(JsonText::of)?.text) }
    }

    /** Sends what there is without waiting for more, until all of it is answered for, an attempt has failed, or the time is over; says how many events are left. */
    public suspend fun flush(timeout: Duration = 20.seconds): Long = flushAsync(timeout.inWholeMilliseconds).await()

    /** The same for those without coroutines. The future's actions run on a thread of a pool. */
    @JvmOverloads
    public fun flushAsync(timeoutMs: Long = 20_000): CompletableFuture<Long> {
        val token = tokens.incrementAndGet()
        val flush = CompletableFuture<Long>()
        flushes[token] = flush
        flush.whenComplete { _, _ -> flushes.remove(token) }
        try {
            open { core.flush(token.toULong(), timeoutMs.coerceAtLeast(0).toULong()) }
        } catch (failure: Exception) {
            flush.completeExceptionally(failure)
        }
        // Between the look and the entry it may have been closed.
        if (closed.get()) flush.completeExceptionally(isClosed())
        return flush
    }

    /** Events that are not answered for yet, by this process's knowledge. */
    public val pending: Long get() = open { core.pending().toLong() }

    /** Who uses the device. */
    public val user: User get() = open { User(core.anonymousId(), core.userId()) }

    /** Another id for the device, such as one that a web page gave it. */
    public fun setAnonymousId(anonymousId: String): Unit = changingDevice {
        core.setAnonymousId(wellFormed(anonymousId))
        messages.forget()
    }

    /** Somebody else uses the device from now on: a new anonymous id, no user id, a new session. */
    public fun reset(): Unit = changingDevice {
        core.reset()
        messages.forget()
    }

    /** The person's answers; categories that are not named keep theirs. */
    public fun setConsent(answers: Map<Category, Answer>): Unit = open { core.setConsent(answers.toCore()) }

    /** The person's answer for all categories. */
    public fun setConsent(answer: Answer): Unit = setConsent(Category.entries.associateWith { answer })

    /** What holds for a category now. */
    public fun consent(category: Category): Answer = open { core.consent(category.toCore()).fromCore() }

    /** Members of every event's context from now on; others stay as they are. */
    public fun setContext(members: Map<String, Any?>) {
        open {
            synchronized(surroundings) {
                surroundings.given(members)
                sayWhere()
            }
        }
    }

    /** The app is in front, or the network came back: what waits is tried at once. Android's module calls it by itself. */
    public fun foreground(): Unit = open { core.foreground() }

    /** The app is about to be suspended: what was not sent yet is sent now. Android's module calls it by itself. */
    public fun background(): Unit = open { core.background() }

    /** The network came back. Android's module calls it by itself. */
    public fun online(): Unit = open { core.online() }

    /**
     * `listener` hears what becomes of events, on a thread of the SDK's own; it may call anything. Closing what is returned ends that. What was
     * said before anybody listened (the last 100) is told to the first one.
     */
    public fun onReport(listener: (Report) -> Unit): AutoCloseable = reports.listen(listener)

    /**
     * `listener` hears what rules say to the person in front of the app, on a thread of the SDK's own: while the app is in front (after [foreground],
     * which Android's module calls by itself) and consent for `FUNCTIONAL` is granted. Each message is told once in a process, to all who listen
     * then: listen once, for the life of the app. Closing what is returned ends that. The app draws the message, and says what became of it.
     */
    public fun onMessage(listener: (Message) -> Unit): AutoCloseable {
        // Of its own: the same function may listen twice.
        val one = { message: Message -> listener(message) }
        open {
            listening?.start(core)
            synchronized(messages) {
                messages.add(one)
                core.listen(true)
            }
        }
        return AutoCloseable {
            synchronized(messages) {
                messages.remove(one)
                try {
                    if (!messages.heard) core.listen(false)
                } catch (_: io.headwater.core.Exception.Closed) {
                    // Nobody listens any more as it is.
                } catch (_: IllegalStateException) {
                    // Closed, and gone.
                }
            }
        }
    }

    /** Ends this client's threads; what is stored stays, and is sent by the next client of this folder. Flushes that are under way fail. */
    override fun close() {
        if (!closed.compareAndSet(false, true)) return
        atEnd.forEach { act -> runCatching(act) }
        uploads?.end()
        listening?.end()
        messages.forget()
        core.end()
        core.close()
        flushes.values.forEach { it.completeExceptionally(isClosed()) }
    }

    /** What was found out about where events happen; what the app said stands in front of it. With `deviceId` the anonymous id is that of the device. */
    @HeadwaterPlatform
    public fun describe(members: Map<String, Any?>, deviceId: Boolean = false): Unit = open {
        synchronized(surroundings) {
            surroundings.found(members)
            surroundings.namesDevice = deviceId
            surroundings.deviceId = core.anonymousId()
            sayWhere()
        }
    }

    /** Acts as the client is closed. */
    @HeadwaterPlatform
    public fun atEnd(act: () -> Unit) {
        atEnd.add(act)
    }

    private fun sayWhere() = core.setContext(JsonText.of(surroundings.all()).text)

    /** The device has no id while it changes: no event has the old one beside a new anonymous id, or the other way around. */
    private fun changingDevice(change: () -> Unit): Unit = open {
        synchronized(surroundings) {
            val named = surroundings.namesDevice
            surroundings.deviceId = null
            if (named) sayWhere()
            change()
            surroundings.deviceId = core.anonymousId()
            if (named) sayWhere()
        }
    }

    private inline fun say(
        fields: JsonText?,
        options: EventOptions?,
        verb: (String?, io.headwater.core.EventOptions) -> io.headwater.core.Recorded,
    ): Recorded {
        val context = options?.context?.let(JsonText::of)
        val recorded = attempt { verb(fields?.text, (options ?: EventOptions.NONE).toCore(context?.text)) } ?: return Recorded("", false)
        fields?.altered?.let { reports.say(Report.Altered(recorded.messageId, it)) }
        context?.altered?.let { reports.say(Report.Altered(recorded.messageId, "context.$it")) }
        return Recorded(recorded.messageId, recorded.durable)
    }

    /** No call that says something throws: what was not taken is told. */
    private inline fun <T> attempt(call: () -> T): T? = try {
        open(call)
    } catch (failure: Exception) {
        reports.say(Report.Dropped(null, if (closed.get()) "closed" else "failed"))
        null
    }

    private inline fun <T> open(call: () -> T): T {
        if (closed.get()) throw isClosed()
        try {
            return call()
        } catch (failure: io.headwater.core.Exception.Closed) {
            throw isClosed()
        }
    }

    private fun isClosed() = IllegalStateException("this client was closed")

    /** For what a platform adds: `Headwater.android(…)`. */
    public companion object
}

/** What the native library tells, on a thread of its own that must not be kept waiting. Knows no client, so that one that is forgotten can go. */
private class Ear(
    private val reports: Reports,
    private val flushes: ConcurrentHashMap<Long, CompletableFuture<Long>>,
    private val uploads: Uploads?,
    private val listening: Uploads?,
    private val messages: Messages,
) : Host {

    override fun uploadReady() {
        uploads?.wake()
    }

    override fun report(report: io.headwater.core.Report) = reports.say(report.fromCore())

    override fun message(message: io.headwater.core.Message) = messages.say(message)

    override fun listenReady() {
        listening?.wake()
    }

    override fun flushed(token: ULong, pending: ULong) {
        val flush = flushes[token.toLong()] ?: return
        // Whatever waits for it may do as it likes there.
        Dispatchers.Default.asExecutor().execute { flush.complete(pending.toLong()) }
    }
}

/** One sentence that says what to do, in place of what JNA and the boundary say of themselves. */
private fun withoutLibrary(failure: LinkageError): UnsatisfiedLinkError {
    val causes = generateSequence<Throwable>(failure) { it.cause }.map { it.toString() }.joinToString()
    val file = System.mapLibraryName("headwater_mobile")
    val said = if ("Unable to load library" in causes || "UnsatisfiedLinkError" in causes && file in causes && "symbol" !in causes) {
        "there is no $file for ${Platform.RESOURCE_PREFIX}: put it into the jar (in the folder ${Platform.RESOURCE_PREFIX}/), or name its folder " +
            "with -Djna.library.path=FOLDER; of its own folders JNA found it in none"
    } else {
        "the $file that was found is not of this release ($VERSION) of Headwater: the jar and the library must be of one build"
    }
    return UnsatisfiedLinkError(said).apply { initCause(failure) }
}
