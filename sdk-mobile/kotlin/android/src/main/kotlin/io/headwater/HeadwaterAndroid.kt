/*
 * `Headwater.android(…)`: the library with an Android app's life around it. Promises a client whose files are in the app's private storage and
 * in no backup, whose requests the system's own HTTP makes unless the app chooses another, and that says by itself when the app is installed,
 * opened and left. Knows no event of the app's own.
 */
@file:JvmName("HeadwaterAndroid")

package io.headwater

import android.app.Application
import android.content.Context
import android.content.pm.PackageManager
import android.os.Process
import java.io.File
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executors

/** What is done by itself on Android. */
public class AndroidOptions @JvmOverloads constructor(
    /** `Application Installed`, `Application Updated`, `Application Opened` and `Application Backgrounded`. */
    public val lifecycle: Boolean = true,
    /** `Deep Link Opened`, with the address that an activity was started with and who sent it. */
    public val deepLinks: Boolean = true,
    /** A screen event for each activity that comes to the front, with its label. */
    public val screens: Boolean = false,
    /** What could not be sent is sent by a job, once there is a network, also after the app's process has ended. */
    public val deferredUpload: Boolean = true,
    /** The number of that job, among the app's own. */
    public val jobId: Int = 0x48_57_00_01,
    /** The advertising id, if the app has asked for it: it is never looked for. */
    public val advertisingId: String? = null,
)

/** A client for the life of the app: call it in `Application.onCreate`, in which jobs begin, too. */
@JvmOverloads
@JvmName("open")
public fun Headwater.Companion.android(
    context: Context,
    writeKey: String,
    endpoint: String,
    android: AndroidOptions = AndroidOptions(),
): Headwater = android(context, Options(writeKey, endpoint, context.headwaterFolder()), android)

/** The same with all options; the folder is [headwaterFolder], or one of your own. */
@OptIn(HeadwaterPlatform::class)
@JvmOverloads
@JvmName("open")
public fun Headwater.Companion.android(context: Context, options: Options, android: AndroidOptions = AndroidOptions()): Headwater {
    val application = context.applicationContext as Application
    // A job in a later process has the system's own HTTP alone: an app that brings another has its reasons (pins, a proxy).
    val system = if (options.uploader == null) SystemUploader(UploadJobs(application, options, android)) else null
    val headwater = Headwater(options.with(options.uploader?.ready(application) ?: checkNotNull(system)))
    val device = Device(application, android.advertisingId)
    headwater.describe(device.describe(), deviceId = true)
    // What the system is asked for takes its time: never on the thread that draws.
    val aside = Executors.newSingleThreadExecutor { work ->
        Thread(
            {
                Process.setThreadPriority(Process.THREAD_PRIORITY_BACKGROUND)
                work.run()
            },
            "headwater-android",
        ).apply { isDaemon = true }
    }
    val network = Network(application, headwater)
    val life = AppLife(headwater, android, application.version()) { change ->
        aside.execute {
            // Closed meanwhile, perhaps.
            runCatching {
                if (change == AppLife.Change.FRONT) headwater.describe(device.describe(), deviceId = true)
                system?.away(change == AppLife.Change.BACK)
            }
        }
    }
    aside.execute { network.listen() }
    application.registerActivityLifecycleCallbacks(life)
    val open = Open(headwater, system)
    OPEN[options.folder.absolutePath] = open
    headwater.atEnd {
        application.unregisterActivityLifecycleCallbacks(life)
        OPEN.remove(options.folder.absolutePath, open)
        network.end()
        aside.shutdown()
    }
    return headwater
}

/** Where a client's files belong: private, and left out of backups, since another device must not go on as this one. */
@JvmOverloads
public fun Context.headwaterFolder(name: String = "headwater"): File = File(noBackupFilesDir, name)

/** An address brought the person into the app: for activities that get another intent while they are there (`onNewIntent`). */
@JvmOverloads
public fun Headwater.openedLink(url: String, referrer: String? = null): Recorded =
    track("Deep Link Opened", listOfNotNull("url" to url, referrer?.let { "referrer" to it }).toMap())

/** The token that push messages reach this device by: a trait of the person, `pushToken`. Call it again after `reset()`. */
public fun Headwater.pushToken(token: String): Recorded = identify(null, mapOf("pushToken" to token))

/** As it is, ready for its first request. If the library's own HTTP cannot be, each request fails and says why: events are kept, the app is told. */
private fun Uploader.ready(application: Application): Uploader {
    val why = if (this === Uploader.BUILT_IN) Verifier.setUp(application) else null
    return if (why == null) this else Uploader { UploadAnswer(0, null, why) }
}

/** The clients of this process, by their folders: a job uses the one that is there. */
@get:JvmSynthetic
internal val OPEN = ConcurrentHashMap<String, Open>()

/** A client, and who makes its requests, unless the app does. */
internal class Open(val headwater: Headwater, val uploader: SystemUploader?)

/** The app's version and build, as its package says. */
@JvmSynthetic
internal fun Application.version(): Pair<String, String> = try {
    val about = packageManager.getPackageInfo(packageName, 0)
    @Suppress("DEPRECATION") // Its successor is not there before Android 9; builds beyond 31 bits are rare.
    (about.versionName ?: "") to about.versionCode.toString()
} catch (_: PackageManager.NameNotFoundException) {
    "" to ""
}
