/*
 * What the app's activities tell: opened, left, shown, brought here by a link. Promises that a turned screen is no leaving, that an activity
 * that is made anew opens no link again, and that it does no more on the main thread than the commits of its events.
 */
package io.headwater

import android.app.Activity
import android.app.Application
import android.content.Intent
import android.content.pm.PackageManager
import android.os.Bundle
import java.util.Collections
import java.util.WeakHashMap

internal class AppLife(
    private val headwater: Headwater,
    private val options: AndroidOptions,
    private val version: Pair<String, String>,
    private val changed: (Change) -> Unit,
) : Application.ActivityLifecycleCallbacks {
    /** Where the app is now. */
    enum class Change { FRONT, BACK }

    private var started = 0
    private var turning = false
    private var openedBefore = false

    /** Activities that were made for an intent which nobody has seen yet. */
    private val fresh: MutableSet<Activity> = Collections.newSetFromMap(WeakHashMap())

    override fun onActivityCreated(activity: Activity, saved: Bundle?) {
        // What was saved is from before: the same intent is handed over again.
        if (saved == null) fresh.add(activity)
    }

    override fun onActivityStarted(activity: Activity) {
        val link = if (fresh.remove(activity)) linkOf(activity) else null
        started += 1
        if (started == 1 && !turning) quietly { front(link) }
        turning = false
        if (link != null && options.deepLinks) headwater.openedLink(link.url, link.referrer)
    }

    override fun onActivityResumed(activity: Activity) {
        if (options.screens) headwater.screen(nameOf(activity))
    }

    override fun onActivityStopped(activity: Activity) {
        started = (started - 1).coerceAtLeast(0)
        turning = activity.isChangingConfigurations
        if (started == 0 && !turning) quietly { back() }
    }

    private fun front(link: Link?) {
        if (options.lifecycle) {
            val how = mapOf("from_background" to openedBefore, "url" to link?.url, "referring_application" to link?.referrer)
            headwater.opened(version.first, version.second, how.filterValues { it != null })
        }
        openedBefore = true
        headwater.foreground()
        changed(Change.FRONT)
    }

    private fun back() {
        if (options.lifecycle) headwater.track("Application Backgrounded")
        headwater.background()
        changed(Change.BACK)
    }

    private class Link(val url: String, val referrer: String?)

    private fun linkOf(activity: Activity): Link? {
        val intent = activity.intent ?: return null
        // Chosen from the list of recent apps: the link was opened long ago.
        if (intent.flags and Intent.FLAG_ACTIVITY_LAUNCHED_FROM_HISTORY != 0) return null
        val url = intent.data?.toString() ?: return null
        return Link(url, activity.referrer?.toString())
    }

    private fun nameOf(activity: Activity): String = try {
        val about = activity.packageManager.getActivityInfo(activity.componentName, 0)
        about.loadLabel(activity.packageManager).toString().ifEmpty { activity.javaClass.simpleName }
    } catch (_: PackageManager.NameNotFoundException) {
        activity.javaClass.simpleName
    }

    /** Closed between two callbacks: nobody's fault. */
    private fun quietly(act: () -> Unit) {
        try {
            act()
        } catch (_: IllegalStateException) {
        }
    }

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, saved: Bundle) = Unit

    override fun onActivityDestroyed(activity: Activity) = Unit
}
