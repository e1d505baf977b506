/*
 * An app's life under Robolectric, with the real native library: what is said by itself, and what is sent when the app is gone.
 */
package io.headwater

import android.app.Activity
import android.app.Application
import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.content.Context
import android.content.Intent
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.net.Uri
import android.os.Bundle
import android.os.PersistableBundle
import java.net.InetAddress
import java.net.ServerSocket
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowNetworkCapabilities
import org.robolectric.util.ReflectionHelpers

class ShopActivity : Activity()

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], manifest = Config.NONE)
class LifeTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val jobs = application.getSystemService(Context.JOB_SCHEDULER_SERVICE) as JobScheduler
    private val closing = ArrayList<AutoCloseable>()

    @After
    fun close() = closing.asReversed().forEach { it.close() }

    @Test
    fun `an app is installed, opened, left, opened again and updated`() {
        val server = server()
        version("1.0", 10)
        val headwater = client(server.endpoint)
        assertTrue(java.io.File(application.noBackupFilesDir, "headwater/headwater.db").exists())
        val activity = Robolectric.buildActivity(ShopActivity::class.java).setup()
        // Turned, which is no leaving.
        activity.recreate()
        activity.pause().stop()
        val second = Robolectric.buildActivity(ShopActivity::class.java).setup()
        second.pause().stop()
        headwater.close()
        version("1.1", 11)
        client(server.endpoint)
        Robolectric.buildActivity(ShopActivity::class.java).setup()

        val events = server.events(7)
        assertEquals(
            listOf(
                "Application Installed", "Application Opened", "Application Backgrounded", "Application Opened", "Application Backgrounded",
                "Application Updated", "Application Opened",
            ),
            events.map { it.at("event") },
        )
        assertEquals(listOf("1.0", "10", "false"), listOf("version", "build", "from_background").map { events[1].at("properties.$it") })
        assertEquals("true", events[3].at("properties.from_background"))
        assertEquals(listOf("1.0", "10", "1.1"), listOf("previous_version", "previous_build", "version").map { events[5].at("properties.$it") })
        assertEquals("false", events[6].at("properties.from_background"))
    }

    @Test
    fun `every event says which app, phone, screen and network`() {
        val server = server()
        version("1.0", 10)
        val headwater = client(server.endpoint, AndroidOptions(advertisingId = "given"))
        val connectivity = application.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager
        val heard = eventually("the network's listener") { shadowOf(connectivity).networkCallbacks.firstOrNull() }
        val can = ShadowNetworkCapabilities.newInstance()
        shadowOf(can).addTransportType(NetworkCapabilities.TRANSPORT_WIFI)
        val network = connectivity.activeNetwork!!
        heard.onAvailable(network)
        heard.onCapabilitiesChanged(network, can)
        headwater.track("One")
        heard.onLost(network)
        headwater.reset()
        headwater.track("Two")
        headwater.pushToken("t-1")
        val (one, two, three) = server.events(3)
        assertEquals(listOf("1.0", "10", application.packageName), listOf("version", "build", "namespace").map { one.at("context.app.$it") })
        assertEquals(listOf("android", "given", "true"), listOf("type", "advertisingId", "adTrackingEnabled").map { one.at("context.device.$it") })
        assertEquals(one.at("anonymousId"), one.at("context.device.id"))
        assertEquals(two.at("anonymousId"), two.at("context.device.id"))
        assertNotEquals(one.at("anonymousId"), two.at("anonymousId"))
        assertEquals(listOf("Android", "14"), listOf("name", "version").map { one.at("context.os.$it") })
        assertEquals("headwater-kotlin", one.at("context.library.name"))
        for (member in listOf("screen.width", "screen.height", "screen.density", "locale", "timezone", "device.model", "device.manufacturer")) {
            assertNotNull(member, one.at("context.$member"))
        }
        assertEquals(listOf("true", "false"), listOf("wifi", "cellular").map { one.at("context.network.$it") })
        assertEquals("false", two.at("context.network.wifi"))
        assertEquals(listOf("identify", "t-1"), listOf(three.at("type"), three.at("traits.pushToken")))
    }

    @Test
    fun `a link is told once, with who sent it`() {
        val server = server()
        val headwater = client(server.endpoint)
        val link = Intent(Intent.ACTION_VIEW, Uri.parse("shop://product/7?from=mail")).putExtra(Intent.EXTRA_REFERRER, Uri.parse("android-app://mail"))
        val first = Robolectric.buildActivity(ShopActivity::class.java, link).setup()
        val saved = Bundle()
        first.saveInstanceState(saved).pause().stop().destroy()
        // The system made it anew, with what was saved; and then from the list of recent apps.
        Robolectric.buildActivity(ShopActivity::class.java, link).setup(saved).pause().stop()
        Robolectric.buildActivity(ShopActivity::class.java, Intent(link).addFlags(Intent.FLAG_ACTIVITY_LAUNCHED_FROM_HISTORY)).setup()
        headwater.openedLink("shop://again")
        val events = server.events(8)
        val links = events.filter { it.at("event") == "Deep Link Opened" }
        assertEquals(listOf("shop://product/7?from=mail", "shop://again"), links.map { it.at("properties.url") })
        assertEquals(listOf("android-app://mail", null), links.map { it.at("properties.referrer") })
        val opened = events.filter { it.at("event") == "Application Opened" }
        assertEquals(listOf("shop://product/7?from=mail", null, null), opened.map { it.at("properties.url") })
    }

    @Test
    fun `a message is heard once the app is in front, and shown by what the app says`() {
        val server = server()
        server.messages = """{"messages":[{"id":"m-1","rule":"r","placement":"card","title":"Hello","body":null,"button":null,"url":null,
            "data":{},"expiresAt":"2100-01-01T00:00:00.000Z"}]}"""
        val headwater = client(server.endpoint, AndroidOptions(lifecycle = false))
        val heard = java.util.concurrent.CopyOnWriteArrayList<Message>()
        headwater.onMessage(heard::add)
        // Made for a job, or a push: nobody is there.
        headwater.track("In The Background")
        server.events(1)
        assertEquals(0, server.asked)
        Robolectric.buildActivity(ShopActivity::class.java).setup()
        val message = eventually("the message") { heard.firstOrNull() }
        assertEquals("Hello", message.title)
        message.dismissed()
        val said = server.events(3).drop(1)
        assertEquals(listOf("Message Shown", "Message Dismissed"), said.map { it.at("event") })
        assertEquals(listOf("m-1", "m-1"), said.map { it.at("properties.message_id") })
        assertEquals(1, heard.size)
    }

    @Test
    fun `screens are told where the app wants that`() {
        val server = server()
        client(server.endpoint, AndroidOptions(lifecycle = false, screens = true))
        Robolectric.buildActivity(ShopActivity::class.java).setup()
        val screen = server.events(1).single()
        assertEquals("screen", screen.at("type"))
        assertFalse(screen.at("name").isNullOrEmpty())
    }

    @Test
    fun `what is left as the app goes is sent by a job in a later process`() {
        val port = freePort()
        val headwater = client("http://127.0.0.1:$port")
        val activity = Robolectric.buildActivity(ShopActivity::class.java).setup()
        headwater.track("Left Behind")
        activity.pause().stop()
        val job = eventually("a job") { jobs.allPendingJobs.singleOrNull() }
        assertEquals(JobInfo.NETWORK_TYPE_ANY, job.networkType)
        assertEquals(JobInfo.BACKOFF_POLICY_EXPONENTIAL, job.backoffPolicy)
        assertEquals(30_000, job.initialBackoffMillis)
        assertEquals(HeadwaterUploadJob::class.java.name, job.service.className)
        val left = headwater.pending
        headwater.close()

        // Still no server: the system is told to try again.
        assertTrue(run(job.extras).isRescheduleNeeded)
        val server = server(port)
        // What was on its way as the client ended is held back for its time.
        eventually("a job that leaves nothing") { true.takeUnless { run(job.extras).isRescheduleNeeded } }
        assertEquals(left, server.events.size.toLong())
        assertTrue(server.events.any { it.at("event") == "Left Behind" })
        // Nothing is left, and nothing is sent twice.
        assertFalse(run(job.extras).isRescheduleNeeded)
        assertEquals(left, server.events.size.toLong())
    }

    @Test
    fun `what was on its way as the process ended is not forgotten by the job`() {
        val silent = ServerSocket(0, 1, InetAddress.getLoopbackAddress()).also { closing.add(it) }
        val headwater = client("http://127.0.0.1:${silent.localPort}", AndroidOptions(lifecycle = false))
        headwater.track("On Its Way")
        val job = silent.accept().use {
            Robolectric.buildActivity(ShopActivity::class.java).setup().pause().stop()
            val job = eventually("a job") { jobs.allPendingJobs.singleOrNull() }
            headwater.close()
            // The request may still arrive: it is not made again yet, and the system is told to come back.
            assertTrue(run(job.extras).isRescheduleNeeded)
            job
        }
        silent.close()
        // This one does not know what has arrived already; that it says so is no reason to give up.
        val server = server(silent.localPort)
        eventually("a job that leaves nothing") { true.takeUnless { run(job.extras).isRescheduleNeeded } }
        assertEquals(listOf("On Its Way"), server.events.map { it.at("event") })
    }

    @Test
    fun `a job uses the client that is there and fails on a server that does`() {
        val server = Server(status = 503).also { closing.add(it) }
        val headwater = client(server.endpoint, AndroidOptions(lifecycle = false))
        headwater.track("Waits")
        val job = eventually("a job, since an upload failed") { jobs.allPendingJobs.singleOrNull() }
        assertTrue(run(job.extras).isRescheduleNeeded)
        assertEquals(1, headwater.pending)
    }

    @Test
    fun `no job waits for the person's answer or for another key`() {
        val server = server()
        val pending = Options(
            "wk_test", server.endpoint, application.headwaterFolder(), gatherMs = 5, consent = mapOf(Category.ANALYTICS to Answer.PENDING),
        )
        val refusing = Server(status = 401).also { closing.add(it) }
        val unknown = Options("wk_unknown", refusing.endpoint, application.headwaterFolder("unknown"), gatherMs = 5)
        for (options in listOf(pending, unknown)) {
            val headwater = Headwater.android(application, options).also { closing.add(it) }
            val stopped = CountDownLatch(if (options == unknown) 1 else 0)
            headwater.onReport { if (it is Report.Stopped) stopped.countDown() }
            headwater.track("Waits")
            assertTrue(stopped.await(60, TimeUnit.SECONDS))
            val activity = Robolectric.buildActivity(ShopActivity::class.java).setup()
            activity.pause().stop()
            eventually("the app is known to be away") { true.takeIf { OPEN[options.folder.absolutePath]?.uploader?.isAway == true } }
            assertEquals(4, headwater.pending)
            assertTrue(jobs.allPendingJobs.isEmpty())
            // One that was asked for before does not come again, in this process nor in a later one.
            UploadJobs(application, options, AndroidOptions()).schedule()
            val job = jobs.allPendingJobs.single()
            assertFalse(run(job.extras).isRescheduleNeeded)
            headwater.close()
            assertFalse(run(job.extras).isRescheduleNeeded)
            jobs.cancelAll()
        }
        assertEquals(0, server.requests)
        Headwater.android(application, pending).use { again ->
            again.setConsent(Answer.GRANTED)
            server.events(4)
        }
    }

    @Test
    fun `a job never goes around an uploader of the app's own`() {
        val own = Uploader { throw java.io.IOException("pinned") }
        val options = Options("wk_test", "http://127.0.0.1:${freePort()}", application.headwaterFolder(), gatherMs = 5, uploader = own)
        val headwater = Headwater.android(application, options).also { closing.add(it) }
        headwater.track("Pinned")
        assertEquals(1L, headwater.flushAsync(20_000).get())
        Robolectric.buildActivity(ShopActivity::class.java).setup().pause().stop()
        assertTrue(jobs.allPendingJobs.isEmpty())
        UploadJobs(application, options, AndroidOptions()).schedule()
        assertFalse(run(jobs.allPendingJobs.single().extras).isRescheduleNeeded)
    }

    @Test
    fun `a client that was closed leaves nothing behind in the app`() {
        val server = server()
        val headwater = client(server.endpoint)
        val heard = CopyOnWriteArrayList<Report>()
        headwater.onReport(heard::add)
        headwater.close()
        Robolectric.buildActivity(ShopActivity::class.java).setup().pause().stop()
        // Reports come in order: had an activity's been told, it would stand before this one.
        headwater.track("Too Late")
        eventually("a report") { heard.firstOrNull() }
        assertEquals(listOf<Report>(Report.Dropped(null, "closed")), heard)
        assertTrue(OPEN.isEmpty())
        assertEquals(0, server.requests)
        assertNull(jobs.allPendingJobs.firstOrNull())
    }

    private fun server(port: Int = 0) = Server(port).also { closing.add(it) }

    private fun client(endpoint: String, android: AndroidOptions = AndroidOptions()): Headwater =
        Headwater.android(application, Options("wk_test", endpoint, application.headwaterFolder(), gatherMs = 5), android).also { closing.add(it) }

    @Suppress("DEPRECATION")
    private fun version(name: String, code: Int) {
        val about = shadowOf(application.packageManager).getInternalMutablePackageInfo(application.packageName)
        about.versionName = name
        about.versionCode = code
    }

    /** Runs the job as the system does, until it says that it is done. */
    private fun run(extras: PersistableBundle): org.robolectric.shadows.ShadowJobService {
        val service = Robolectric.buildService(HeadwaterUploadJob::class.java).create().get()
        val parameters = ReflectionHelpers.newInstance(JobParameters::class.java)
        ReflectionHelpers.setField(parameters, "jobId", 7)
        ReflectionHelpers.setField(parameters, "extras", extras)
        assertTrue(service.onStartJob(parameters))
        val shadow = shadowOf(service)
        eventually("the end of the job") { shadow.takeIf { it.isJobFinished } }
        // Robolectric notes what the job said after it notes that it ended.
        eventually("the end of its thread") { true.takeIf { Thread.getAllStackTraces().keys.none { it.name == "headwater-job" } } }
        return shadow
    }
}
