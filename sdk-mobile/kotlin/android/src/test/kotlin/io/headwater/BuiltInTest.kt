/*
 * The native library's own HTTP under Robolectric, chosen by an app: with what rustls's verifier calls and without it, set up by the real native
 * method. The verifier itself asks Android alone, so these requests go without TLS.
 */
package io.headwater

import android.app.Application
import android.app.job.JobScheduler
import android.content.Context
import java.util.concurrent.CopyOnWriteArrayList
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], manifest = Config.NONE)
class BuiltInTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val server = Server()
    private val options = Options("wk_test", server.endpoint, application.headwaterFolder(), gatherMs = 5, uploader = Uploader.BUILT_IN)
    private val quiet = AndroidOptions(lifecycle = false)

    @After
    fun close() = server.close()

    @Test
    fun `what was chosen makes the requests, and no job does`() {
        Headwater.android(application, options, quiet).use { headwater ->
            headwater.track("By Rust")
            assertEquals("By Rust", server.events(1).single().at("event"))
            // Java's own would say so.
            assertTrue("${server.agents}", server.agents.all { it.startsWith("headwater/") })
            assertNull(OPEN.getValue(options.folder.absolutePath).uploader)
        }
        val jobs = application.getSystemService(Context.JOB_SCHEDULER_SERVICE) as JobScheduler
        assertTrue(jobs.allPendingJobs.isEmpty())
    }

    @Test
    @Config(application = Lacking::class)
    fun `where the verifier cannot be called, events are kept and the app is told`() {
        val heard = CopyOnWriteArrayList<Report>()
        Headwater.android(application, options, quiet).use { headwater ->
            headwater.onReport(heard::add)
            assertTrue(headwater.track("Kept").durable)
            val said = eventually("a report") { heard.filterIsInstance<Report.NotSending>().firstOrNull() }.detail
            for (word in listOf("ClassNotFound", "rustls-platform-verifier", "Events are kept")) assertTrue(said, word in said)
            assertEquals(1L, headwater.flushAsync(20_000).get())
            assertEquals(0, server.requests)
        }
        // A later start of the app has it.
        (application as Lacking).lacks = null
        Headwater.android(application, options, quiet).use { assertEquals("Kept", server.events(1).single().at("event")) }
    }

    @Test
    @Config(application = Lacking::class)
    fun `the set-up says what is missing, again and again, and throws nothing`() {
        val app = application as Lacking
        repeat(3) {
            app.lacks = null
            assertNull(Verifier.setUp(app))
            for (missing in listOf(VERIFIER, RESULT)) {
                app.lacks = missing
                val said = Verifier.setUp(app).orEmpty()
                assertTrue(said, "rustls's verifier cannot be called" in said)
                // One of another version, with other members.
                app.inItsPlace = Any::class.java
                val other = Verifier.setUp(app).orEmpty()
                assertTrue(other, "rustls's verifier cannot be called" in other)
                app.inItsPlace = null
            }
        }
    }
}

/** An app without a class, or with another in its place. */
class Lacking : Application() {
    var lacks: String? = VERIFIER
    var inItsPlace: Class<*>? = null

    override fun getClassLoader(): ClassLoader = object : ClassLoader(Lacking::class.java.classLoader) {
        override fun loadClass(name: String): Class<*> =
            if (name == lacks) inItsPlace ?: throw ClassNotFoundException(name) else super.loadClass(name)
    }
}

private const val VERIFIER = "org.rustls.platformverifier.CertificateVerifier"
private const val RESULT = "org.rustls.platformverifier.VerificationResult"
